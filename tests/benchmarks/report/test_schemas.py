"""docs/reference/schemas.md describes the schemas in the code, column by column."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.catalog import schemas as catalog_schemas
from benchmarks.catalog.document import filled
from benchmarks.report import schemas as report_schemas
from hpt_core import schemas as core_schemas

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "reference" / "schemas.md"
MODULES = {
    "hpt_core/schemas.py": core_schemas,
    "benchmarks/report/schemas.py": report_schemas,
    "benchmarks/catalog/schemas.py": catalog_schemas,
}
Columns = list[tuple[str, str, str]]


def documented() -> dict[tuple[str, str], Columns]:
    """(module, constant) -> (column, type, null) of the document."""
    found: dict[tuple[str, str], Columns] = {}
    module = name = ""
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"Constants of `(.*)`\.", line):
            module = match[1]
        elif match := re.match(r"### (\w+)", line):
            name = match[1]
        elif match := re.match(r"\| `(\w+)` \| (.+?) \| (yes|no) \| \S.*\.? \|$", line):
            found.setdefault((module, name), []).append((match[1], match[2], match[3]))
    return found


def kind(value: pa.DataType) -> str:
    if pa.types.is_list(value):
        return f"list<{kind(value.value_type)}>"
    if pa.types.is_struct(value):
        return f"struct<{', '.join(f'{field.name}: {kind(field.type)}' for field in value)}>"
    return str(value)


def defined() -> dict[tuple[str, str], pa.Schema]:
    return {
        (path, name): value
        for path, module in MODULES.items()
        for name, value in vars(module).items()
        if isinstance(value, pa.Schema)
    }


def test_the_page_documents_exactly_the_schemas() -> None:
    assert set(documented()) == set(defined())
    assert len(defined()) == 21


@pytest.mark.parametrize("key", sorted(defined()), ids=" ".join)
def test_columns_agree(key: tuple[str, str]) -> None:
    code = [(f.name, kind(f.type), "yes" if f.nullable else "no") for f in defined()[key]]
    assert documented()[key] == code


def test_the_catalogs_tables_are_written_from_the_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == filled(text), "run `make docs`, which writes them"
