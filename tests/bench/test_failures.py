"""The table of failures, and the command."""

from dataclasses import asdict

import pytest
from typer.testing import CliRunner

from bench.__main__ import app
from bench.failures.__main__ import CASES, summarize, table
from bench.failures.bed import Row
from bench.records import Record

FINE = Row("SIGKILL of the flow", 1.25, 9.04, 0.3, {"train.sft": 2}, True, 0, "Completed", name="flow-kill")
WRONG = Row("full disk", state="unknown", wrong=["AssertionError: it hangs"], name="full", orphans=1)
LEFT_OUT = Row("store becomes read-only", note="not run: it needs root and loop devices", name="read-only")


def test_the_table_shows_what_became_of_each_case() -> None:
    rows = [FINE, WRONG, LEFT_OUT]
    shown = table(Record("failures", {}, {}, {}, [asdict(row) for row in rows])).splitlines()
    assert shown[2] == "| SIGKILL of the flow | train.sft 2x | equal | 0 | Completed | 1.2 s | 0.3 s | 9.0 s |"
    assert shown[3] == "| full disk | nothing | unknown | 1 | unknown | - | - | - |"
    assert "not run: it needs root" in shown[4]
    assert shown[-1] == "- full disk: AssertionError: it hangs"


def test_a_case_that_did_not_run_counts_as_neither_right_nor_wrong() -> None:
    found = summarize([FINE, WRONG, LEFT_OUT])
    assert (found["cases"], found["left_out"], found["wrong"], found["equal"]) == (2, 1, 1, 1)
    assert (found["orphans"], found["longest_free_s"], found["longest_noticed_s"]) == (1, 0.3, 1.25)


@pytest.mark.parametrize("name", [*CASES, "kills"])
def test_every_case_is_named_by_the_command(name: str) -> None:
    done = CliRunner().invoke(app, ["failures", "--only", "no-such-case"], env={"COLUMNS": "1000"})
    assert done.exit_code == 2
    assert name in done.output
