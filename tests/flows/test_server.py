"""The log file of a run."""

import logging
from pathlib import Path

import pytest

from flows.server import _log_file


@pytest.mark.parametrize(
    ("file", "why"), [("/dev/full", "No space left on device"), ("/proc/none/tiny.log", "No such file or directory")]
)
def test_a_log_file_that_cannot_be_written_is_told_once(
    file: str, why: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with _log_file(Path(file)):
        for _ in range(3):
            logging.getLogger("hpt.run").warning("a stage takes its time")
    told = [record.getMessage() for record in caplog.records if "cannot write the log" in record.getMessage()]
    assert len(told) == 1 and why in told[0] and file in told[0]
    assert "Traceback" not in capsys.readouterr().err
