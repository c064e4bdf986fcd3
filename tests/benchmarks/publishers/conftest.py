"""A small report folder to publish, with a site over all runs in its folder `all`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.publishers.hub import hub

__all__ = ["hub", "make_report"]


@pytest.fixture
def make_report(tmp_path: Path) -> Callable[[str], Path]:
    def make(text: str) -> Path:
        report = tmp_path / f"report-{text}"
        files = ["leaderboard.md", "site/index.html", "all/index.html", "all/data/runs.json"]
        files += [f"tables/{name}.parquet" for name in ("scores", "comparisons", "training_log", "samples")]
        for name in files:
            path = report / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} {text}", encoding="utf-8")
        return report

    return make
