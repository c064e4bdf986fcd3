"""Plug-ins: everything a config can name. Each kind of plug-in has a base class:

    class Gate(PluginConfig, kind="gates", package="hpt_core.gates"): ...

A config names a plug-in in one of three ways:

    "switch"                  a file in the kind's folder, which defines one plug-in
    "curriculum"              an entry point of an installed package, in the group "hpt_pipelines.gates"
    "my_gates:Curriculum"     the import path of a subclass

A table with `name` and the plug-in's fields is also accepted, and in Python an instance. A field whose type is a base
class accepts all of these.
"""

import importlib
import importlib.metadata
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, model_serializer, model_validator
from pydantic_core import PydanticCustomError, core_schema

from hpt_core.base import Frozen
from hpt_core.errors import ConfigError, explain, near, near_matches
from hpt_core.paths import expand_named, expands_paths

__all__ = ["KINDS", "Kind", "Plugin", "PluginConfig", "add_folder", "modules", "near", "summary"]

GROUP = "hpt_pipelines"
"""The entry points of a kind are in the group GROUP.KIND."""
FOLDERS = "HPT_PLUGINS"
"""Environment variable with folders, separated as in PATH, from which plug-in modules can be imported."""


class Kind(NamedTuple):
    """A kind of plug-in."""

    name: str
    """Plural name, as in `hpt list`."""
    package: str
    """Package whose modules each define one plug-in: a subclass of the base, or an instance of it. Packages, `base`,
    modules that begin with an underscore and modules listed in the package's `NOT_PLUGINS` are ignored."""
    base: type["Plugin"]

    @property
    def names(self) -> tuple[str, ...]:
        """All known names, sorted. Does not import any plug-in."""
        return tuple(sorted({*modules(self.package), *_entry_points(self.name)}))

    def load(self, reference: str) -> Any:
        """The plug-in that `reference` names: a subclass of the base, or an instance. Raises ConfigError."""
        found = _load(self, reference)
        configs = issubclass(self.base, PluginConfig)
        is_class = configs and inspect.isclass(found) and issubclass(found, self.base) and found is not self.base
        if not is_class and not isinstance(found, self.base):
            what = "a subclass" if configs else "an instance"
            raise ConfigError(f"{reference!r} is not one of {self.name}", f"name {what} of {_path(self.base)}")
        if not is_class:
            _REFERENCES.setdefault(id(found), (_shortest(self, reference), found))
        elif reference in _entry_points(self.name):
            _ENTRIES[found] = reference
        return found


KINDS: dict[str, Kind] = {}
"""Kinds by name. A kind is registered when its base class is imported."""
_REFERENCES: dict[int, tuple[str, Any]] = {}
"""id() of a plug-in instance -> (its reference, the instance)."""
_ENTRIES: dict[type, str] = {}
"""Class that was loaded through an entry point -> the entry point's name."""


def is_kind(cls: type) -> bool:
    """Whether `cls` is the base class of a kind, not a plug-in."""
    kind = getattr(cls, "plugin_kind", None)
    return kind is not None and kind.base is cls


