"""The code of plug-ins as part of what identifies an output: edit a plug-in, and what was made with it is made again.

Our own core has versions, which we raise; a plug-in's author has none to remember. So a fingerprint holds a hash of
each module that defines a plug-in, and of the modules that it imports from its own package: of what they say, without
comments and docstrings.
"""

import ast
import hashlib
import importlib.util
import pkgutil
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from hpt_core.base import Frozen
from hpt_core.files import sha256_file
from hpt_core.plugins import KINDS, Plugin, modules

OURS = ("hpt_core", "benchmarks", "tasks", "flows")
"""Packages with versions of their own: of these only plug-ins are hashed."""
VERSIONED = ("tasks", "flows")
"""Those of them whose plug-ins have versions too: an edit of one kind of stage makes no other's outputs again."""
FOUNDATIONS = ("builtins", "abc", "typing", "pydantic")
"""Modules that classes of anybody derive from."""
INSTALLED = ("site-packages", "dist-packages")
"""Folders where modules lie beside each other that have nothing to do with each other."""


def code_of(*values: Any) -> dict[str, str]:
    """Module -> SHA-256 of its code, for every plug-in in `values` (configs, plug-ins, and what holds such)."""
    found: dict[str, str] = {}
    for module in dict.fromkeys(_plugin_modules(values)):
        found |= _hashes(module)
    return dict(sorted(found.items()))


def code_of_class(cls: type) -> dict[str, str]:
    """Module -> SHA-256 of its code, for a class of somebody else's and those that it derives from; empty for ours."""
    found: dict[str, str] = {}
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] not in (*OURS, *FOUNDATIONS):
            found |= _hashes(base.__module__)
    return found


def source_file(module: str) -> Path | None:
    """The file of a module, found without importing anything; None where it has none."""
    spec = _find(module)
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _find(module: str) -> ModuleSpec | None:
    """How a module would be imported; None where there is none. `importlib.util.find_spec` would import its parents."""
    name, *below = module.split(".")
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # an empty name, or `__main__`
        return None
    for part in below:
        name = f"{name}.{part}"
        folders = (spec.submodule_search_locations if spec is not None else None) or ()
        finders = filter(None, map(pkgutil.get_importer, folders))
        spec = next((found for finder in finders if (found := finder.find_spec(name))), None)
    return spec


def _home(module: str) -> Path | None:
    """The folder that holds a module, or the outermost package that it lies in."""
    spec = _find(module.partition(".")[0])
    place = next(iter(spec.submodule_search_locations or ()), spec.origin) if spec is not None else None
    return Path(place).parent if place else None


class _Code(NamedTuple):
    """What is known of a module's file."""

    sha256: str
    imports: tuple[str, ...]
    """What it may import, as absolute names: modules, and what only looks like one."""


def _hashes(module: str) -> dict[str, str]:
    """Of a module, and of those that it imports from its own package, the ones these import among them."""
    found: dict[str, str] = {}
    beside, waiting = _beside(module), [module]
    while waiting:
        name = waiting.pop()
        path = source_file(name)
        if path is None or name in found:
            continue
        status = path.stat()
        code = _code(name, path, status.st_mtime_ns, status.st_size)
        found[name] = code.sha256
        waiting += [other for other in code.imports if _belongs(other, module, beside)]
    return found


def _beside(module: str) -> Path | None:
    """The folder of a module that lies in no package: what lies beside it is the plug-in's own."""
    path = source_file(module)
    if path is None or "." in module or path.name == "__init__.py" or path.parent.name in INSTALLED:
        return None
    return path.parent


def _belongs(other: str, module: str, beside: Path | None) -> bool:
    """Whether a module that a plug-in imports is the plug-in's own."""
    top, mine = other.partition(".")[0], module.partition(".")[0]
    if mine in OURS:
        package, _, name = other.rpartition(".")
        return package == module.rpartition(".")[0] and name != "base"
    return top == mine or (beside is not None and top not in OURS and _home(top) == beside)


@lru_cache(maxsize=1024)
def _code(module: str, path: Path, modified: int, size: int) -> _Code:
    if path.suffix != ".py":
        return _Code(sha256_file(path), ())
    tree = _Bare().visit(ast.parse(path.read_bytes()))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return _Code(hashlib.sha256(ast.unparse(tree).encode()).hexdigest(), tuple(_imports(tree, package)))


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                source = ".".join([*above, *filter(None, [source])])
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


class _Bare(ast.NodeTransformer):
    """Takes out strings that stand alone: docstrings, those of fields too."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        lone = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if lone else node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        found = super().generic_visit(node)
        if getattr(found, "body", None) == [] and not isinstance(found, ast.Module):
            found.body = [ast.Pass()]  # type: ignore[attr-defined]
        return found


def _plugin_modules(value: Any) -> Iterator[str]:
    """Modules of the plug-ins in `value`, and of the plug-ins that these derive from."""
    if isinstance(value, Plugin):
        yield value.module
    if isinstance(value, Plugin | BaseModel):
        classes = (cls for cls in type(value).__mro__ if issubclass(cls, Plugin | Frozen))
        yield from (cls.__module__ for cls in classes if _is_plugins(cls.__module__))
    if isinstance(value, BaseModel):
        value = [field for _, field in (value.deciding() if isinstance(value, Frozen) else value)]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _plugin_modules(item)


def _is_plugins(module: str) -> bool:
    """Whether a module is a plug-in's: one of ours, or anything that is somebody else's."""
    package, _, name = module.rpartition(".")
    top = module.partition(".")[0]
    if top not in OURS:
        return True
    ours = any(package == kind.package and name in modules(kind.package) for kind in KINDS.values())
    return ours and top not in VERSIONED
