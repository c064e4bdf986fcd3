"""The documents show the committed records."""

import re
from pathlib import Path

import pytest

from bench import records, tables
from bench.records import Record

TEXTS = [document.read_text(encoding="utf-8") for document in tables.DOCUMENTS]
TEXT = "\n".join(TEXTS)
RESULTS = sorted(records.RESULTS.glob("*.json"))


def test_the_documents_match_the_records() -> None:
    for text in TEXTS:
        assert tables.filled(text) == text, "python -m bench.tables"


def test_the_documents_have_every_table_once() -> None:
    assert re.findall(r"<!-- table: (\w+) -->", TEXT).count("step") == 1
    assert sorted(re.findall(r"<!-- table: (\w+) -->", TEXT)) == sorted(tables.TABLES)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_record_names_its_measurement_and_its_machine(path: Path) -> None:
    record = records.read(path)
    assert record.measurement == path.stem
    assert record.summary
    assert record.machine.keys() >= {"cpu", "cores", "memory_gib", "gpu", "packages", "date"}
    assert record.source or all(record.machine[key] for key in ("cpu", "cores", "memory_gib", "packages", "date"))


def test_a_table_follows_its_record(tmp_path: Path) -> None:
    text = "before\n<!-- table: logprobs -->\nold\n<!-- end -->\nafter\n"
    assert "Not measured yet." in tables.filled(text, tmp_path)
    found = {
        "plain_way": "plain", "memory_share": 0.25, "tiled_gib": 1.0, "plain_gib": 4.0, "tiled_error": 0.0,
        "plain_error": 2e-5, "tiled_seconds": 3.0, "plain_seconds": 4.0,
    }  # fmt: skip
    records.write(tmp_path / "logprobs.json", Record("logprobs", {}, {}, found, source="Measured elsewhere."))
    made = tables.filled(text, tmp_path)
    assert made.startswith("before\n") and made.endswith("<!-- end -->\nafter\n")
    assert "old" not in made
    assert "25.0 % (1.00 of 4.0 GiB)" in made
    assert "Measured elsewhere." in made
    assert tables.filled(made, tmp_path) == made


def test_an_unknown_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="nothing"):
        tables.filled("<!-- table: nothing -->\n<!-- end -->", tmp_path)
