"""The base class of every config, the type of every name, and how config tables are merged."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache, partial
from types import NoneType
from typing import Annotated, Any, Final, Optional, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, create_model, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from hpt_core.docstrings import meaning
from hpt_core.errors import near
from hpt_core.redact import is_secret

Table = Mapping[str, Any]


class NotIdentity:
    """Marks a field that is not part of an artifact's identity: `workers: Annotated[int, NOT_IDENTITY] = 2`.

    On the items of a tuple it marks the whole field.
    """


NOT_IDENTITY: Final = NotIdentity()


class UsedIf:
    """Marks a field that is used, and part of an artifact's identity, only if a property of its config is true:
    `engine: Annotated[EngineConfig, UsedIf("uses_engine")]`."""

    def __init__(self, condition: str, but: tuple[str, ...] = ()) -> None:
        """`but`: fields of the field's value that are used in any case, if it is a config."""
        self.condition = condition
        self.but = but


NAME_LENGTH = 100
"""Longest name, in characters. A name becomes part of file names, which may have 255 bytes."""


def check_name(name: Any, also: str = "") -> str:
    """The name. Raises ValueError unless it consists of ASCII letters, digits, _, - and the characters in `also`."""
    if isinstance(name, str) and len(name) > NAME_LENGTH:
        raise ValueError(f"'{name[:20]}...' is a name of {len(name)} characters; use at most {NAME_LENGTH}")
    if not isinstance(name, str) or not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9_{also}-]*", name):
        allowed = ", ".join(["letters", "digits", "_", *also])
        raise ValueError(f"{name!r} is not a valid name; use {allowed} and -, and begin with a letter or a digit")
    return name


Name = Annotated[str, AfterValidator(check_name)]
"""Name of a stage, a variant or a benchmark. It is part of keys ("train.NAME"), globs and file names."""
PipelineName = Annotated[str, AfterValidator(partial(check_name, also="."))]
"""Name of a pipeline, which may contain a version number."""


def _secret_variable(name: str) -> str:
    try:
        return is_secret(name)
    except ValueError as error:
        # Errors of this type are shown without the value, which may be the secret itself.
        raise PydanticCustomError("secret", "{cause}", {"cause": str(error)}) from None


SecretVariable = Annotated[str, AfterValidator(_secret_variable)]
"""Name of an environment variable that holds a secret, which is then hidden wherever it would be written."""

RENAMED = {
    "optimiser": "optimizer",
    "regularisers": "regularizers",
    "normalisation": "normalization",
}
"""Former name of a field -> current name."""