class Plugin:
    """Base of all kinds' base classes."""

    plugin_kind: ClassVar[Kind]

    def __init_subclass__(cls, kind: str = "", package: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        if kind:
            cls.plugin_kind = KINDS[kind] = Kind(kind, package, cls)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        if not is_kind(cls):
            return handler(source)
        serialization = core_schema.plain_serializer_function_ser_schema(
            _serialize, info_arg=True, return_schema=core_schema.any_schema()
        )
        if hasattr(cls, "model_validate") and not issubclass(cls, PluginConfig):
            # Plug-ins of this kind are instances of the base itself, so validation must be able to create one.
            return core_schema.no_info_wrap_validator_function(
                lambda value, make: cls.from_value(value) if isinstance(value, str) else make(value),
                handler(source),
                serialization=serialization,
            )
        return core_schema.no_info_plain_validator_function(cls.from_value, serialization=serialization)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        if not is_kind(cls):
            return handler(schema)
        table = {"type": "object", "properties": {"name": {"type": "string"}}, "additionalProperties": True}
        known = list(cls.plugin_kind.names)
        return {"title": cls.__name__, "anyOf": [{"type": "string", "examples": known}, table]}

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """The plug-in for a config value: a reference, a table with a name, or an instance.

        Raises ValueError, including pydantic's ValidationError.
        """
        kind = cls.plugin_kind
        if isinstance(value, cls):
            return value
        fields = dict(value) if isinstance(value, Mapping) else {"name": value}
        # `--set x=none` is parsed as null. If the kind has a plug-in named "none", that one is meant.
        reference = fields.pop("name", "") or ("none" if "none" in kind.names else "")
        if not isinstance(reference, str) or not reference:
            problem = "a name is missing" if isinstance(value, Mapping) else f"{value!r} is not a name"
            raise ValueError(f"{problem}; {near(str(reference), kind.names)}")
        try:
            found = kind.load(reference)
        except ConfigError as error:
            raise _invalid(error) from error
        if inspect.isclass(found):
            return found.model_validate(fields)  # type: ignore[attr-defined, no-any-return]
        if fields:
            raise ValueError(f"{reference!r} has no field {next(iter(fields))!r}; give only its name")
        return found  # type: ignore[no-any-return]

    @property
    def reference(self) -> str:
        """The plug-in's name in a config. Raises ConfigError if other processes cannot import it."""
        if id(self) not in _REFERENCES:
            _REFERENCES[id(self)] = (_find_reference(self), self)
        return _REFERENCES[id(self)][0]

    @property
    def module(self) -> str:
        """The module that defines the plug-in."""
        path = self.reference
        if paths := _entry_points(self.plugin_kind.name).get(path):
            path = paths[0]
        return path.partition(":")[0] if ":" in path else f"{self.plugin_kind.package}.{path}"


class PluginConfig(Plugin, Frozen):
    """A plug-in with fields. Its name is not a field; the registry provides it."""

    _paths = expands_paths

    @property
    def reference(self) -> str:
        """The plug-in's name in a config. Raises ConfigError if other processes cannot import the class."""
        return reference_of(type(self))

    @property
    def name(self) -> str:
        """The reference: the name of a file or an entry point, or an import path."""
        return self.reference

    @property
    def module(self) -> str:
        """The module that defines the plug-in."""
        return type(self).__module__

    @model_validator(mode="before")
    @classmethod
    def _without_name(cls, data: Any) -> Any:
        """Accept a table with this plug-in's name. The name of another plug-in is an error."""
        if not isinstance(data, dict) or "name" not in data:
            return data
        try:
            found = cls.plugin_kind.load(str(data["name"]))
        except ConfigError as error:
            raise _invalid(error) from error
        if found is not cls:
            raise ValueError(f"the name of {_path(cls)} is {reference_of(cls)!r}, not {data['name']!r}")
        return {key: value for key, value in data.items() if key != "name"}

    @model_serializer(mode="wrap")
    def _with_name(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {"name": self.name, **handler(self)}

    def identity(self) -> dict[str, Any]:
        """The name and every field that affects an artifact."""
        return {"name": self.name, **super().identity()}


def reference_of(cls: type) -> str:
    """The shortest reference of a plug-in's class. Raises ConfigError if other processes cannot import it."""
    if cls in _ENTRIES:
        return _ENTRIES[cls]
    path = _path(cls)
    if "<locals>" in path or cls.__module__ == "__main__":
        raise ConfigError(
            f"{path} cannot be imported by worker processes",
            "move the class to the top level of its own module",
        )
    return _shortest(cls.plugin_kind, path)  # type: ignore[attr-defined]


def add_folder(folder: Path) -> None:
    """Make the modules in `folder` available by import path, in this process and in processes started later."""
    os.environ[FOLDERS] = os.pathsep.join(dict.fromkeys([*_folders(), str(folder.absolute())]))
    use_folders()


def use_folders() -> None:
    """Append the folders in HPT_PLUGINS to the module search path. Raises ConfigError for a variable without value."""
    for folder in _folders():
        if folder not in sys.path:
            sys.path.append(folder)


def _folders() -> list[str]:
    """The folders in HPT_PLUGINS. Raises ConfigError for a variable that is not set."""
    named = filter(None, os.environ.get(FOLDERS, "").split(os.pathsep))
    # A folder that exists is taken as it is: add_folder adds the config's, whose name may contain a $.
    return [folder if Path(folder).is_dir() else expand_named(folder, FOLDERS) for folder in named]


def summary(plugin: Any) -> str:
    """The first sentence of a plug-in's docstring: its module's or, outside our packages, first that of its class.

    An instance has the docstring of its class only if both are in one module.
    """
    cls, module = (plugin, plugin.__module__) if inspect.isclass(plugin) else (type(plugin), plugin.module)
    is_ours = module.startswith(f"{plugin.plugin_kind.package}.")
    of_class = "" if is_ours or cls.__module__ != module else vars(cls).get("__doc__")
    text = inspect.cleandoc(of_class or sys.modules[module].__doc__ or "")
    # A period ends a sentence only after a word, so not in "Dr. GRPO".
    return re.split(r"(?<=[a-z0-9)]{3}\.) ", text.split("\n\n")[0].replace("\n", " "))[0].removesuffix(".")


def _load(kind: Kind, reference: str) -> Any:
    if ":" in reference:
        return _from_path(reference)
    paths = _entry_points(kind.name).get(reference, ())
    is_ours = reference in modules(kind.package)
    if is_ours + len(paths) > 1:
        named = " and ".join([*(["a built-in plug-in"] if is_ours else []), *paths])
        raise ConfigError(
            f"{reference!r} is ambiguous in {kind.name}: it names {named}", f"use an import path, such as {paths[0]!r}"
        )
    if is_ours:
        return _only_plugin(importlib.import_module(f"{kind.package}.{reference}"), kind.base)
    if paths:
        return _from_path(paths[0])
    raise ConfigError(f"unknown name {reference!r} in {kind.name}", near(reference, kind.names))


def _only_plugin(module: ModuleType, base: type) -> Any:
    """The plug-in in one of our modules: an instance of the base, or the subclass that the module defines."""
    values = list(vars(module).values())
    instances = [value for value in values if isinstance(value, base)]
    classes = [v for v in values if inspect.isclass(v) and issubclass(v, base) and v.__module__ == module.__name__]
    found = instances or classes
    if len(found) != 1:
        raise TypeError(f"{module.__name__} has {len(found)} plug-ins instead of one {base.__name__}")
    return found[0]


def _from_path(path: str) -> Any:
    module_name, _, attribute = path.partition(":")
    use_folders()
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing another author's module may raise anything
        missing = "".join(f"; {folder} in it is not a folder" for folder in _folders() if not Path(folder).is_dir())
        raise ConfigError(
            f"{path!r} cannot be imported: {explain(error)}",
            f"{_near_modules(module_name, error)}check the path, and that the module is in the config's folder or in "
            f"a folder listed in {FOLDERS}{missing}",
        ) from error
    try:
        return _attribute(module, attribute)
    except AttributeError as error:
        known = tuple(name for name in vars(module) if not name.startswith("_"))
        raise ConfigError(f"{path!r}: {module_name} has no {attribute!r}", near(attribute, known)) from error


def _near_modules(path: str, error: Exception) -> str:
    """Near matches among the modules in the plug-in folders, for a module that was not found."""
    first = path.partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or error.name != first:
        return ""
    return near_matches(first, tuple(module.name for module in pkgutil.iter_modules(_folders())))


def _attribute(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _find_reference(plugin: Plugin) -> str:
    """The name in a config of an instance that is an attribute of some module."""
    kind = plugin.plugin_kind
    # Our modules first, because others may have imported the instance from there.
    for name in [*(f"{kind.package}.{module}" for module in modules(kind.package)), *sys.modules]:
        for attribute, value in list(getattr(sys.modules.get(name), "__dict__", {}).items()):
            if value is plugin and name != "__main__":
                return _shortest(kind, f"{name}:{attribute}")
    raise ConfigError(
        f"{plugin!r:.100} cannot be imported by other processes", "assign it to a name at the top level of a module"
    )


def _shortest(kind: Kind, reference: str) -> str:
    """Shorten an import path to the name of our module or of an entry point, if there is one."""
    ours, entries = modules(kind.package), _entry_points(kind.name)
    package, _, name = reference.partition(":")[0].rpartition(".")
    if package == kind.package and name in ours and name not in entries:
        return name
    return next((name for name, paths in entries.items() if paths == (reference,) and name not in ours), reference)


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _invalid(error: ConfigError) -> PydanticCustomError:
    """Convert to a pydantic error, which also reports the location."""
    return PydanticCustomError("plugin", "{message}", {"message": f"{error.cause}; {error.remedy}"})


@cache
def modules(package: str) -> tuple[str, ...]:
    """Names of the plug-ins in `package`, without importing them."""
    folder = importlib.import_module(package)
    others: Iterable[str] = getattr(folder, "NOT_PLUGINS", ())
    found = (m.name for m in pkgutil.iter_modules(folder.__path__) if not m.ispkg and not m.name.startswith("_"))
    return tuple(sorted(set(found) - {"base", *others}))


@cache
def _entry_points(kind: str) -> dict[str, tuple[str, ...]]:
    """Name -> the import paths that installed packages give it. A name with several paths is ambiguous."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in importlib.metadata.entry_points(group=f"{GROUP}.{kind}"):
        found[entry.name] = tuple(dict.fromkeys((*found.get(entry.name, ()), entry.value)))
    return found


def _serialize(value: Any, info: core_schema.SerializationInfo) -> Any:
    if isinstance(value, PluginConfig):
        return value.model_dump(mode=info.mode, by_alias=bool(info.by_alias), exclude_none=info.exclude_none)
    return value.reference
