"""The config that `hpt init` writes, from starter.toml.j2."""

import re
import tomllib
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from benchmarks.suite import get_suite
from flows.fields import toml
from flows.load import validated
from hpt_core.errors import ConfigError
from hpt_core.model_folder import context_length, read_object

SMALL = ("procedural_mixed", "procedural_whole")
"""Default benchmarks without --model."""
LARGE = ("math500", "amc23")
"""Default benchmarks with --model."""

ROOM = 1024 + 8192
"""Context of the default settings: the longest prompt and the longest response, in tokens."""
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
"""What the Hub calls a repository."""


def starter(name: str, model: str | None, data: Path | None, suites: tuple[str, ...]) -> str:
    """The TOML text, with the given model, data and benchmarks; without a model, a small pipeline for CPUs.

    Raises ConfigError for an unknown benchmark, a missing data file, or a model that is neither a folder nor a
    repository name.
    """
    for suite in suites:
        get_suite(suite)
    if data is not None and not data.is_file():
        raise ConfigError(f"there is no file {data}", "give the path of a JSON Lines file")
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["toml"] = toml
    template = resources.files(__package__).joinpath("starter.toml.j2").read_text(encoding="utf-8")
    text: str = environment.from_string(template).render(
        name=name,
        small=model is None,
        room=_room(model),
        prompt_tokens=32 if data is None else 512,
        response_tokens=64 if data is None else 1024,
        model=_model(model, max_positions=128 if data is None else 2048),
        data=_data(data),
        suites=list(suites or (SMALL if model is None else LARGE)),
    )
    validated(tomllib.loads(text), "hpt init")
    return text


def _model(model: str | None, max_positions: int) -> str:
    if model is None:
        source = {"name": "scratch", "layers": 3, "hidden_size": 128, "heads": 4, "max_positions": max_positions}
        return f"{toml(source)} # random weights"
    if Path(model).is_dir():
        return toml({"name": "folder", "path": str(Path(model).absolute())})
    if not REPOSITORY.fullmatch(model):
        raise ConfigError(f"{model!r} is neither a folder nor a Hub repository", "give a path, or org/name")
    return toml({"name": "hub", "repo": model})


def _room(model: str | None) -> int | None:
    """New tokens for a local model whose context is shorter than the default settings need; None otherwise."""
    config = Path(model or "") / "config.json"
    context = context_length(read_object(config)) if model and config.is_file() else ROOM
    return context // 2 if context < ROOM else None


def _data(data: Path | None) -> str:
    if data is None:
        return toml({"name": "procedural", "rows": 600, "seed": 2})
    return toml({"name": "jsonl", "file": str(data.absolute())})
