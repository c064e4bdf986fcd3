"""The meaning of config fields, read from the source on demand: pydantic would read it for each class at import, which
takes a quarter of a second in every `hpt` command."""

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


def meaning(model: type[BaseModel], attribute: str) -> str:
    """A field's description, or the docstring under it, of the model or its nearest base that has one; else ""."""
    for base in model.__mro__:
        if issubclass(base, BaseModel) and attribute in base.model_fields:
            below = _in_module(base.__module__).get(base.__qualname__, {})
            if text := base.model_fields[attribute].description or below.get(attribute):
                return text
    return ""


@cache
def _in_module(name: str) -> dict[str, dict[str, str]]:
    """Qualified name of a class -> attribute -> docstring. Empty if the module has no source."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except (KeyError, OSError, TypeError):
        return {}
    return {path: dict(_attributes(node)) for path, node in _classes(tree, "")}


def _classes(node: ast.AST, path: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield path + child.name, child
            yield from _classes(child, f"{path}{child.name}.")
        elif isinstance(child, ast.FunctionDef):
            yield from _classes(child, f"{path}{child.name}.<locals>.")
        else:
            yield from _classes(child, path)


def _attributes(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(node.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
