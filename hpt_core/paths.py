"""Paths and addresses that users write: `~` and environment variables are replaced."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ValidationInfo, field_validator

from hpt_core.errors import ConfigError, DataError

VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([^{}]*)\})", re.ASCII)
"""$NAME or ${NAME}. Any other $ is an ordinary character."""


def substitute(text: str) -> str:
    """`text` with the values of its environment variables. Raises ValueError for one that is not set or is empty."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if not os.environ.get(name):
            problem = "is empty" if name in os.environ else "is not set"
            raise ValueError(f"{found[0]} {problem}; set it in the environment, or write the value")
        return os.environ[name]

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
    """A path, or each of several."""
    if isinstance(value, list | tuple):
        return [_expanded(item) for item in value]
    if isinstance(value, dict):
        return {key: _expanded(item) for key, item in value.items()}
    if isinstance(value, str):
        return expand(value)  # in JSON, pydantic takes only text for a path
    return Path(expand(str(value))) if isinstance(value, Path) else value


def check_inside(path: str) -> str:
    """A relative path with forward slashes, from a file that anybody may have written. Raises ValueError for a path
    that leaves the folder that it is relative to."""
    if path.startswith("/") or not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise ValueError(f"{path!r} is not a path below the folder; restore the file that names it")
    return path


UserPath = Annotated[Path, BeforeValidator(_expanded)]
"""The type of a path in a config. A plug-in's or a stage's config may write `Path`: see `expands_paths`."""


def _expanded_address(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = expand(value)
    local = re.match(r"(?:(file://)/?|(sqlite:///))(?=~)", found)
    return f"{local[1] or local[2]}{expand(found[local.end() :])}" if local else found


UserAddress = Annotated[str, BeforeValidator(_expanded_address)]
"""The type of an address in a config. In "file://~/site" and "sqlite:///~/runs.db", too, `~` is the home folder."""


def _expand_field(cls: type[BaseModel], value: Any, info: ValidationInfo) -> Any:
    field = cls.model_fields[info.field_name or ""]
    return _expanded(value) if Path in _parts(field.annotation) else value


def _parts(annotation: Any) -> list[Any]:
    return [annotation, *(part for inner in get_args(annotation) for part in _parts(inner))]


expands_paths = field_validator("*", mode="before")(classmethod(_expand_field))
"""A validator for a base class of configs: it makes a `UserPath` of every field with `Path` in its type."""


def require_data_dir(data_dir: Path | None) -> None:
    """Raise DataError if a data folder is set but does not exist. None is the Hub."""
    if data_dir is not None and not data_dir.is_dir():
        problem = "is not a folder" if data_dir.exists() else "does not exist"
        raise DataError(
            f"data_dir {data_dir} {problem}", "correct data_dir, --data-dir or HPT_DATA, or unset it to use the Hub"
        )
