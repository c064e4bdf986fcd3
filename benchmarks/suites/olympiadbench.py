"""OlympiadBench: open-ended competition questions in mathematics, in English, without images."""

from benchmarks.sources.dataset import Asked, Dataset
from benchmarks.sources.rows import Row, optional, text, texts
from benchmarks.suite import Suite


def from_hub(row: Row) -> Asked:
    """Columns question, final_answer (a list, usually with one entry, which may hold several values), context (text
    that the question builds on, usually null) and subfield.

    Not checked against the dataset itself: which rows have more than one entry or a context.
    """
    question = text(row, "question")
    if context := optional(row, "context"):
        question = f"{context}\n\n{question}"
    return Asked(question, ", ".join(texts(row, "final_answer")), optional(row, "subfield"))


SUITE = Suite(
    name="olympiadbench",
    title="OlympiadBench",
    group="in",
    rows=674,
    kind="math",
    k=1,
    source=Dataset(
        name="olympiadbench",
        hub="Hothan/OlympiadBench",
        revision="91184b52131e7fc9455fef848035173aea8cc01a",
        file="OlympiadBench/OE_TO_maths_en_COMP/OE_TO_maths_en_COMP.parquet",
        from_hub=from_hub,
    ),
)
