"""Reading a pipeline's config: TOML, overrides, and errors that name file, field, value and remedy."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from flows.config import PipelineConfig
from flows.variants import expand, field_of, plugin_name, variant_keys
from hpt_core.errors import ConfigError, HPTError
from hpt_core.plugins import near


def load_config(
    path: Path, overrides: Iterable[str] = (), store: str | None = None, data_dir: Path | None = None
) -> PipelineConfig:
    """The config in the TOML file `path`, with `a.b=c` overrides in order. Raises ConfigError."""
    table = read_toml(path)
    stages = _stages(table)
    overrides = list(overrides)
    defaults = _defaults(table) if overrides else None
    for override in overrides:
        apply(table, _aimed(table, override), defaults)
    if store is not None:
        table["store"] = store
    if data_dir is not None:
        table["data_dir"] = str(data_dir)
    try:
        return PipelineConfig.model_validate(table)
    except ValidationError as error:
        table = _expanded(table)
        raise _unknown_stage(error, overrides, stages) or explain(error, str(path), overrides, table) from error


def _expanded(table: dict[str, Any]) -> dict[str, Any]:
    """The table with its sweeps as stages, as the errors of validation know it; as it is where that fails."""
    try:
        return expand(table)
    except ValueError:
        return table


def _aimed(table: dict[str, Any], override: str) -> str:
    """An override of a variant's stage as one of the variant: `train.hpt_x.steps` is `train.hpt.variants.0.steps`."""
    path, equals, value = override.partition("=")
    kind, *keys = path.split(".")
    train = table.get("train")
    if kind.strip() != "train" or len(keys) < 2 or not isinstance(train, dict) or keys[0].strip() in train:
        return override
    name, place = variant_keys(train).get(keys[0].strip(), ("", 0))
    return ".".join(["train", name, "variants", str(place), *keys[1:]]) + equals + value if name else override


def _of_stage(keys: list[str]) -> list[str]:
    """A path into a variant as that of the stage it varies."""
    return keys[:2] + keys[4:] if keys[:1] == ["train"] and keys[2:3] == ["variants"] else keys


def _stages(table: dict[str, Any]) -> tuple[str, ...]:
    """`model.NAME`, `data.NAME` and `train.NAME` of a config that may be wrong."""
    table = _expanded(table)
    named = {kind: table.get(kind) for kind in ("model", "data", "train")}
    return tuple(f"{kind}.{name}" for kind, found in named.items() if isinstance(found, dict) for name in found)


def _unknown_stage(error: ValidationError, overrides: list[str], stages: tuple[str, ...]) -> ConfigError | None:
    """What is wrong where an override of a stage that the file lacks began a table and left it incomplete."""
    for fault in error.errors():
        key = ".".join(map(str, fault["loc"][:2]))
        set_by = next((o for o in overrides if o.partition("=")[0].strip().startswith(f"{key}.")), None)
        if fault["type"] == "missing" and len(fault["loc"]) > 2 and key not in stages and set_by:
            return ConfigError(f"--set {set_by}: there is no stage {key!r}", near(key, stages))
    return None


def _defaults(table: dict[str, Any]) -> PipelineConfig | None:
    """The config before any override, where it is one; with the stages that are there for their variants alone."""
    train = table.get("train")
    if isinstance(train, dict):
        tables = {name: stage for name, stage in train.items() if isinstance(stage, dict)}
        kept = {name: {k: v for k, v in stage.items() if k != "variants_only"} for name, stage in tables.items()}
        table = {**table, "train": {**train, **kept}}
    try:
        return PipelineConfig.model_validate(table)
    except ValidationError:
        return None


def read_toml(path: Path) -> dict[str, Any]:
    """The file's table. Raises ConfigError that names the file and, for broken TOML, the line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        beside = sorted(str(p) for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        remedy = near(str(path), tuple(beside)) if beside else "give the path of a TOML file"
        raise ConfigError(f"there is no config {path}", remedy) from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "give the path of a TOML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file", "give the path of a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", "correct the line") from error


def apply(table: dict[str, Any], override: str, defaults: BaseModel | None = None) -> None:
    """Set one field: `a.b=c`, the value in TOML's notation, a word without quotes being a string and
    none being None.

    A table that the file leaves to its default takes the default's name: `gate.gamma=0.25` keeps the kind of gate.
    Raises ConfigError where the form is wrong; whether the field exists is for the config to say.
    """
    path, equals, text = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise ConfigError(f"--set {override!r} is not of the form a.b=c", "for example --set train.hpt.steps=10")
    target: Any = table
    loc: list[str] = []
    for i, key in enumerate(keys[:-1]):
        loc.append(key)
        if isinstance(target, list):
            target = _item(target, key, override)
            continue
        if isinstance(target.get(key), str) and i:
            # `algorithm = "hpt"` is short for a table with that name.
            target[key] = {"name": target[key]}
        if key not in target:
            target[key] = _named(defaults, _of_stage(keys[: i + 1]))
        target = target[key]
        if not isinstance(target, dict | list):
            raise ConfigError(
                f"--set {override!r}: {'.'.join(keys[: i + 1])} is a value, not a table", "shorten the path"
            )
        if isinstance(target, dict):
            # A variant's table may leave the name to the stage that it varies.
            name = target.get("name") or _named(defaults, _of_stage(keys[: i + 1])).get("name")
            loc += [name] if isinstance(name, str) else []
    if isinstance(target, list):
        raise ConfigError(f"--set {override!r}: a list takes its whole value", f"--set {'.'.join(keys[:-1])}=[...]")
    value = toml_value(text.strip())
    target[keys[-1]] = "none" if value is None and _knows_none(_of_stage(loc), keys[-1]) else value


def _knows_none(loc: list[str], key: str) -> bool:
    """Whether the field takes a variant named "none", such as the stabilization mask's."""
    owner = _owner(PipelineConfig, loc)
    field = owner.model_fields.get(key) if owner else None
    variants = getattr(field.annotation, "__args__", (field.annotation,)) if field else ()
    return key == "name" or any(
        "name" in (f := getattr(v, "model_fields", {})) and f["name"].default == "none" for v in variants
    )


