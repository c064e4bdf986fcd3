"""OlympiadBench: open-ended competition questions of mathematics, in English, without images."""

from benchmarks.sources.dataset import Asked, Dataset
from benchmarks.sources.rows import Row, text, texts
from benchmarks.suite import Suite


def from_hub(row: Row) -> Asked:
    """Columns question, final_answer (a list that in nearly all rows has one entry, itself possibly several values),
    context (text that the question builds on, mostly null) and subfield.

    Which rows have more than one entry or a context could not be checked against the dataset itself.
    """
    question = text(row, "question")
    if row.get("context"):
        question = f"{text(row, 'context')}\n\n{question}"
    return Asked(question, ", ".join(texts(row, "final_answer")), str(row.get("subfield") or ""))


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
