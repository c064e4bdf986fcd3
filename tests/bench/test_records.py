"""Records and the format of their numbers."""

from pathlib import Path

import pytest

from bench import machine, records
from bench.records import Record


def test_a_record_round_trips_through_its_file(tmp_path: Path) -> None:
    record = Record("step", machine.describe(2), {"pairs": 1}, {"ratio": 1.5}, [{"pair": 1}])
    records.write(tmp_path / "step.json", record)
    assert records.read(tmp_path / "step.json") == record


def test_the_provenance_describes_the_machine() -> None:
    found = machine.describe(2)
    assert found["threads"] == 2
    sentence = Record("step", found, {}, {}).provenance
    assert found["cpu"] in sentence
    assert f"torch {found['packages']['torch']}" in sentence
    assert Record("step", found, {}, {}, source="Measured elsewhere.").provenance == "Measured elsewhere."


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0 %"), (0.0004, "under 0.1 %"), (0.006, "0.6 %"), (1.0, "100.0 %"), ("about 1 %", "about 1 %")],
)
def test_shares(value: float | str, text: str) -> None:
    assert records.share(value) == text


def test_small_numbers_and_spreads() -> None:
    assert records.tiny(6.6e-6) == "6.6e-6"
    assert records.tiny(1.2e-11) == "1.2e-11"
    assert records.tiny(0.0) == "0"
    assert records.spread([2.0, 1.0, 1.5]) == "1.00 to 2.00"


def test_a_table() -> None:
    text = records.markdown(("name", "n"), [("a", "1"), ("b", "2")])
    assert text.splitlines() == ["| name | n |", "| --- | ---: |", "| a | 1 |", "| b | 2 |"]
