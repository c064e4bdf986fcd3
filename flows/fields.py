"""Descriptions of config fields: type, default and meaning."""

import json
import re
import types
from collections.abc import Iterator
from enum import Enum
from inspect import isclass
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from hpt_core.docstrings import meaning
from hpt_core.plugins import Plugin, is_kind
from tasks.execution.keys import Reference, StageKey

WORDS = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "true or false",
    "Path": "path",
    "Any": "any value",
}
"""Names of Python types in the config reference."""
BOUNDS = {
    annotated_types.Ge: ("ge", "at least"),
    annotated_types.Gt: ("gt", "above"),
    annotated_types.Le: ("le", "at most"),
    annotated_types.Lt: ("lt", "below"),
}

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
"""Keys that TOML takes without quotes."""


class Field(NamedTuple):
    """Description of one field."""

    name: str
    takes: str
    """The type in words."""
    default: str
    """The default in TOML notation, "none" for None, or "required"."""
    meaning: str
    model: type[BaseModel] | None
    """The model of a field that is a table or holds tables."""
    value: str | None = None
    """The value in TOML notation of an instance's field."""

    @property
    def path(self) -> str:
        """What the names of a table's own fields begin with."""
        return f"{self.name}.NAME" if self.takes.startswith("table by name") else self.name

    def as_json(self) -> dict[str, str]:
        """What the commands print with `--json`; an instance's field has a value."""
        return {key: text for key, text in self._asdict().items() if isinstance(text, str)}


def fields_of(model: type[BaseModel] | BaseModel) -> Iterator[Field]:
    """The fields of a model, under the names that a config uses; those of an instance with their values."""
    instance, model = (None, model) if isclass(model) else (model, type(model))
    for attribute, field in model.model_fields.items():
        name = field.alias or attribute
        bounds = [f"{word} {getattr(mark, key):g}" for mark in field.metadata for key, word in _bound(mark)]
        text = type_text(field.annotation, field.metadata)
        yield Field(
            name=name,
            takes=", ".join([text, *bounds]),
            default=_default(field),
            meaning=" ".join(meaning(model, attribute).split()),
            model=_table(field.annotation),
            value=None if instance is None else toml(getattr(instance, attribute)),
        )


def every_field(model: type[BaseModel] | BaseModel) -> Iterator[Field]:
    """The fields of a model and, after each table, the table's own, such as `rl.advantage`.

    A model may give a table other defaults than the table's class does; those of the model are returned.
    """
    is_class = isclass(model)
    holder = _with_defaults(model) if isclass(model) else model
    for attribute, field in zip(type(holder).model_fields, fields_of(model), strict=True):
        yield field
        if field.model is not None:
            table = getattr(holder, attribute, None)
            for below in every_field(table if isinstance(table, BaseModel) else field.model):
                if is_class and below.value is not None:
                    below = below._replace(default=below.value, value=None)
                yield below._replace(name=f"{field.path}.{below.name}")


def _with_defaults(model: type[BaseModel]) -> BaseModel:
    """The model with its defaults. Fields that are required are left out."""
    try:
        return model()
    except ValidationError:
        return model.model_construct()


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
        # A plug-in without fields is written as its name.
        if is_name(value):
            return toml(value["name"])
        items = ", ".join(f"{toml_key(key)} = {toml(item)}" for key, item in value.items() if item is not None)
        return f"{{ {items} }}" if items else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, int):
        return str(value)
    # A string of JSON is one of TOML, too.
    return json.dumps(str(value), ensure_ascii=False)


def toml_key(name: str) -> str:
    """A key as TOML writes it."""
    return name if BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def is_name(value: Any) -> bool:
    """Whether a value is the table of a plug-in without other fields."""
    return isinstance(value, dict) and set(value) == {"name"} and isinstance(value["name"], str)


def _bound(mark: Any) -> list[tuple[str, str]]:
    return [BOUNDS[type(mark)]] if type(mark) in BOUNDS else []


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel) and not isinstance(value, Plugin):
        given = {name: field for name, field in value if name in value.model_fields_set}
        return toml(given) if given else "its fields' defaults"
    return toml(value)


def _table(annotation: Any) -> type[BaseModel] | None:
    """The model of a field that is a table or holds tables; None for plug-ins, whose fields depend on their name."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is None:
        is_table = isclass(annotation) and issubclass(annotation, BaseModel)
        return annotation if is_table and not (issubclass(annotation, Plugin) and is_kind(annotation)) else None
    inner = (_table(item) for item in get_args(annotation) if item is not Ellipsis)
    return next((model for model in inner if model is not None), None)
