"""The gate before a publication."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.report.schemas import SCORES
from hpt_core.errors import PublishError
from tasks.publish import require_overlap

TRAINED = frozenset({"train.hpt"})


def page(folder: Path, *rows: dict[str, Any]) -> Path:
    """A report whose scores are these."""
    required = {f.name: 0 if f.type == pa.int32() else [] if pa.types.is_list(f.type) else "" for f in SCORES}
    front = {f.name: required[f.name] for f in SCORES if not f.nullable}
    table = pa.Table.from_pylist([front | {"kind": "benchmark", "source": "measured"} | row for row in rows], SCORES)
    (folder / "tables").mkdir()
    pq.write_table(table, folder / "tables" / "scores.parquet")
    return folder


def score(title: str, questions: int, overlapping: int | None, **more: Any) -> dict[str, Any]:
    front = {"title": title, "model": "train.hpt", "label": "HPT"}
    return {**front, "questions": questions, "overlapping_questions": overlapping, **more}


def test_the_worst_benchmark_is_named_with_its_share_and_a_remedy(tmp_path: Path) -> None:
    report = page(tmp_path, score("AIME 2024", 30, 3), score("MATH-500", 500, 100), score("Minerva", 272, 1))
    with pytest.raises(PublishError) as caught:
        require_overlap(report, 0.05, TRAINED)
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
@pytest.mark.parametrize("times", [1, 10])
def test_the_limit_itself_passes(tmp_path: Path, limit: float, passes: bool, times: int) -> None:
    report = page(tmp_path, score("AIME 2024", 30 * times, 3 * times))
    if passes:
        require_overlap(report, limit, TRAINED)
    else:
        with pytest.raises(PublishError):
            require_overlap(report, limit, TRAINED)


def test_the_limit_is_an_exact_decimal(tmp_path: Path) -> None:
    # 0.29 * 100 is less than 29 in binary fractions, and so are others.
    rows = [score(f"b{n}", 100, n) for n in range(101)]
    (tmp_path / "all").mkdir()
    report = page(tmp_path / "all", *rows)
    for n in range(100):
        with pytest.raises(PublishError) as caught:
            require_overlap(report, n / 100, TRAINED)
        assert f"{', '.join(sorted(f'b{m}' for m in range(n + 1, 100)))}; report" in str(caught.value) or n == 99
    (tmp_path / "one").mkdir()
    require_overlap(page(tmp_path / "one", score("AIME 2024", 100, 29)), 0.29, TRAINED)


def test_a_trained_model_that_was_not_checked_does_not_pass(tmp_path: Path) -> None:
    report = page(tmp_path, score("AIME 2024", 30, 0), score("MATH-500", 500, None))
    with pytest.raises(PublishError, match=r"MATH-500 was not checked for overlap with .* of HPT.*Remedy: "):
        require_overlap(report, 0.5, TRAINED)


def test_other_models_and_averages_do_not_count_and_the_log_names_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "hpt.publish")
    rows = [
        score("AIME 2024", 30, None, model="model.base"),
        score("AIME 2025", 30, None, model="model.base"),
        score("AIME 2025", 30, 0),
        score("In distribution average", 60, 9, kind="average"),
        {"title": "AIME 2024", "label": "HPT", "source": "published"},
    ]
    require_overlap(page(tmp_path, *rows), 0.0, TRAINED)
    assert caplog.messages == ["not checked for overlap, because the training data is unknown: model.base"]
