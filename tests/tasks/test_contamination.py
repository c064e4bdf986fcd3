"""The warning before training."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpt_core.schemas import CONTAMINATION
from tasks.contamination import ContaminationStep
from tasks.execution.keys import StageKey

DATA = StageKey("data", "d")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Of four questions one overlaps training questions and another demonstrations; a third shares a phrase."""
    shares = [(0.3, 0.0), (0.0, 1.0), (0.05, 0.05), (0.0, 0.0)]
    rows = [
        {"question_id": str(i), "ngrams": 20, "question_overlap": q, "demonstration_overlap": d}
        for i, (q, d) in enumerate(shares)
    ]
    path = tmp_path / "contamination.parquet"
    pq.write_table(pa.Table.from_pylist(rows, CONTAMINATION), path)
    return path


@pytest.mark.parametrize(("warns", "said"), [((0.2, 0.49), 2), ((0.2, 0.5), 0), ((0.05, 0.5), 3), ((0.5, 0.0), 1)])
def test_a_publication_that_will_be_refused_gives_a_warning(
    table: Path, caplog: pytest.LogCaptureFixture, warns: tuple[float, float], said: int
) -> None:
    step = ContaminationStep(StageKey("contamination", "d"), DATA, 13, ("aime24",), warns)
    step._warn("aime24", table)
    text = f"{said} of 4 questions of aime24 overlap data.d, above report.max_overlap = {warns[1]:g}"
    assert caplog.messages == ([f"{text}: nothing will be published"] if said else [])
