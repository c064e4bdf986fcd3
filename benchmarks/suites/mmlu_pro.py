"""MMLU-Pro: questions in fourteen subjects with up to ten options. Options keep the dataset's order, because the
published answer is a letter and options refer to each other by letter."""

from benchmarks.sources.choices import INSTRUCTION, LETTERS, with_options
from benchmarks.sources.dataset import Asked, Dataset
from benchmarks.sources.rows import Row, optional, text, texts
from benchmarks.suite import Suite


def from_hub(row: Row) -> Asked:
    """Columns question, options (a list), answer (a letter) and category."""
    options = texts(row, "options")
    if len(options) > len(LETTERS):
        raise ValueError(f"has {len(options)} options where {len(LETTERS)} are the most")
    question = with_options(text(row, "question"), LETTERS[: len(options)], options)
    return Asked(question, text(row, "answer"), optional(row, "category"))


SUITE = Suite(
    name="mmlu_pro",
    title="MMLU-Pro",
    group="out",
    rows=12032,
    kind="choice",
    instruction=INSTRUCTION,
    k=1,
    source=Dataset(
        name="mmlu_pro",
        kind="choice",
        hub="TIGER-Lab/MMLU-Pro",
        revision="b189ec765aa7ed75c8acfea42df31fdae71f97be",
        file="data/test-00000-of-00001.parquet",
        from_hub=from_hub,
    ),
)
