"""Reads rows in the schema of Elliott/Openr1-Math-46k-8192, and tells malformed rows from others."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from hpt_core.data.sources.base import MalformedRow, SourceRow
from hpt_core.parquet import Columns, is_messages, is_object
from hpt_core.prompts.base import THINK
from hpt_core.rows import Row, answer_of, text_of

COLUMNS: Columns = {"prompt": is_messages, "target": is_messages, "reward_model": is_object}
READ = (*COLUMNS, "ability")
"""The columns that are used."""
Raw = TypeVar("Raw")


def source_rows(
    rows: Iterable[tuple[str, Raw]], read: Callable[[str, Raw], SourceRow]
) -> Iterator[SourceRow | MalformedRow]:
    """Each row as `read(where, row)` gives it; malformed if that raises ValueError."""
    for where, row in rows:
        try:
            found: SourceRow | MalformedRow = read(where, row)
        except ValueError as error:
            found = MalformedRow(where, str(error))
        yield found


def openr1_row(where: str, row: Row, drop_think: bool = False) -> SourceRow:
    """The user's message as question and the assistant's as demonstration. A system message is ignored. Raises
    ValueError."""
    demonstration = _only(row["target"], "target", "assistant") if row["target"] else None
    return SourceRow(
        where=where,
        question_id="",  # extra_info.index is -1 in every row of the original
        question=_only(row["prompt"], "prompt", "user"),
        gold=_gold(row["reward_model"]),
        kind="math",
        demonstration=demonstration.removeprefix(THINK) if demonstration and drop_think else demonstration,
        family=_text("ability", text_of, row.get("ability")),
    )


def in_field(name: str, read: Callable[[Any], str], value: Any) -> str:
    """`read(value)`. A ValueError begins with the field's name."""
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error


def _text(name: str, read: Callable[[Any], str], value: Any) -> str:
    """See `in_field`; "" if there is no value."""
    return "" if value is None else in_field(name, read, value)


def _gold(reward_model: Any) -> str:
    name = "reward_model.ground_truth"
    return _filled(name, _text(name, answer_of, (reward_model or {}).get("ground_truth")))


def _only(messages: Any, column: str, role: str) -> str:
    """The content of the only non-system message."""
    by_role = [(_text(f"{column}'s role", text_of, m["role"]) or "nobody", m["content"]) for m in messages or [] if m]
    found = [(name, content) for name, content in by_role if name != "system"]
    if [name for name, _ in found] != [role]:
        roles = ", ".join(name for name, _ in found) or "none"
        raise ValueError(f"{column} must hold one message, the {role}'s; it holds {roles}")
    return _filled(column, _text(column, _content, found[0][1]))


def _content(content: Any) -> str:
    """The text of a message: text, or a list of parts with a text each."""
    return "".join(map(_part, content)) if isinstance(content, list) else text_of(content)


def _part(part: Any) -> str:
    if not isinstance(part, dict):
        return text_of(part)
    if part.get("type") is not None and (kind := text_of(part["type"])) != "text":
        raise ValueError(f"has a part of type {kind!r}, which is not text")
    return text_of(part.get("text"))


def _filled(name: str, text: str) -> str:
    if not text.strip():
        raise ValueError(f"{name} is empty")
    return text
