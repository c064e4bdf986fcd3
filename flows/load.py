"""Load a pipeline's config from TOML files that may extend each other, with overrides.

Errors name the file, the field, the value and the remedy.
"""

import contextlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from flows.fields import type_text
from hpt_core.base import as_list, merge, named_fields
from hpt_core.errors import ConfigError, near
from hpt_core.paths import expand_named
from hpt_core.plugins import Plugin, add_folder, is_kind
from tasks.execution import variants
from tasks.execution.config import PipelineConfig, pipeline_type

OF_PYDANTIC = re.compile(r"function-.*|\[key\]|str|int|float|bool|(tuple|list|dict)\[.*\]")
"""Parts of a fault's location that are no field: validators, keys of a table, and members of a union."""


def load_config(
    path: Path, overrides: Iterable[str] = (), store: str | None = None, data_dir: Path | None = None
) -> PipelineConfig:
    """Load the TOML file `path` and apply the `a.b=c` overrides in order. Raises ConfigError.

    The file's folder is added to the import path, for plug-ins that the config names by import path.
    """
    table = read_table(path)
    add_folder(path.parent.resolve())
    known = _stages(table)
    overrides = list(overrides)
    for override in overrides:
        apply(table, override)
    if store is not None:
        table["store"] = store
    if data_dir is not None:
        table["data_dir"] = str(data_dir)
    try:
        return PipelineConfig.model_validate(table)
    except ValidationError as error:
        raise _unknown_stage(error, overrides, known) or explain(error, str(path), table, overrides) from error


def validated(table: Mapping[str, Any], where: str) -> PipelineConfig:
    """The config in a table. Raises ConfigError, which begins with `where`."""
    try:
        return PipelineConfig.model_validate(table)
    except ValidationError as error:
        raise explain(error, where, table) from error