def _named(defaults: Any, keys: list[str]) -> dict[str, Any]:
    """A table with the name of the plug-in that the defaults have at `keys`; an empty one where there is none."""
    for key in keys:
        defaults = field_of(defaults, key)
    return plugin_name(defaults)


def _item(values: list[Any], key: str, override: str) -> Any:
    if not key.isdigit() or int(key) >= len(values):
        raise ConfigError(f"--set {override!r}: {key!r} is not an item of the list", f"0 to {len(values) - 1}")
    return values[int(key)]


def toml_value(text: str) -> Any:
    """`text` read as a TOML value; a string where it is none. The bare word none stands for a field's None."""
    if text == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def explain(
    error: ValidationError, where: str, overrides: Iterable[str] = (), table: dict[str, Any] | None = None
) -> HPTError:
    """One line for the first fault: file, field, value, and what to do."""
    first = next((e for e in error.errors() if e["type"] == "extra_forbidden"), error.errors()[0])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    loc = [str(p) for p in first["loc"] if not str(p).startswith("function-")]
    field, value, message = (
        ".".join(_untagged(loc, table)),
        first.get("input"),
        first["msg"].removeprefix("Value error, "),
    )
    set_by = next((o for o in overrides if o.partition("=")[0].strip() == field), None)
    where = f"--set {set_by}" if set_by else where
    if first["type"] == "extra_forbidden":
        known = tuple(_fields(PipelineConfig, loc[:-1]))
        return ConfigError(f"{where}: unknown field {field!r}", near(loc[-1], known) if known else "remove it")
    if first["type"] == "missing":
        return ConfigError(f"{where}: field {field!r} is missing{more}", f"add it{_doc(loc)}")
    cause, _, remedy = message.partition("; ")
    shown = "" if isinstance(value, dict | list) else f" = {value!r}"
    at = f"{field}{shown}: " if field else ""
    return ConfigError(f"{where}: {at}{cause[:1].lower() + cause[1:]}{more}", remedy or f"correct it{_doc(loc)}")


def _untagged(loc: list[str], table: Any) -> list[str]:
    """The location as a user writes it: without the tags that pydantic puts in where a field takes one of several."""
    found: list[str] = []
    for key in loc:
        name = table.get("name") if isinstance(table, dict) and key not in table else table
        if found and name == key:
            continue
        found.append(key)
        if isinstance(table, list):
            table = table[int(key)] if key.isdigit() and int(key) < len(table) else None
        else:
            table = table.get(key) if isinstance(table, dict) else None
    return found


def _fields(model: type[BaseModel], loc: list[str]) -> list[str]:
    """Names of the fields of the model that `loc` leads to; empty where that cannot be told."""
    owner = _owner(model, loc)
    return [] if owner is None else [f.alias or name for name, f in owner.model_fields.items()]


def _owner(annotation: Any, loc: list[str]) -> type[BaseModel] | None:
    if hasattr(annotation, "__metadata__"):
        # Annotated hides what it annotates, as in the items of a list.
        annotation = annotation.__origin__
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not loc:
            return annotation
        fields = {f.alias or name: f for name, f in annotation.model_fields.items()}
        return _owner(fields[loc[0]].annotation, loc[1:]) if loc[0] in fields else None
    arguments = list(getattr(annotation, "__args__", ()))
    if getattr(annotation, "__origin__", None) in (dict, tuple, list) and loc:
        return _owner(arguments[-1] if annotation.__origin__ is dict else arguments[0], loc[1:])
    for argument in arguments:
        # A tagged union puts the tag into the location: `algorithm`, `hpt`, field.
        tagged = isinstance(argument, type) and issubclass(argument, BaseModel) and "name" in argument.model_fields
        if tagged and loc and len(arguments) > 1 and argument.model_fields["name"].default == loc[0]:
            return _owner(argument, loc[1:])
    models = [a for a in arguments if isinstance(a, type) and issubclass(a, BaseModel)]
    return _owner(models[0], loc) if len(models) == 1 else None


def _doc(loc: list[str]) -> str:
    owner = _owner(PipelineConfig, loc[:-1]) if loc else None
    if owner is None:
        return ""
    field = next((f for name, f in owner.model_fields.items() if loc[-1] in (name, f.alias)), None)
    return f": {field.description.split('. ')[0].strip()}" if field and field.description else ""
