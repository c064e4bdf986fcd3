"""What a config can say: fields of a model with their types, defaults and meaning."""

import types
from collections.abc import Iterator
from enum import Enum
from inspect import isclass
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hpt_core.base import named_fields
from hpt_core.plugins import Plugin, is_kind
from tasks.execution.keys import Reference, StageKey

WORDS = {"str": "string", "int": "integer", "float": "number", "bool": "true or false", "Path": "path"}
"""Python's types as TOML's users call them."""
BOUNDS = {
    annotated_types.Ge: ("ge", "at least"),
    annotated_types.Gt: ("gt", "above"),
    annotated_types.Le: ("le", "at most"),
    annotated_types.Lt: ("lt", "below"),
}


class Field(NamedTuple):
    """One field, in words."""

    name: str
    takes: str
    """Its type in words."""
    default: str
    """As in TOML; "required" where there is none, "none" for None."""
    meaning: str
    model: type[BaseModel] | None
    """The table that the field takes, where it is one of fields of its own."""


def fields_of(model: type[BaseModel]) -> Iterator[Field]:
    """Fields of a model, by the names that a config uses."""
    for name, field in named_fields(model).items():
        bounds = [f"{word} {getattr(mark, key):g}" for mark in field.metadata for key, word in _bound(mark)]
        text = type_text(field.annotation, field.metadata)
        yield Field(
            name=name,
            takes=", ".join([text, *bounds]),
            default=_default(field),
            meaning=" ".join((field.description or _inherited(model, name)).split()),
            model=_table(field.annotation),
        )


def type_text(annotation: Any, marks: Any = ()) -> str:
    """A type in words: "number or none", "list of string", "one of advantages"."""
    origin, items = get_origin(annotation), get_args(annotation)
    if any(isinstance(mark, Reference) for mark in marks) and annotation is StageKey:
        return "a stage, such as train.hpt"
    if origin is Annotated:
        return type_text(items[0], items[1:])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_text(item, marks) for item in items))
    if origin is Literal:
        return " or ".join(map(toml, items))
    if origin is dict:
        return f"table by name of {type_text(items[1])}"
    if origin in (tuple, list):
        if items[-1] is Ellipsis or origin is list:
            return f"list of {type_text(items[0])}"
        return f"list of {len(items)}: {', '.join(map(type_text, items))}"
    if annotation is type(None):
        return "none"
    if isclass(annotation) and issubclass(annotation, Plugin) and is_kind(annotation):
        return f"one of {annotation.plugin_kind.name}"
    if isclass(annotation) and issubclass(annotation, BaseModel):
        return "table"
    return WORDS.get(getattr(annotation, "__name__", ""), getattr(annotation, "__name__", str(annotation)))


def toml(value: Any) -> str:
    """A value as TOML writes it; "none" for None, which TOML lacks."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", by_alias=True)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return toml(value.value)
    if isinstance(value, dict):
        # A plug-in without fields is its name.
        if set(value) == {"name"}:
            return toml(value["name"])
        items = ", ".join(f"{key} = {toml(item)}" for key, item in value.items() if item is not None)
        return f"{{ {items} }}" if items else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _inherited(model: type[BaseModel], name: str) -> str:
    """What the field says in a base class, where a subclass only gives it another default."""
    bases = (base for base in model.__mro__ if isclass(base) and issubclass(base, BaseModel))
    return next((text for base in bases if (f := base.model_fields.get(name)) and (text := f.description)), "")


def _bound(mark: Any) -> list[tuple[str, str]]:
    return [BOUNDS[type(mark)]] if type(mark) in BOUNDS else []


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel) and not isinstance(value, Plugin):
        return "its fields' defaults"
    return toml(value)


def _table(annotation: Any) -> type[BaseModel] | None:
    """The model of a field that is a table, or holds tables; None for plug-ins, whose fields depend on their name."""
    found = annotation
    if get_origin(found) is Annotated:
        found = get_args(found)[0]
    if get_origin(found) is None:
        if not isclass(found) or not issubclass(found, BaseModel) or (issubclass(found, Plugin) and is_kind(found)):
            return None
        return found
    inner = (_table(item) for item in get_args(found) if item is not Ellipsis)
    return next((model for model in inner if model is not None), None)
