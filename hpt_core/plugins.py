"""Plug-ins by folder: one variant, one file, and the file's name is the name a config uses.

A variant module defines `Config`, a frozen pydantic model with `name: Literal["<file name>"]`. Modules and
folders whose name starts with an underscore, and `base`, are not variants; nor are those that the package itself
lists in `NOT_VARIANTS` (a frozenset of names), such as the pool that all verifiers share.
"""

import difflib
import importlib
import pkgutil
from functools import cache, reduce
from operator import or_
from types import ModuleType
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from hpt_core.errors import ConfigError


@cache
def names(package: str) -> tuple[str, ...]:
    """Names of the variants in `package` (a dotted path), sorted, without importing them."""
    folder = importlib.import_module(package)
    shared: frozenset[str] = getattr(folder, "NOT_VARIANTS", frozenset()) | {"base"}
    found = pkgutil.iter_modules(folder.__path__)
    return tuple(sorted(m.name for m in found if not m.name.startswith("_") and m.name not in shared))


def near(name: str, known: tuple[str, ...]) -> str:
    """A remedy for an unknown name: the near matches first, then all that is known."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    return f"{hint}known: {', '.join(known)}"


def load(package: str, name: str) -> ModuleType:
    """The module of variant `name`; an unknown name raises ConfigError with near matches."""
    if name not in names(package):
        kind = package.rsplit(".", 1)[-1].replace("_", " ")
        raise ConfigError(f"unknown name {name!r} in {kind}", near(name, names(package)))
    return importlib.import_module(f"{package}.{name}")


def config_union(package: str) -> Any:
    """The type of a config field that takes any variant of `package`.

    A bare string stands for a variant with its defaults: `algorithm = "grpo"` equals
    `algorithm = { name = "grpo" }`. An unknown name fails with near matches.
    """
    configs = [load(package, name).Config for name in names(package)]

    def expand(value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, dict):
            if "name" not in value:
                raise ValueError(f"a name is missing; known: {', '.join(names(package))}")
            if value["name"] not in names(package):
                raise ValueError(f"unknown name {value['name']!r}; {near(str(value['name']), names(package))}")
        return value

    # The schema, by which Prefect checks parameters, must offer the bare name too.
    validator = BeforeValidator(expand, json_schema_input_type=reduce(or_, configs, str))
    if len(configs) == 1:
        return Annotated[configs[0], validator]
    return Annotated[reduce(or_, configs), Field(discriminator="name"), validator]
