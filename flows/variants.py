"""Sweeps: `[[train.NAME.variants]]` makes further stages of one training stage; `evaluate.models` takes globs.

Both are resolved in the raw table, before a pipeline's config is validated: what is validated, planned and run has
plain stages only. Variant `gamma_1_8` of `[train.hpt]` is the stage `train.hpt_gamma_1_8`, as if it were written out.
"""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel, ValidationError

from hpt_core.plugins import near
from hpt_core.training.config import TrainConfig

Table = Mapping[str, Any]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""What a variant may be called: it becomes part of a stage's key."""
WILD = re.compile(r"[*?\[]")
OF_SWEEPS = frozenset({"variants", "variants_only"})
"""Fields of a training stage that describe a sweep and not the stage itself."""


def expand(table: Table) -> dict[str, Any]:
    """The pipeline's table with every variant as a stage and every glob as the models it matches.

    Raises ValueError: "FIELD: CAUSE; REMEDY". What is no table is left for the validation to name.
    """
    expanded = dict(table)
    if isinstance(train := table.get("train"), dict):
        expanded["train"] = _stages(train)
    evaluate = table.get("evaluate")
    if isinstance(evaluate, dict) and isinstance(models := evaluate.get("models"), list | tuple):
        expanded["evaluate"] = {**evaluate, "models": _models(models, references(expanded))}
    return expanded


def references(table: Table) -> tuple[str, ...]:
    """`model.NAME` and `train.NAME` of a table, in its order."""
    named = {kind: table.get(kind) for kind in ("model", "train")}
    return tuple(f"{kind}.{name}" for kind, found in named.items() if isinstance(found, dict) for name in found)


def variant_keys(train: Table) -> dict[str, tuple[str, int]]:
    """Name of each variant's stage -> the stage it varies, and its place in the list; of a table that may be wrong."""
    found: dict[str, tuple[str, int]] = {}
    for name, stage in train.items():
        variants = stage.get("variants") if isinstance(stage, dict) else None
        for i, variant in enumerate(variants if isinstance(variants, list | tuple) else ()):
            if isinstance(variant, dict):
                found[f"{name}_{variant.get('name')}"] = (name, i)
    return found


def merge(base: Table, own: Table, defaults: Any = None) -> dict[str, Any]:
    """`own` over `base`: tables field by field, anything else replaced.

    A string where `own` has a table is short for a plug-in's name; where `base` has nothing, the plug-in is that of
    `defaults`, the base's config. A table that names another plug-in replaces the base's.
    """
    found = dict(base)
    for key, value in own.items():
        if not isinstance(value, dict):
            found[key] = value
            continue
        default = field_of(defaults, key)
        below = found.get(key)
        if isinstance(below, str):
            below = {"name": below}
        elif not isinstance(below, dict):
            below = plugin_name(default)
        if value.get("name", below.get("name")) != below.get("name"):
            below, default = {}, None
        found[key] = merge(below, value, default)
    return found


def field_of(config: Any, key: str) -> Any:
    """The value of a config's field, by its name or alias, or a dictionary's item; None where there is none."""
    if isinstance(config, BaseModel):
        name = next((n for n, f in type(config).model_fields.items() if key in (n, f.alias)), key)
        return getattr(config, name, None)
    return config.get(key) if isinstance(config, dict) else None


def plugin_name(config: Any) -> dict[str, Any]:
    """A table with the plug-in's name alone; empty where `config` is no plug-in's."""
    name = getattr(config, "name", None) if isinstance(config, BaseModel) else None
    return {} if name is None else {"name": name}


def _stages(train: Table) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, stage in train.items():
        variants = stage.get("variants", ()) if isinstance(stage, dict) else ()
        only = stage.get("variants_only", False) if isinstance(stage, dict) else False
        if not isinstance(only, bool):
            raise ValueError(f"train.{name}.variants_only = {only!r} is neither true nor false; write one of the two")
        if only and not variants:
            raise ValueError(f"train.{name}.variants_only leaves no stage; add [[train.{name}.variants]]")
        if not variants:
            found[name] = stage
            continue
        base = {key: value for key, value in stage.items() if key not in OF_SWEEPS}
        if not only:
            _add(found, train, name, base, "")
        for own in _checked(name, variants):
            fields = {key: value for key, value in own.items() if key != "name"}
            key = f"{name}_{own['name']}"
            _add(found, train, key, merge(base, fields, _config(base, fields)), f"train.{name}.variants")
    return found


def _add(found: dict[str, Any], train: Table, key: str, stage: dict[str, Any], where: str) -> None:
    if key in found or (where and key in train):
        raise ValueError(
            f"{where or f'train.{key}'}: there is another stage train.{key}; rename the variant or that stage"
        )
    found[key] = stage


def _checked(name: str, variants: Any) -> list[dict[str, Any]]:
    where = f"train.{name}.variants"
    if not isinstance(variants, list | tuple) or not all(isinstance(own, dict) for own in variants):
        raise ValueError(f"{where} is a list of tables; begin each with [[{where}]]")
    for i, own in enumerate(variants):
        if "name" not in own:
            raise ValueError(f'{where}.{i}: the name is missing; add name = "..."')
        if not isinstance(own["name"], str) or not NAME.fullmatch(own["name"]):
            raise ValueError(f"{where}.{i}.name = {own['name']!r}: it names a stage; use letters, digits, _ and -")
        if own["name"] in [earlier.get("name") for earlier in variants[:i]]:
            raise ValueError(f"{where}: {own['name']!r} is given twice; rename one")
        if inside := OF_SWEEPS & set(own):
            raise ValueError(f"{where}.{i}: a variant has no {min(inside)} of its own; list it beside the others")
    return list(variants)


def _config(base: Table, fields: Table) -> TrainConfig | None:
    """The config that tells a variant which plug-ins it varies: the base's or, where that lacks a field that each
    variant gives, the base's with the variant's plain values."""
    plain = {key: value for key, value in fields.items() if not isinstance(value, dict)}
    for table in (base, {**base, **plain}):
        try:
            return TrainConfig.model_validate(table)
        except ValidationError:
            continue
    return None


def _models(models: Sequence[Any], known: tuple[str, ...]) -> list[Any]:
    """Globs give what they match, in the config's order, without what is named beside them or came before."""
    found: list[Any] = []
    for entry in models:
        if not isinstance(entry, str) or not WILD.search(entry):
            found.append(entry)
            continue
        matched = [name for name in known if fnmatchcase(name, entry)]
        if not matched:
            raise ValueError(f"evaluate.models: {entry!r} matches nothing; {near(entry, known)}")
        found += [name for name in matched if name not in models and name not in found]
    return found
