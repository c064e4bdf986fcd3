"""ARC-Challenge: school science questions with three to five options.

In 22 rows the options are labeled 1 to 4, and the answer is one of these labels. Options keep the dataset's order and
labels, because other options and published scores refer to them.
"""

from benchmarks.sources.choices import INSTRUCTION, with_options
from benchmarks.sources.dataset import Asked, Dataset
from benchmarks.sources.rows import Row, text, texts
from benchmarks.suite import Suite


def from_hub(row: Row) -> Asked:
    """Columns question, choices {text, label} and answerKey. Gives the same text as the local file's prompts."""
    choices = row.get("choices")
    if not isinstance(choices, dict):
        raise ValueError("has no object in field 'choices'")
    labels, options = texts(choices, "label"), texts(choices, "text")
    if len(labels) != len(options):
        raise ValueError(f"has {len(labels)} labels and {len(options)} options")
    return Asked(with_options(text(row, "question"), labels, options), text(row, "answerKey"))


SUITE = Suite(
    name="arc_challenge",
    title="ARC-Challenge",
    group="out",
    rows=1172,
    kind="choice",
    instruction=INSTRUCTION,
    k=1,
    source=Dataset(
        name="arc_challenge",
        kind="choice",
        hub="allenai/ai2_arc",
        revision="210d026faf9955653af8916fad021475a3f00453",
        file="ARC-Challenge/test-00000-of-00001.parquet",
        from_hub=from_hub,
    ),
)
