"""The cases of bench.parity.gradients."""

import pytest

from bench.parity import gradients
from bench.parity.cases import CASES, SFT, Case
from bench.records import Record
from hpt_core.upge.algorithm import Algorithm


@pytest.mark.parametrize("case", [*CASES, SFT], ids=lambda case: case.name)
def test_our_side_is_an_algorithm(case: Case) -> None:
    assert Algorithm.from_value(case.ours).reference == case.ours["name"]


def test_the_table_has_every_case() -> None:
    found = {case.name: {"model": 2e-7, "loss": 3e-8} for case in CASES} | {"sft": {"model": 1e-7}}
    lines = gradients.table(Record("gradients", {}, {}, found)).splitlines()
    assert len(lines) == 2 + len(CASES) + 1
    assert lines[-1].endswith("| none | 1e-7 |  |".replace("1e-7", "1.0e-7"))
