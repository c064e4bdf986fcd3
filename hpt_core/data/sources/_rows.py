"""Reads rows in the schema of Elliott/Openr1-Math-46k-8192."""

from typing import Any

from pyarrow.types import is_struct

from hpt_core.data.sources._parquet import Columns, Row, is_messages
from hpt_core.data.sources.base import MalformedRow, SourceRow
from hpt_core.prompts.base import THINK

COLUMNS: Columns = {"prompt": is_messages, "target": is_messages, "reward_model": is_struct}


def openr1_row(where: str, row: Row, drop_think: bool = False) -> SourceRow | MalformedRow:
    """The user's message as question and the assistant's as demonstration. A system message is ignored."""
    try:
        return SourceRow(
            where=where,
            question_id="",  # extra_info.index is -1 in every row of the original
            question=_only(row["prompt"], "prompt", "user"),
            gold=_gold(row["reward_model"]),
            kind="math",
            demonstration=_demonstration(row["target"], drop_think),
            family=str(row.get("ability") or ""),
        )
    except ValueError as error:
        return MalformedRow(where, str(error))


def _gold(reward_model: Any) -> str:
    gold = (reward_model or {}).get("ground_truth")
    if not isinstance(gold, str) or not gold.strip():
        raise ValueError("reward_model.ground_truth is empty")
    return gold


def _demonstration(messages: Any, drop_think: bool) -> str | None:
    if not messages:
        return None
    text = _only(messages, "target", "assistant")
    return text.removeprefix(THINK) if drop_think else text


def _only(messages: Any, column: str, role: str) -> str:
    """The content of the only non-system message."""
    found = [m for m in messages or [] if m and m["role"] != "system"]
    if len(found) != 1 or found[0]["role"] != role:
        roles = ", ".join(str(m["role"]) for m in found) or "none"
        raise ValueError(f"{column} must hold one message, the {role}'s; it holds {roles}")
    content = found[0]["content"]
    if not isinstance(content, str) or not content.strip():
        raise ValueError(f"{column} is empty")
    return content
