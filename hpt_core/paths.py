"""Paths that users write: `~` and environment variables are replaced."""

import re
from os import environ
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from hpt_core.errors import ConfigError, DataError

VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([^{}]*)\})", re.ASCII)
"""$NAME or ${NAME}. Any other $ is an ordinary character."""


def substitute(text: str) -> str:
    """`text` with the values of its environment variables. Raises ValueError for one that is not set or is empty."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if not environ.get(name):
            problem = "is empty" if name in environ else "is not set"
            raise ValueError(f"{found[0]} {problem}; set it in the environment, or write the value")
        return environ[name]

    return VARIABLE.sub(value, text)


def expand(text: str) -> str:
    """A path with its environment variables and a leading `~` or `~USER` replaced. Expanding it again changes nothing.

    Raises ValueError ("CAUSE; REMEDY").
    """
    if not text:
        raise ValueError("the path is empty; write . for the current folder")
    found = substitute(text)
    if found.startswith("~"):
        try:
            found = str(Path(found).expanduser())
        except RuntimeError as error:
            raise ValueError(f"{found.partition('/')[0]} is no user's home folder; write the whole path") from error
    if left := VARIABLE.search(found):
        raise ValueError(f"it becomes {found}, which contains {left[0]} again; write a path without it")
    return found


def expand_named(text: str, where: str) -> str:
    """See `expand`, for a path that is not a field of a config. Raises ConfigError that begins with `where`."""
    try:
        return expand(text)
    except ValueError as error:
        cause, _, remedy = str(error).partition("; ")
        raise ConfigError(f"{where} = {text!r}: {cause}", remedy) from error


def _expanded(value: Any) -> Any:
    return Path(expand(str(value))) if isinstance(value, str | Path) else value


UserPath = Annotated[Path, BeforeValidator(_expanded)]
"""The type of every path in a config."""


def require_data_dir(data_dir: Path | None) -> None:
    """Raise DataError if a data folder is set but does not exist. None is the Hub."""
    if data_dir is not None and not data_dir.is_dir():
        problem = "is not a folder" if data_dir.exists() else "does not exist"
        raise DataError(
            f"data_dir {data_dir} {problem}", "correct data_dir, --data-dir or HPT_DATA, or unset it to use the Hub"
        )
