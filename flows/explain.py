"""What is wrong with a config, from pydantic's faults: the file, the field, the value and the remedy."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from flows.fields import type_text
from hpt_core.base import as_list, named_fields
from hpt_core.docstrings import meaning
from hpt_core.errors import ConfigError, near
from hpt_core.plugins import Plugin, PluginConfig, is_kind
from hpt_core.redact import redact
from tasks.execution import variants
from tasks.execution.config import pipeline_type
from tasks.execution.kind import NamedStages

OF_PYDANTIC = re.compile(r"function-.*|\[key\]|str|int|float|bool|(tuple|list|dict)\[.*\]")
"""Parts of a fault's location that are no field: validators, keys of a table, and members of a union."""

LONGEST = 100
"""Most characters of a value in an error."""


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
    if model is None and (kind := _without_stage(loc, table)):
        return ConfigError(
            f"{where}: {kind}.{loc[1]} is a field of a stage, but no stage is named",
            f"write [{kind}.NAME] with a name of your choice, and all fields of the stage below it",
        )
    field, left, text = next(reversed([*_fields(model or pipeline_type(table), loc, table)]), (None, 0, ""))
    if field and left > 1 and (named := _named_instance(field, first.get("input"))):
        return ConfigError(f"{where}: {'.'.join(loc[:-1])}: a table is given, but this field takes names", named)
    if first["type"] == "unknown_field":
        owners = [f"[{kind.name}.NAME]" for kind, config in _stage_kinds(table) if name in named_fields(config)]
        remedy = f"write it below {' or '.join(owners)}" if owners and model is None else first["ctx"]["remedy"]
        return ConfigError(f"{where}: unknown field {name!r}", remedy)
    doc = f": {text.split('. ')[0].strip()}" if text else ""
    value, (cause, _, remedy) = first.get("input"), first["msg"].removeprefix("Value error, ").partition("; ")
    if first["type"] == "missing" and not (field and left == 1 and get_origin(field.annotation) is tuple):
        return ConfigError(f"{where}: field {name!r} is missing{more}", f"add it{doc}")
    if first["type"] == "literal_error" and isinstance(value, str):
        remedy = near(value, tuple(re.findall(r"'([^']*)'", first["ctx"]["expected"])))
    elif first["type"] in ("missing", "too_short", "too_long") and field:
        # An item of a pair is missing, or a list has too few or too many items.
        name = ".".join(loc[:-1]) if left else name
        cause, remedy = _count(field, name, value)
        remedy += doc
    elif first["type"].endswith(("_type", "_parsing", "literal_error")) and field and left <= 1:
        cause, remedy = _shape(field, name, left == 1, value, cause)
        remedy += doc
    elif cause == "a name is missing" and field and isinstance(value, dict):
        remedy = _name_in_header(field, ".".join(loc[:-1]) if left else name, left == 1, value) or remedy
    hidden = isinstance(value, dict | list | tuple) or first["loc"][-1:] == ("[key]",) or first["type"] == "secret"
    text = redact(repr(value))
    shown = "" if hidden else f" = {text if len(text) <= LONGEST else text[:LONGEST] + '...'}"
    at = f"{name}{shown}: " if name else ""
    return ConfigError(f"{where}: {at}{cause[:1].lower() + cause[1:]}{more}", remedy or f"correct it{doc}")


def _shape(field: FieldInfo, name: str, is_item: bool, value: Any, cause: str) -> tuple[str, str]:
    """(cause, remedy) for a value of the wrong type. `is_item` says that it is an entry of the field, not the field."""
    takes = type_text(field.annotation, field.metadata)
    by_name = get_origin(field.annotation) is dict
    item: Any = get_args(field.annotation)[by_name] if by_name or get_origin(field.annotation) is tuple else None
    holds_tables = isinstance(item, type) and issubclass(item, BaseModel)
    if is_item and holds_tables and not by_name:
        if issubclass(item, Plugin):
            return f"{value!r} is not a name", near(str(value), item.plugin_kind.names)
        given = "a list" if isinstance(value, list) else "a value"
        fields = f"with the fields {', '.join(named_fields(item))}"
        return f"{given} is given, but this field takes tables", f"write {{ FIELD = VALUE }}, {fields}"
    if by_name and is_item and not holds_tables:
        return _shape(FieldInfo(annotation=item), name, False, value, cause)
    if takes == "table" or takes.startswith("table ") or (by_name and is_item):
        if by_name and not holds_tables:
            name, by_name = name.rpartition(".")[0] if is_item else name, False
        stage = f"{name.rpartition('.')[0]}.NAME" if is_item else f"{name}.NAME" if by_name else name
        if isinstance(value, list):
            stage = name if is_item else stage
            return "a list of tables is given, but this field takes one table", f"write [{stage}] instead of [[{name}]]"
        return "a value is given, but this field takes a table", f"write [{stage}], and its fields below it"
    if isinstance(value, list | dict) and not is_item:
        given = "a list" if isinstance(value, list) else "a table"
        return f"{given} is given, but this field takes one value", f"write {name} = VALUE, of type {takes}"
    if get_origin(field.annotation) is tuple and not is_item:
        return "one value is given, but this field takes several", f"write {name} = {_pattern(field)}"
    return cause, f"give a value of type {takes}"


