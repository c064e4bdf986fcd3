"""Load a pipeline's config from TOML files that may extend each other, or from the JSON of a run, with overrides.

Errors name the file, the field, the value and the remedy.
"""

import contextlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from flows.explain import explain
from hpt_core.base import merge, named_fields
from hpt_core.errors import ConfigError, near
from hpt_core.paths import expand_named
from hpt_core.plugins import Plugin, add_folder
from tasks.execution import variants
from tasks.execution.config import PipelineConfig, pipeline_type

ENDINGS = (".toml", ".json")
"""How the names of config files end."""
HOW: tuple[str, ...] = (
    *("store", "data_dir", "resources", "trackers", "schedule", "publish", "notify", "overrides", "replace_board"),
    *("evaluate.budget", "report.max_overlap"),
)
"""Tables and fields of a config that say where and how a run computes, and where its results go."""


def load_config(
    path: Path, overrides: Iterable[str] = (), store: str | None = None, data_dir: Path | None = None
) -> PipelineConfig:
    """Load the TOML or JSON file `path` and apply the `a.b=c` overrides in order. Raises ConfigError.

    The file's folder is added to the import path, for plug-ins that the config names by import path.
    """
    table = read_table(path)
    add_folder(path.parent.resolve())
    known, before = _stages(table), deepcopy(table)
    overrides = list(overrides)
    for override in overrides:
        apply(table, override)
    if store is not None:
        table["store"] = store
    if data_dir is not None:
        table["data_dir"] = str(data_dir)
    try:
        return _with_changes(PipelineConfig.model_validate(table), before, overrides)
    except ValidationError as error:
        raise _unknown_stage(error, overrides, known) or explain(error, str(path), table, overrides) from error


def _with_changes(config: PipelineConfig, before: dict[str, Any], overrides: list[str]) -> PipelineConfig:
    """The config with the overrides that change what it computes in `overrides`. `before` is its table without them.

    What the config's own schedule sets is part of the pipeline.
    """
    given = [o for o in overrides if o not in config.schedule.set and not _says_how(o)]
    if not given:
        return config
    for override in overrides:
        if override in config.schedule.set:
            apply(before, override)
    with contextlib.suppress(ValidationError, ConfigError):  # a file that is complete only with its overrides
        if _computed(PipelineConfig.model_validate(before)) == _computed(config):
            return config
    return config.model_copy(update={"overrides": tuple(dict.fromkeys([*config.overrides, *given]))})


def _says_how(override: str) -> bool:
    path = f"{override.partition('=')[0].strip()}."
    return any(path.startswith(f"{name}.") for name in HOW)


def _computed(config: PipelineConfig) -> dict[str, Any]:
    """The config without HOW. Fields count even if they only change how long a stage takes: it is the safe side."""
    table = config.model_dump(mode="json", by_alias=True)
    for name in HOW:
        *tables, field = name.split(".")
        inner = table
        for key in tables:
            inner = inner.get(key) or {}
        inner.pop(field, None)
    return table


def validated(table: Mapping[str, Any], where: str) -> PipelineConfig:
    """The config in a table. Raises ConfigError, which begins with `where`."""
    try:
        return PipelineConfig.model_validate(table)
    except ValidationError as error:
        raise explain(error, where, table) from error


def overridden(config: PipelineConfig, overrides: Iterable[str]) -> PipelineConfig:
    """The config with `a.b=c` overrides applied. Raises ConfigError."""
    if not (overrides := list(overrides)):
        return config
    before = config.model_dump(mode="json", by_alias=True)
    table = deepcopy(before)
    for override in overrides:
        apply(table, override)
    try:
        return _with_changes(PipelineConfig.model_validate(table), before, overrides)
    except ValidationError as error:
        raise explain(error, "the config", table, overrides) from error


