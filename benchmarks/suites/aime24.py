"""The American Invitational Mathematics Examination 2024, both papers. Answers are integers from 0 to 999."""

from benchmarks.sources.dataset import Dataset, columns
from benchmarks.suite import Suite

SUITE = Suite(
    name="aime24",
    title="AIME 2024",
    group="in",
    rows=30,
    kind="math",
    k=32,
    source=Dataset(
        name="aime24",
        hub="HuggingFaceH4/aime_2024",
        revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        file="data/train-00000-of-00001.parquet",
        from_hub=columns("problem", "answer"),
    ),
)
