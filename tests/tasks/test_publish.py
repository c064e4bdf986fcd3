"""The gate before a publication."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.report.schemas import SCORES
from hpt_core.errors import PublishError
from tasks.publish import require_overlap


def page(folder: Path, *rows: dict[str, Any]) -> Path:
    """A report whose scores are these."""
    required = {f.name: 0 if f.type == pa.int32() else [] if pa.types.is_list(f.type) else "" for f in SCORES}
    front = {f.name: required[f.name] for f in SCORES if not f.nullable}
    table = pa.Table.from_pylist([front | {"kind": "benchmark", "source": "measured"} | row for row in rows], SCORES)
    (folder / "tables").mkdir()
    pq.write_table(table, folder / "tables" / "scores.parquet")
    return folder


def score(title: str, questions: int, overlapping: int | None, **more: Any) -> dict[str, Any]:
    return {"title": title, "label": "HPT", "questions": questions, "overlapping_questions": overlapping, **more}


def test_the_worst_benchmark_is_named_with_its_share_and_what_to_do(tmp_path: Path) -> None:
    report = page(tmp_path, score("AIME 2024", 30, 3), score("MATH-500", 500, 100), score("Minerva", 272, 1))
    with pytest.raises(PublishError) as caught:
        require_overlap(report, 0.05)
    text = str(caught.value)
    for part in (
        "100 of 500 questions of MATH-500 (20.0%)",
        "training data of HPT, and too many of AIME 2024",
        "report.max_overlap is 0.05, so nothing was published",
        "Remedy: ",
        "decontaminate",
    ):
        assert part in text
    assert "Minerva" not in text


@pytest.mark.parametrize(("limit", "passes"), [(0.1, True), (0.0999, False), (0.0, False), (1.0, True)])
def test_the_limit_itself_passes(tmp_path: Path, limit: float, passes: bool) -> None:
    report = page(tmp_path, score("AIME 2024", 30, 3))
    if passes:
        require_overlap(report, limit)
    else:
        with pytest.raises(PublishError):
            require_overlap(report, limit)


def test_what_was_not_checked_and_averages_do_not_count(tmp_path: Path) -> None:
    rows = [
        score("AIME 2024", 30, None),
        score("AIME 2025", 30, 0),
        score("In distribution average", 60, 9, kind="average"),
        {"title": "AIME 2024", "label": "HPT", "source": "published"},
    ]
    require_overlap(page(tmp_path, *rows), 0.0)
