"""Expand variants, common tables and globs in a pipeline's table; sweeps.py expands grids and seeds.

`[[train.NAME.variants]]` adds variants of a stage, `[train."*"]` holds fields common to all stages of a kind, and lists
of models may contain globs ("train.hpt*"). All are resolved in the raw table before validation, so that later code sees
only plain stages. Variant `gamma_1_8` of `[train.hpt]` becomes the stage `train.hpt_gamma_1_8`.
"""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from hpt_core.base import Table, as_list, check_name, item_marks, merge, named_fields
from hpt_core.errors import near
from tasks.execution.keys import MODEL, Reference
from tasks.execution.kind import NamedStages, StageKind
from tasks.execution.sweeps import FIELDS, Sweeps, ending

WILD = re.compile(r"[*?\[]")
COMMON = "*"
"""Name of the table that every stage of a kind is merged over."""
OF_VARIANTS = frozenset({"variants", "variants_only"})
OF_SWEEPS = OF_VARIANTS | FIELDS
"""Fields of a stage's table that describe a sweep, not the stage itself."""


def expand(table: Table, kinds: Iterable[StageKind]) -> dict[str, Any]:
    """The pipeline's table with variants expanded to stages and globs to the models that they match.

    Raises ValueError: "FIELD: CAUSE; REMEDY". Values of the wrong type are left for validation to report.
    """
    expanded, kinds = dict(table), list(kinds)
    named = [kind for kind in kinds if isinstance(kind, NamedStages) and isinstance(table.get(kind.name), dict)]
    for name in (kind.name for kind in named):
        expanded[name] = _stages(name, table[name])
    sweeps = Sweeps(expanded, kinds)
    for name in (kind.name for kind in named):
        expanded[name] = sweeps.expand(name, expanded[name])
    models = [kind.name for kind in kinds if MODEL in kind.produces]
    known = tuple(
        f"{kind}.{name}" for kind in models if isinstance(expanded.get(kind), dict) for name in expanded[kind]
    )
    for kind in kinds:
        stages = expanded.get(kind.name)
        if isinstance(kind, NamedStages) and isinstance(stages, dict):
            expanded[kind.name] = {name: _matched(kind, name, own, known, sweeps) for name, own in stages.items()}
        elif isinstance(stages, dict):
            expanded[kind.name] = _matched(kind, "", stages, known, sweeps)
    return expanded


def variant_keys(stages: Table) -> dict[str, tuple[str, int]]:
    """Name of each variant's stage -> (name of the stage it varies, index in the list). The table may be invalid."""
    found: dict[str, tuple[str, int]] = {}
    for name, stage in stages.items():
        variants = as_list(stage.get("variants")) if isinstance(stage, dict) else None
        for i, variant in enumerate(variants if isinstance(variants, list | tuple) else ()):
            if isinstance(variant, dict):
                found[f"{name}_{variant.get('name')}"] = (name, i)
    return found


def _stages(kind: str, table: Table) -> dict[str, Any]:
    found: dict[str, Any] = {}
    common = table.get(COMMON, {})
    if not isinstance(common, dict):
        raise ValueError(f'{kind}."{COMMON}" = {common!r} is not a table; start it with [{kind}."{COMMON}"]')
    for name, stage in table.items():
        if name == COMMON:
            continue
        if isinstance(stage, dict):
            stage = merge(common, stage)
        where = f"{kind}.{name}"
        variants = as_list(stage.get("variants", ())) if isinstance(stage, dict) else ()
        only = stage.get("variants_only", False) if isinstance(stage, dict) else False
        if not isinstance(only, bool):
            raise ValueError(f"{where}.variants_only = {only!r} is not a boolean; write true or false")
        if only and not variants:
            raise ValueError(f"{where}.variants_only leaves no stage; add [[{where}.variants]]")
        if not variants and not (isinstance(stage, dict) and OF_VARIANTS & set(stage)):
            found[name] = stage
            continue
        base = {key: value for key, value in stage.items() if key not in OF_VARIANTS}
        if not only:
            _add(found, kind, name, base, f"{where}: ")
        for own in _checked(f"{where}.variants", variants):
            fields = {key: value for key, value in own.items() if key != "name"}
            key = f"{name}_{own['name']}"
            if key in table:
                raise _twice(kind, key, f"{where}.variants: ")
            _add(found, kind, key, merge(ending(base, f"_{own['name']}"), fields), f"{where}.variants: ")
    return found


def _add(found: dict[str, Any], kind: str, key: str, stage: dict[str, Any], where: str) -> None:
    if key in found:
        raise _twice(kind, key, where)
    found[key] = stage


def _twice(kind: str, key: str, where: str) -> ValueError:
    return ValueError(f"{where}the stage {kind}.{key} already exists; rename the variant or that stage")


def _checked(where: str, variants: Any) -> list[dict[str, Any]]:
    if not isinstance(variants, list | tuple) or not all(isinstance(own, dict) for own in variants):
        raise ValueError(f"{where} is not a list of tables; start each table with [[{where}]]")
    for i, own in enumerate(variants):
        if "name" not in own:
            raise ValueError(f'{where}.{i}: the name is missing; add name = "..."')
        try:
            check_name(own["name"])
        except ValueError as error:
            raise ValueError(f"{where}.{i}.name = {error}") from error
        if own["name"] in [earlier.get("name") for earlier in variants[:i]]:
            raise ValueError(f"{where}: {own['name']!r} is used twice; rename one")
        if inside := OF_VARIANTS & set(own):
            raise ValueError(f"{where}.{i}: a variant cannot have {min(inside)}; list every variant in {where}")
    return list(variants)


def _matched(kind: StageKind, name: str, table: Any, known: tuple[str, ...], sweeps: Sweeps) -> Any:
    """A stage's table with the globs and sweeps in its lists of models expanded."""
    if not isinstance(table, dict) or kind.config is None:
        return table
    found = dict(table)
    for field, info in named_fields(kind.config).items():
        values = as_list(table.get(field))
        if isinstance(values, list | tuple) and any(isinstance(m, Reference) for m in item_marks(info.annotation)):
            members = [m for value in values for m in (sweeps.members(value) if isinstance(value, str) else (value,))]
            found[field] = _models(".".join(filter(None, [kind.name, name, field])), members, known)
    return found


def _models(where: str, models: Sequence[Any], known: tuple[str, ...]) -> list[Any]:
    """Expand globs, in the config's order, without models that are listed by name or matched by an earlier glob."""
    found: list[Any] = []
    for entry in models:
        # A name that is no valid one may look like a glob.
        if not isinstance(entry, str) or not WILD.search(entry) or entry in known:
            found.append(entry)
            continue
        matched = [name for name in known if fnmatchcase(name, entry)]
        if not matched:
            raise ValueError(f"{where}: {entry!r} matches nothing; {near(entry, known)}")
        found += [name for name in matched if name not in models and name not in found]
    return found
