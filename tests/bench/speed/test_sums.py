"""Training questions that need no data set."""

from pathlib import Path

import pyarrow.parquet as pq

from bench.speed import sums
from hpt_core import schemas
from hpt_core.model_folder import load_tokenizer
from hpt_core.verifiers import get


def test_sums_are_prepared_questions_with_correct_demonstrations(tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    made = sums.write(tmp_path / "prepared.parquet", tokenizer, 20, length=100)
    rows = pq.read_table(tmp_path / "prepared.parquet", schema=schemas.PREPARED).to_pylist()
    assert len(rows) == len(made) == len({row["question"] for row in rows})
    for row, one in zip(rows, made, strict=True):
        assert sum(map(int, row["question"].split("+"))) == int(row["gold"])
        assert get("math").verify(row["gold"], row["demonstration"]).correct
        assert row["prompt_tokens"] == len(tokenizer(sums.prompt(one)).input_ids)
        assert 100 <= row["demonstration_tokens"] == len(row["demonstration"]) + 1 < 200
