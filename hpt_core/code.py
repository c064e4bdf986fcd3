"""Hashes of plug-in code for fingerprints: after an edit of a plug-in, its artifacts are produced again.

Our own core has versions, which we raise. Authors of plug-ins have no version to maintain. Instead, a fingerprint
contains a hash of each module that defines a plug-in, and of the modules it imports from its own package. Comments and
docstrings do not count.
"""

import ast
import contextlib
import hashlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from hpt_core.artifacts.known import remembered
from hpt_core.base import Frozen
from hpt_core.files import sha256_file
from hpt_core.plugins import KINDS, Plugin, modules

OURS = ("hpt_core", "benchmarks", "tasks", "flows")
"""Packages with their own versions. Only their plug-ins are hashed."""
VERSIONED = ("tasks", "flows")
"""Packages in OURS whose plug-ins also have versions. They are not hashed, because an edit of one kind of stage would
recompute the artifacts of the others."""
FOUNDATIONS = ("builtins", "abc", "typing", "pydantic")
"""Modules with general base classes, which are not hashed."""
INSTALLED = ("site-packages", "dist-packages")
"""Folders that contain unrelated modules next to each other."""


def code_of(*values: Any) -> dict[str, str]:
    """Module -> SHA-256 of its code, for every plug-in in `values` (configs, plug-ins, and containers of them)."""
    found: dict[str, str] = {}
    for module in dict.fromkeys(_plugin_modules(values)):
        found |= _hashes(module)
    return dict(sorted(found.items()))


def code_of_class(cls: type) -> dict[str, str]:
    """Module -> SHA-256 of its code, for a class and its bases that are not ours; empty if all are ours."""
    found: dict[str, str] = {}
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] not in (*OURS, *FOUNDATIONS):
            found |= _hashes(base.__module__)
    return found


def code_of_packages(*names: str) -> str:
    """SHA-256 over all files of packages and modules: the version of our own code that is cheap to run again."""
    digest = hashlib.sha256()
    for name in names:
        path = source_file(name)
        assert path is not None, name
        files = sorted(path.parent.rglob("*")) if path.name == "__init__.py" else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                status = file.stat()
                code = _code(name, file, status.st_mtime_ns, status.st_size)
                digest.update(file.relative_to(path.parent).as_posix().encode() + b"\0" + code.sha256.encode())
    return digest.hexdigest()


def source_file(module: str) -> Path | None:
    """The file of a module, found without importing anything; None if it has no file."""
    spec = _find(module)
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _find(module: str) -> ModuleSpec | None:
    """The module's spec, or None. Unlike `importlib.util.find_spec`, this does not import the parent packages."""
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
    """The folder that contains a module, or the module's top-level package."""
    spec = _find(module.partition(".")[0])
    place = next(iter(spec.submodule_search_locations or ()), spec.origin) if spec is not None else None
    return Path(place).parent if place else None


class _Code(NamedTuple):
    """Hash and imports of a module's file."""

    sha256: str
    imports: tuple[str, ...]
    """Absolute names of possible imports; some are attributes, not modules."""


_KNOWN: dict[tuple[str, ...], tuple[dict[Path, int], dict[str, str]]] = {}
"""Module and import path -> the times of the files and folders that its hashes depend on, and the hashes. A plan asks
for the same modules thousands of times, and finding files is slow."""


def _hashes(module: str) -> dict[str, str]:
    """Module -> SHA-256, for a module and everything it imports from its own package, directly or indirectly."""
    times, hashes = _KNOWN.get((module, *sys.path), ({}, {}))
    if not hashes or times != _times(times):
        hashes = _read(module)
        files = [path for name in hashes if (path := source_file(name))]
        # A new file in one of the folders may be what an import means from now on.
        _KNOWN[module, *sys.path] = _times([*files, *(path.parent for path in files)]), hashes
    return hashes


def _times(paths: Iterable[Path]) -> dict[Path, int]:
    found = {}
    for path in paths:
        with contextlib.suppress(OSError):
            found[path] = path.stat().st_mtime_ns
    return found


def _read(module: str) -> dict[str, str]:
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
    """The folder of a plug-in module outside any package: its neighbors belong to the plug-in. Otherwise None."""
    path = source_file(module)
    if path is None or "." in module or path.name == "__init__.py" or path.parent.name in INSTALLED:
        return None
    return path.parent


def _belongs(other: str, module: str, beside: Path | None) -> bool:
    """Whether a module that a plug-in imports belongs to the plug-in."""
    top, mine = other.partition(".")[0], module.partition(".")[0]
    if mine in OURS:
        package, _, name = other.rpartition(".")
        return package == module.rpartition(".")[0] and name != "base"
    return top == mine or (beside is not None and top not in OURS and _home(top) == beside)


@lru_cache(maxsize=1024)
def _code(module: str, path: Path, modified: int, size: int) -> _Code:
    if path.suffix != ".py":
        return _Code(sha256_file(path), ())
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    source = path.read_bytes()

    def parsed() -> tuple[str, list[str]]:
        tree = _Bare().visit(ast.parse(source))
        return hashlib.sha256(canonical(tree).encode()).hexdigest(), list(_imports(tree, package))

    facts = [hashlib.sha256(source).hexdigest(), package, _own_hash()]
    sha256, imports = remembered("code", facts, parsed)
    return _Code(sha256, tuple(imports))


@lru_cache(maxsize=1)
def _own_hash() -> str:
    """What counts is decided here, so what is remembered depends on this file."""
    return sha256_file(Path(__file__))


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


def canonical(node: Any) -> str:
    """A syntax tree as text, equal in all versions of Python that have its syntax.

    `ast.unparse` quotes f-strings in another way since Python 3.12, `ast.dump` leaves out other fields since 3.13, and
    some releases of 3.12 put an empty text after a field in a format.
    """
    if isinstance(node, ast.JoinedStr):
        node = ast.JoinedStr([v for v in node.values if not (isinstance(v, ast.Constant) and v.value == "")])
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if name != "kind")
        told = ",".join(f"{name}={canonical(value)}" for name, value in fields if value not in (None, []))
        return f"{type(node).__name__}({told})"
    return f"[{','.join(map(canonical, node))}]" if isinstance(node, list) else repr(node)


class _Bare(ast.NodeTransformer):
    """Removes string expressions: docstrings, including those of fields."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        lone = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if lone else node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        found = super().generic_visit(node)
        if getattr(found, "body", None) == [] and not isinstance(found, ast.Module):
            found.body = [ast.Pass()]  # type: ignore[attr-defined]
        return found


def _plugin_modules(value: Any) -> Iterator[str]:
    """Modules of the plug-ins in `value` and of their plug-in base classes."""
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
    """Whether a module counts as plug-in code: our plug-ins without versions, and all modules that are not ours."""
    package, _, name = module.rpartition(".")
    top = module.partition(".")[0]
    if top not in OURS:
        return True
    ours = any(package == kind.package and name in modules(kind.package) for kind in KINDS.values())
    return ours and top not in VERSIONED
