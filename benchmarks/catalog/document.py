"""Write the catalog's tables into docs/reference/schemas.md: `python -m benchmarks.catalog.document PATH`."""

import sys
from pathlib import Path

import pyarrow as pa

from benchmarks.catalog.schemas import DESCRIPTION, MEANING, QUESTION_SCORES, QUESTIONS, TABLES
from hpt_core.files import write_text

BEGIN, END = "<!-- catalog -->\n", "<!-- end -->\n"


def filled(text: str) -> str:
    """The page with everything between the two marks replaced. Raises ValueError if a mark is missing."""
    front, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"the page lacks {BEGIN.strip()} or {END.strip()}")
    schemas = {**TABLES, "question_scores": QUESTION_SCORES, "questions": QUESTIONS}
    sections = "".join(_section(name.upper(), schema) for name, schema in schemas.items())
    return f"{front}{BEGIN}{sections}\n{END}{after}"


def _section(name: str, schema: pa.Schema) -> str:
    rows = [
        f"| `{field.name}` | {_kind(field.type)} | {'yes' if field.nullable else 'no'} | "
        f"{field.metadata[MEANING].decode()} |\n"
        for field in schema
    ]
    head = "| column | type | null | meaning |\n|---|---|---|---|\n"
    return f"\n### {name}\n\n{schema.metadata[DESCRIPTION].decode()}\n\n{head}{''.join(rows)}"


def _kind(value: pa.DataType) -> str:
    if pa.types.is_list(value):
        return f"list<{_kind(value.value_type)}>"
    if pa.types.is_struct(value):
        return f"struct<{', '.join(f'{field.name}: {_kind(field.type)}' for field in value)}>"
    return str(value)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    write_text(path, filled(path.read_text(encoding="utf-8")))
