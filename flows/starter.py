"""The config that `hpt init` writes: starter.toml.j2, for a small model made here or for the user's own."""

from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from benchmarks.suite import get_suite
from flows.fields import toml
from hpt_core.errors import ConfigError

SMALL = ("procedural_mixed", "procedural_whole")
"""Benchmarks of the small config."""
LARGE = ("math500", "amc23")
"""Benchmarks where only a model or data are given."""


def starter(name: str, model: str | None, data: Path | None, suites: tuple[str, ...]) -> str:
    """The TOML text: of a small pipeline where no model is given, else with this model, data and benchmarks.

    Raises ConfigError for a benchmark that does not exist, data that are not there, or a model that is neither a folder
    nor a repository.
    """
    for suite in suites:
        get_suite(suite)
    if data is not None and not data.is_file():
        raise ConfigError(f"there is no file {data}", "give the path of a JSON-lines file")
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["toml"] = toml
    template = resources.files(__package__).joinpath("starter.toml.j2").read_text(encoding="utf-8")
    text: str = environment.from_string(template).render(
        name=name,
        small=model is None,
        model=_model(model),
        data=_data(data),
        suites=list(suites or (SMALL if model is None else LARGE)),
    )
    return text


def _model(model: str | None) -> str:
    if model is None:
        return '{ name = "scratch", layers = 3, hidden_size = 128, heads = 4, max_positions = 128 } # random weights'
    if Path(model).is_dir():
        return toml({"name": "folder", "path": str(Path(model).resolve())})
    if model.count("/") != 1:
        raise ConfigError(f"{model!r} is neither a folder nor a repository of the Hub", "give a path, or org/name")
    return toml({"name": "hub", "repo": model})


def _data(data: Path | None) -> str:
    if data is None:
        return toml({"name": "procedural", "rows": 600, "seed": 2})
    return toml({"name": "jsonl", "file": str(data.resolve())})
