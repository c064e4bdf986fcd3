"""Made training data, and the ways of preparing it."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bench.records import Record
from bench.speed import _preparation, demonstrations, preparation


def test_the_same_seed_gives_the_same_rows(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        demonstrations.write(tmp_path / name, rows=3, tokens=100, seed=seed)
    first, again, other = (pq.read_table(tmp_path / name).to_pylist() for name in ("a", "b", "c"))
    assert first == again != other
    assert len({row["prompt"][0]["content"] for row in first}) == 3
    assert all(200 < len(row["target"][0]["content"]) < 600 for row in first)


def test_every_way_finds_the_same_tokens(tmp_path: Path, tiny_model: Path) -> None:
    demonstrations.write(tmp_path / "made.parquet", rows=5, tokens=20, seed=0)
    found = [_preparation.measure(way, str(tmp_path / "made.parquet"), str(tiny_model)) for way in _preparation.WAYS]
    assert len({(row["rows"], row["tokens"]) for row in found}) == 1
    assert found[0]["rows"] == 5


def test_a_record_shows_the_ratio() -> None:
    measured = [("ours", 0, 100.0), ("bare", 0, 95.0), ("bare", 1, 90.0), ("ours", 1, 100.0), ("single", 0, 100.0)]
    rows = [
        {"way": way, "round": number, "seconds": seconds, "rows": 1000, "tokens": 10**6, "peak_gib": 1.0}
        for way, number, seconds in measured
    ]
    found = preparation.summarize(rows, 2)
    assert found["ratio"] == pytest.approx(0.925)
    assert "0.93 (0.90 to 0.95): 10 against 11 rows per second" in preparation.table(
        Record("preparation", {}, {}, found)
    )