def _count(field: FieldInfo, name: str, value: Any) -> tuple[str, str]:
    """(cause, remedy) for too few or too many values."""
    if isinstance(value, dict):
        return "the table is empty", f"write [{name}.NAME], and its fields below it"
    count = len(value) if isinstance(value, list | tuple) else 1
    cause = f"{count} values are given" if count > 1 else f"{'one' if count else 'no'} value is given"
    return cause, f"write {name} = {_pattern(field)}"


def _pattern(field: FieldInfo) -> str:
    """How a field's value is written: "[VALUE, VALUE], of type list of 2: number, number"."""
    text = type_text(field.annotation, field.metadata)
    if get_origin(field.annotation) is not tuple:
        return f"VALUE, of type {text}"
    items = get_args(field.annotation)
    values = "VALUE, ..." if items[-1] is Ellipsis else ", ".join(["VALUE"] * len(items))
    return f"[{values}], of type {text}"


def _kinds(annotation: Any) -> Iterator[type[Plugin]]:
    """The kinds of plug-ins in a type."""
    if isinstance(annotation, type) and issubclass(annotation, Plugin):
        yield annotation
    for inner in get_args(annotation):
        yield from _kinds(inner)


def _named_instance(field: FieldInfo, table: Any) -> str | None:
    """The remedy for a table with the name of a plug-in that has no fields, because it is an instance."""
    name = table.get("name") if isinstance(table, dict) else None
    instances = (kind for kind in _kinds(field.annotation) if not issubclass(kind, PluginConfig))
    return f'write "{name}"' if any(name in kind.plugin_kind.names for kind in instances) else None


def _name_in_header(field: FieldInfo, name: str, is_item: bool, table: Mapping[str, Any]) -> str | None:
    """The remedy for [publish.static_site]; None if no field of the table is a plug-in's name."""
    known = {plugin for kind in _kinds(field.annotation) for plugin in kind.plugin_kind.names}
    plugin = next((key for key in table if key in known), None)
    header = f"[[{name}]]" if is_item else f"[{name}]"
    return plugin and f'write {header} and name = "{plugin}" below it, instead of [{name}.{plugin}]'


def _stage_kinds(table: Mapping[str, Any]) -> Iterator[tuple[NamedStages, type[BaseModel]]]:
    """The kinds whose stages have names, each with the type of a stage's config."""
    for kind in pipeline_type(table).known_kinds:
        if isinstance(kind, NamedStages) and kind.config is not None:
            yield kind, kind.config


def _without_stage(loc: list[str], table: Mapping[str, Any]) -> str | None:
    """The table of a kind that has a stage's field where a stage belongs; None if there is no such fault.

    A stage may have the name of a field. It is a stage if it has a stage's fields.
    """
    kind, key = (*loc, "", "")[:2]
    fields = next((named_fields(config) for found, config in _stage_kinds(table) if found.name == kind), {})
    stages = table.get(kind)
    given = stages.get(key) if isinstance(stages, dict) else None
    is_stage = isinstance(given, dict) and key not in variants.OF_SWEEPS and bool(fields.keys() & given)
    return kind if key in fields and isinstance(given, dict | list) and not is_stage else None


def _faults(error: ValidationError) -> list[ErrorDetails]:
    """The faults, without "too short" for a list that is short only because some of its items are invalid."""
    every = error.errors()
    parents = {fault["loc"][:-1] for fault in every}
    return [fault for fault in every if fault["type"] != "too_short" or fault["loc"] not in parents]


def _fields(annotation: Any, loc: list[str], table: Any) -> Iterator[tuple[FieldInfo, int, str]]:
    """The fields along a location, each with the number of parts of the location after it and its meaning.

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
        if not (isinstance(found, type) and issubclass(found, BaseModel)):
            continue
        for name, field in found.model_fields.items():
            if loc[0] == (field.alias or name):
                yield field, len(loc) - 1, meaning(found, name)
                yield from _fields(field.annotation, loc[1:], field.default if below is None else below)
                return


def _plugin(kind: type[Plugin], given: Any) -> Any:
    name = given.get("name") if isinstance(given, Mapping) else given
    try:
        return kind.plugin_kind.load(name) if isinstance(name, str) else None
    except ConfigError:
        return None