def read_table(path: Path, within: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's table merged over those of the files it extends. Raises ConfigError."""
    if path.resolve() in within:
        raise ConfigError(f"{path} extends itself", 'remove one "extends"')
    table = read_file(path)
    extends = table.pop("extends", [])
    bases = [extends] if isinstance(extends, str) else extends
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(
            f"{path}: extends = {extends!r} is not a path", 'write extends = "base.toml", or a list of paths'
        )
    found: dict[str, Any] = {}
    for base in bases:
        below = path.parent / expand_named(base, f"{path}: extends")
        found = merge(found, read_table(below, (*within, path.resolve())))
    return merge(found, table)


def read_file(path: Path) -> dict[str, Any]:
    """One file's table. Raises ConfigError with the file and, if it cannot be parsed, the line."""
    kind, parse = ("JSON", json.loads) if path.suffix == ".json" else ("TOML", tomllib.loads)
    try:
        table = parse(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        beside = sorted(str(p) for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        remedy = near(str(path), tuple(beside)) if beside else "give the path of a TOML file"
        raise ConfigError(f"there is no config {path}", remedy) from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "give the path of a TOML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file", "give the path of a TOML file") from error
    except (ValueError, RecursionError) as error:  # also an integer of thousands of digits
        raise ConfigError(f"{path} is not valid {kind}: {error}", "correct the line") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{path} holds no table of settings", "give a pipeline's config")
    return table


def apply(table: dict[str, Any], override: str, example: str = "train.hpt.steps=10") -> None:
    """Set one field of the table. `override` is `a.b=c`, with the value as `toml_value` reads it.

    A field of a plug-in leaves the plug-in's name as it is, whether given as a string or left at the default. A field
    of a variant's stage is set in the variant. Raises ConfigError for a malformed override; unknown fields are found
    when the config is validated.
    """
    path, equals, text = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise ConfigError(f"--set {override!r} is not of the form a.b=c", f"for example --set {example}")
    target: Any = table
    for i, key in enumerate(keys := _in_variant(table, keys)):
        where = ".".join(keys[:i])
        if isinstance(target, list):
            if not key.isdigit() or int(key) >= len(target):
                raise ConfigError(
                    f"--set {override!r}: {key!r} is not an item of the list", f"use 0 to {len(target) - 1}"
                )
            if i == len(keys) - 1:
                raise ConfigError(f"--set {override!r}: a list is set as a whole", f"--set {where}=[...]")
            target[int(key)] = target = _named(target[int(key)])
            continue
        if not isinstance(target, dict):
            raise ConfigError(f"--set {override!r}: {where} is a value, not a table", "shorten the path")
        if i == len(keys) - 1:
            target[key] = toml_value(text.strip())
            return
        if i or _takes_plugin(pipeline_type(table), key):
            target[key] = _named(target.get(key, {}))
        target = target.setdefault(key, {})


def _named(value: Any) -> Any:
    """The long form of a plug-in: `algorithm = "hpt"` is shorthand for `algorithm = { name = "hpt" }`."""
    return {"name": value} if isinstance(value, str) else value


def _takes_plugin(model: type[BaseModel], name: str) -> bool:
    """Whether a field takes a plug-in or a list of them."""
    field = named_fields(model).get(name)
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    return any(isinstance(kind, type) and issubclass(kind, Plugin) for kind in kinds)


def toml_value(text: str) -> Any:
    """Read `text` as a TOML value; anything else is a string. The bare word `none` is None."""
    if text == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _in_variant(table: Mapping[str, Any], keys: list[str]) -> list[str]:
    """The path with a variant's stage replaced by the variant: `train.hpt_x.steps` -> `train.hpt.variants.0.steps`."""
    stages = table.get(keys[0])
    if len(keys) < 3 or not isinstance(stages, dict) or keys[1] in stages:
        return keys
    name, place = variants.variant_keys(stages).get(keys[1], ("", 0))
    return [keys[0], name, "variants", str(place), *keys[2:]] if name else keys


def _stages(table: dict[str, Any]) -> tuple[str, ...]:
    """Keys of the stages in a table that is not yet validated."""
    kinds = pipeline_type(table).known_kinds
    with contextlib.suppress(ValueError):
        table = variants.expand(table, kinds)
    tables = ((kind.name, table.get(kind.name)) for kind in kinds)
    return tuple(f"{kind}.{name}" for kind, found in tables if isinstance(found, dict) for name in found)


def _unknown_stage(error: ValidationError, overrides: list[str], known: tuple[str, ...]) -> ConfigError | None:
    """The error for an override of a stage that the file lacks, which creates an incomplete table; else None."""
    for fault in error.errors():
        key = ".".join(map(str, fault["loc"][:2]))
        set_by = next((o for o in overrides if o.partition("=")[0].strip().startswith(f"{key}.")), None)
        if fault["type"] == "missing" and len(fault["loc"]) > 2 and key not in known and set_by:
            return ConfigError(f"--set {set_by}: there is no stage {key!r}", near(key, known))
    return None