class Frozen(BaseModel):
    """An immutable model that refuses unknown fields and numbers that are not finite. The docstring under a field is
    its meaning (docstrings.py)."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read_table(cls, data: Any) -> Any:
        """Refuse unknown fields, add the default plug-in's name to a plug-in's table without a name, and take a single
        value for a list of one: `suites = "math500"`, or `[publish]` instead of `[[publish]]`."""
        if not isinstance(data, dict):
            return data
        fields, lists = _table_fields(cls)
        known = {*fields, *cls.model_fields}
        for key in data if cls.model_config.get("extra") == "forbid" else ():
            if key not in known:
                raise unknown_field(str(key), tuple(fields))
        unnamed = {key: value for key, value in data.items() if isinstance(value, dict) and "name" not in value}
        defaults = {key: _default_name(fields[key]) for key in unnamed if key in fields}
        named = {key: {"name": name, **unnamed[key]} for key, name in defaults.items() if name}
        single = {key: as_list(value) for key, value in data.items() if key in lists}
        return data | named | single

    def without_effect(self) -> Iterator[str]:
        """Settings of this table, and of no table in it, that change nothing: "FIELD CAUSE; REMEDY"."""
        yield from ()

    def identity(self) -> dict[str, Any]:
        """This config's part of an artifact's identity, as JSON: the fields without NOT_IDENTITY that it uses."""
        dumped = self.model_dump(mode="json")
        found = {key: _identity(value, dumped[key]) for key, value in self.deciding() if key in dumped}
        for key, used in self.without_use().items():
            if isinstance(value := found.get(key), dict):
                found[key] = {name: part for name, part in value.items() if name in used}
        return found

    def deciding(self) -> Iterator[tuple[str, Any]]:
        """Names and values of the fields that are part of the identity."""
        idle = self.without_use()
        for key in _deciding(type(self)):
            if idle.get(key) != ():
                yield key, getattr(self, key)

    def without_use(self) -> dict[str, tuple[str, ...]]:
        """The fields that this config does not use, by their marks -> the fields of their values that it uses."""
        found: dict[str, tuple[str, ...]] = {}
        for key, mark in _conditions(type(self)):
            if not getattr(self, mark.condition):
                found[key] = tuple(name for name in mark.but if name in found.get(key, mark.but))
        return found


def idle_settings(config: Any, where: str = "") -> Iterator[str]:
    """Settings without effect of a config and of every config in it: "where.FIELD CAUSE; REMEDY"."""
    if isinstance(config, Frozen):
        yield from (f"{where}.{text}".removeprefix(".") for text in config.without_effect())
        for key, field in type(config).model_fields.items():
            yield from idle_settings(getattr(config, key), f"{where}.{field.alias or key}".removeprefix("."))
    elif isinstance(config, Mapping | tuple):
        items: Iterable[tuple[Any, Any]] = config.items() if isinstance(config, Mapping) else enumerate(config)
        for name, value in items:
            yield from idle_settings(value, f"{where}.{name}".removeprefix("."))


def differs(config: BaseModel, name: str) -> bool:
    """Whether a field has another value than its default."""
    field = type(config).model_fields[name]
    if field.is_required():
        return True
    kind: Any = field.annotation
    default = TypeAdapter(kind).validate_python(field.get_default(call_default_factory=True, validated_data={}))
    return bool(getattr(config, name) != default)


def as_list(value: Any) -> Any:
    """A single value as a list of one. None and everything that holds several values are returned as they are."""
    is_single = isinstance(value, str | Mapping | BaseModel) or not isinstance(value, Iterable)
    return [value] if is_single and value is not None else value


Model = TypeVar("Model", bound=Frozen)


def overriding(model: type[BaseModel]) -> Callable[[type[Model]], type[Model]]:
    """A decorator that gives a config each field of `model` too, None by default, which overrides a value of it.

    They are not part of the identity: the resolved value is. So a field of Sampling is a field of [evaluate] by itself.
    """
    fields: dict[str, Any] = {
        name: (
            Annotated[Optional[field.annotation], *field.metadata, NOT_IDENTITY],  # noqa: UP045  (known at run time only)
            Field(None, description=f"{meaning(model, name)} Overrides the protocol; none keeps its value."),
        )
        for name, field in model.model_fields.items()
    }

    def add(cls: type[Model]) -> type[Model]:
        return create_model(cls.__name__, __base__=cls, __module__=cls.__module__, __doc__=cls.__doc__, **fields)

    return add


def named_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Fields by their names in a config."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def item_marks(annotation: Any) -> tuple[Any, ...]:
    """Annotated metadata of the item type of a tuple."""
    return tuple(mark for item in get_args(annotation) for mark in getattr(item, "__metadata__", ()))


@cache
def marks(model: type[BaseModel]) -> dict[str, tuple[Any, ...]]:
    """Attribute -> annotated metadata of the field, and of its items if it is a tuple."""
    return {key: (*field.metadata, *item_marks(field.annotation)) for key, field in model.model_fields.items()}


@cache
def _deciding(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(key for key, found in marks(model).items() if not any(isinstance(m, NotIdentity) for m in found))


@cache
def _conditions(model: type[BaseModel]) -> tuple[tuple[str, UsedIf], ...]:
    return tuple((key, mark) for key, found in marks(model).items() for mark in found if isinstance(mark, UsedIf))


def unknown_field(name: str, known: tuple[str, ...]) -> PydanticCustomError:
    """The error for an unknown field, with its current name or near matches."""
    remedy = f"it is called {RENAMED[name]!r} now" if RENAMED.get(name) in known else near(name, known)
    # Passed as a field, because braces in the message itself would be formatted.
    return PydanticCustomError("unknown_field", "unknown field; {remedy}", {"field": name, "remedy": remedy})


def merge(below: Table, above: Table) -> dict[str, Any]:
    """Merge `above` into `below`: tables are merged field by field, other values are replaced.

    If `below` has a string where `above` has a table, the string counts as a table with that name. A table in `above`
    that names a different plug-in replaces the one in `below`.
    """
    found = dict(below)
    for key, value in above.items():
        if not isinstance(value, Mapping):
            found[key] = value
            continue
        under = found.get(key)
        if isinstance(under, str):
            under = {"name": under}
        if not isinstance(under, Mapping) or value.get("name", under.get("name")) != under.get("name"):
            under = {}
        found[key] = merge(under, value)
    return found


@lru_cache(1024)
def _table_fields(model: type[BaseModel]) -> tuple[dict[str, FieldInfo], frozenset[str]]:
    """Fields by their names in a config, and the names of those that take a list. Manifests are read by thousands."""
    fields = named_fields(model)
    return fields, frozenset(name for name, field in fields.items() if _is_list(field))


def _is_list(field: FieldInfo) -> bool:
    """Whether a field takes a list of any length, and nothing else but None."""
    kinds = [field.annotation] if get_origin(field.annotation) is tuple else get_args(field.annotation)
    return bool(kinds) and all(
        kind is NoneType or (get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis) for kind in kinds
    )


def _default_name(field: FieldInfo) -> str | None:
    """Name of a field's default plug-in; None if the field is not a plug-in or has no default."""
    if not any(hasattr(kind, "plugin_kind") for kind in (field.annotation, *get_args(field.annotation))):
        return None
    default = field.default
    name = default.get("name") if isinstance(default, dict) else getattr(default, "name", default)
    return name if isinstance(name, str) else None


def _identity(value: Any, dumped: Any) -> Any:
    if isinstance(value, Frozen):
        return value.identity()
    if isinstance(value, tuple | list):
        return [_identity(*pair) for pair in zip(value, dumped, strict=True)]
    if isinstance(value, dict):
        return {str(key): _identity(value[key], dumped[str(key)]) for key in value}
    return dumped