def read_table(path: Path, within: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's table merged over those of the files it extends. Raises ConfigError."""
    if path.resolve() in within:
        raise ConfigError(f"{path} extends itself", 'remove one "extends"')
    table = read_toml(path)
    extends = table.pop("extends", [])
    bases = [extends] if isinstance(extends, str) else extends
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(
            f"{path}: extends = {extends!r} is not a path", 'write extends = "base.toml", or a list of paths'
        )
    found: dict[str, Any] = {}
    for base in bases:
        below = path.parent / expand_named(base, f"{path}: extends")
        found = merge(found, read_table(below, (*within, path.resolve())))
    return merge(found, table)


def read_toml(path: Path) -> dict[str, Any]:
    """One file's table. Raises ConfigError with the file and, for invalid TOML, the line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        beside = sorted(str(p) for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        remedy = near(str(path), tuple(beside)) if beside else "give the path of a TOML file"
        raise ConfigError(f"there is no config {path}", remedy) from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "give the path of a TOML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file", "give the path of a TOML file") from error
    except (ValueError, RecursionError) as error:  # also an integer of thousands of digits
        raise ConfigError(f"{path} is not valid TOML: {error}", "correct the line") from error


def apply(table: dict[str, Any], override: str, example: str = "train.hpt.steps=10") -> None:
    """Set one field of the table. `override` is `a.b=c`, with the value as `toml_value` reads it.

    A field of a plug-in leaves the plug-in's name as it is, whether given as a string or left at the default. A field
    of a variant's stage is set in the variant. Raises ConfigError for a malformed override; unknown fields are found
    when the config is validated.
    """
    path, equals, text = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise ConfigError(f"--set {override!r} is not of the form a.b=c", f"for example --set {example}")
    target: Any = table
    for i, key in enumerate(keys := _in_variant(table, keys)):
        where = ".".join(keys[:i])
        if isinstance(target, list):
            if not key.isdigit() or int(key) >= len(target):
                raise ConfigError(
                    f"--set {override!r}: {key!r} is not an item of the list", f"use 0 to {len(target) - 1}"
                )
            if i == len(keys) - 1:
                raise ConfigError(f"--set {override!r}: a list is set as a whole", f"--set {where}=[...]")
            target[int(key)] = target = _named(target[int(key)])
            continue
        if not isinstance(target, dict):
            raise ConfigError(f"--set {override!r}: {where} is a value, not a table", "shorten the path")
        if i == len(keys) - 1:
            target[key] = toml_value(text.strip())
            return
        if i or _takes_plugin(pipeline_type(table), key):
            target[key] = _named(target.get(key, {}))
        target = target.setdefault(key, {})


def _named(value: Any) -> Any:
    """The long form of a plug-in: `algorithm = "hpt"` is shorthand for `algorithm = { name = "hpt" }`."""
    return {"name": value} if isinstance(value, str) else value


def _takes_plugin(model: type[BaseModel], name: str) -> bool:
    """Whether a field takes a plug-in or a list of them."""
    field = named_fields(model).get(name)
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    return any(isinstance(kind, type) and issubclass(kind, Plugin) for kind in kinds)


def toml_value(text: str) -> Any:
    """Read `text` as a TOML value; anything else is a string. The bare word `none` is None."""
    if text == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def explain(
    error: ValidationError,
    where: str,
    table: Mapping[str, Any],
    overrides: Iterable[str] = (),
    model: type[BaseModel] | None = None,
) -> ConfigError:
    """Turn the first fault into an error with file, field, value and remedy.

    `model` is what the table was validated as; by default, the pipeline's type.
    """
    faults = _faults(error)
    first = next((fault for fault in faults if fault["type"] == "unknown_field"), faults[0])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    loc = [str(part) for part in first["loc"] if not OF_PYDANTIC.fullmatch(str(part))]
    if first["type"] == "unknown_field":
        loc.append(first["ctx"]["field"])
    name = ".".join(loc)
    name = name if name.isprintable() else repr(name)
    set_by = next((o for o in overrides if o.partition("=")[0].strip() == name), None)
    where = f"--set {set_by}" if set_by else where
    if first["type"] == "unknown_field":
        return ConfigError(f"{where}: unknown field {name!r}", first["ctx"]["remedy"])
    field, left = next(reversed([*_fields(model or pipeline_type(table), loc, table)]), (None, 0))
    doc = f": {field.description.split('. ')[0].strip()}" if field and field.description else ""
    if first["type"] == "missing":
        return ConfigError(f"{where}: field {name!r} is missing{more}", f"add it{doc}")
    value, (cause, _, remedy) = first.get("input"), first["msg"].removeprefix("Value error, ").partition("; ")
    if first["type"] == "literal_error" and isinstance(value, str):
        remedy = near(value, tuple(re.findall(r"'([^']*)'", first["ctx"]["expected"])))
    elif first["type"].endswith(("_type", "_parsing", "literal_error")) and field and left <= 1:
        cause, remedy = _shape(field, name, left == 1, value, cause)
        remedy += doc
    shown = "" if isinstance(value, dict | list) or first["loc"][-1:] == ("[key]",) else f" = {value!r}"
    at = f"{name}{shown}: " if name else ""
    return ConfigError(f"{where}: {at}{cause[:1].lower() + cause[1:]}{more}", remedy or f"correct it{doc}")


def _shape(field: FieldInfo, name: str, is_item: bool, value: Any, cause: str) -> tuple[str, str]:
    """(cause, remedy) for a value of the wrong type. `is_item` says that it is an entry of the field, not the field."""
    takes = type_text(field.annotation, field.metadata)
    by_name = get_origin(field.annotation) is dict
    if takes == "table" or takes.startswith("table ") or (by_name and is_item):
        stage = f"{name.rpartition('.')[0]}.NAME" if is_item else f"{name}.NAME" if by_name else name
        if isinstance(value, list):
            stage = name if is_item else stage
            return "a list of tables is given, but this field takes one table", f"write [{stage}] instead of [[{name}]]"
        return "a value is given, but this field takes a table", f"write [{stage}], and its fields below it"
    if isinstance(value, list | dict) and not is_item:
        given = "a list" if isinstance(value, list) else "a table"
        return f"{given} is given, but this field takes one value", f"write {name} = VALUE, of type {takes}"
    return cause, f"give a value of type {takes}"


def _faults(error: ValidationError) -> list[ErrorDetails]:
    """The faults, without "too short" for a list that is short only because some of its items are invalid."""
    every = error.errors()
    parents = {fault["loc"][:-1] for fault in every}
    return [fault for fault in every if fault["type"] != "too_short" or fault["loc"] not in parents]


def _in_variant(table: Mapping[str, Any], keys: list[str]) -> list[str]:
    """The path with a variant's stage replaced by the variant: `train.hpt_x.steps` -> `train.hpt.variants.0.steps`."""
    stages = table.get(keys[0])
    if len(keys) < 3 or not isinstance(stages, dict) or keys[1] in stages:
        return keys
    name, place = variants.variant_keys(stages).get(keys[1], ("", 0))
    return [keys[0], name, "variants", str(place), *keys[2:]] if name else keys


def _stages(table: dict[str, Any]) -> tuple[str, ...]:
    """Keys of the stages in a table that is not yet validated."""
    kinds = pipeline_type(table).known_kinds
    with contextlib.suppress(ValueError):
        table = variants.expand(table, kinds)
    tables = ((kind.name, table.get(kind.name)) for kind in kinds)
    return tuple(f"{kind}.{name}" for kind, found in tables if isinstance(found, dict) for name in found)


def _unknown_stage(error: ValidationError, overrides: list[str], known: tuple[str, ...]) -> ConfigError | None:
    """The error for an override of a stage that the file lacks, which creates an incomplete table; else None."""
    for fault in error.errors():
        key = ".".join(map(str, fault["loc"][:2]))
        set_by = next((o for o in overrides if o.partition("=")[0].strip().startswith(f"{key}.")), None)
        if fault["type"] == "missing" and len(fault["loc"]) > 2 and key not in known and set_by:
            return ConfigError(f"--set {set_by}: there is no stage {key!r}", near(key, known))
    return None


def _fields(annotation: Any, loc: list[str], table: Any) -> Iterator[tuple[FieldInfo, int]]:
    """The fields along a location, each with the number of parts of the location after it.

    `table` holds the given values, whose `name` fields select the plug-ins.
    """
    if not loc:
        return
    below = table.get(loc[0]) if isinstance(table, Mapping) else None
    if get_origin(annotation) in (dict, tuple, list):
        if get_origin(annotation) is not dict:
            items = as_list(table)
            below = items[int(loc[0])] if items and loc[0].isdigit() and int(loc[0]) < len(items) else None
        yield from _fields(get_args(annotation)[get_origin(annotation) is dict], loc[1:], below)
        return
    for found in (annotation, *get_args(annotation)):
        if isinstance(found, type) and issubclass(found, Plugin) and is_kind(found):
            found = _plugin(found, table)
        if isinstance(found, type) and issubclass(found, BaseModel) and loc[0] in named_fields(found):
            field = named_fields(found)[loc[0]]
            yield field, len(loc) - 1
            yield from _fields(field.annotation, loc[1:], field.default if below is None else below)
            return


def _plugin(kind: type[Plugin], given: Any) -> Any:
    name = given.get("name") if isinstance(given, Mapping) else given
    try:
        return kind.plugin_kind.load(name) if isinstance(name, str) else None
    except ConfigError:
        return None
