"""GPQA-Diamond: graduate-level questions in biology, physics and chemistry with four options. Its authors ask that no
question appear in public text."""

from benchmarks.sources.choices import INSTRUCTION, LETTERS, shuffled, with_options
from benchmarks.sources.dataset import Asked, Dataset
from benchmarks.sources.rows import Row, optional, text
from benchmarks.suite import Suite


def from_hub(row: Row) -> Asked:
    """Columns Question, Correct Answer, Incorrect Answer 1 to 3 and High-level domain. A stable hash fixes the order of
    the options. The local file has its own order."""
    question = text(row, "Question")
    wrong = [text(row, f"Incorrect Answer {i}") for i in (1, 2, 3)]
    options, gold = shuffled(question, text(row, "Correct Answer"), wrong)
    family = optional(row, "High-level domain").lower()
    return Asked(with_options(question, LETTERS[:4], options, mark="."), gold, family)


SUITE = Suite(
    name="gpqa_diamond",
    title="GPQA-Diamond",
    group="out",
    rows=198,
    kind="choice",
    gated=True,
    instruction=INSTRUCTION,
    k=1,
    source=Dataset(
        name="gpqa_diamond",
        kind="choice",
        hub="Idavidrein/gpqa",
        revision="633f5ee89ab8ad4522a9f850766b73f62147ffdd",
        file="gpqa_diamond.csv",
        gated=True,
        task="gpqa_diamond",
        from_hub=from_hub,
    ),
)
