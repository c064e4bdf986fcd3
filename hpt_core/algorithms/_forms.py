"""What the algorithms share that have more than one published form: a form fills in parts that the user left out."""

from collections.abc import Mapping
from typing import Any


def fill(data: Any, defaults: Mapping[str, Mapping[str, Any]]) -> Any:
    """`data`, raw input of an algorithm, with each signal's missing fields from `defaults` (signal -> field -> value).

    What is no table stays as it is, for the fields' own validation to refuse.
    """
    if not isinstance(data, dict):
        return data
    filled = dict(data)
    for signal, fields in defaults.items():
        given = data.get(signal, {})
        filled[signal] = {**fields, **given} if isinstance(given, dict) else given
    return filled
