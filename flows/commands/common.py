"""What the commands share: options, the console, reading a config, turning errors into exit codes."""

import json
import logging
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from flows.load import load_config
from hpt_core.artifacts import Store
from hpt_core.errors import ConfigError, near
from tasks import evaluate
from tasks.execution.config import PipelineConfig
from tasks.execution.context import data_folder
from tasks.execution.keys import StageKey

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="A pipeline's TOML file.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Override a field; the value as in TOML. May be given again."),
]
StoreOption = Annotated[
    str | None, typer.Option("--store", help="Folder of the stages' outputs, in place of the config's.")
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder with local copies of benchmarks and data; HPT_DATA where not given."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
Verify = Annotated[bool, typer.Option("--verify", help="Hash every stored file again before it is reused.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first malformed row of training data.")]
Force = Annotated[bool, typer.Option("--force", help="Make again what the store holds.")]

OUT = Console(highlight=False, soft_wrap=True)
"""Standard output: results."""
ERR = Console(stderr=True, highlight=False, soft_wrap=True)
"""Standard error: progress, warnings and errors."""


@dataclass
class State:
    """What the command line as a whole was told."""

    debug: bool = False
    resume: str | None = None
    """The command line that goes on with a run cut short; None where nothing runs."""


STATE = State()


def read_config(path: Path, overrides: list[str] | None, store: str | None, data_dir: Path | None) -> PipelineConfig:
    """The config with everything that the command line changes, and with absolute folders: a retry that Prefect starts
    elsewhere must find the same store and data."""
    config = load_config(path, overrides or (), store, data_dir)
    data = data_folder(config.data_dir)
    return config.model_copy(
        update={"store": str(Store(config.store).root), "data_dir": None if data is None else data.resolve()}
    )


def resumes_with(command: str, path: Path, names: list[str] | None = None, **options: Any) -> None:
    """Note the command that goes on where a run is cut short: without --force and --from, which would make again what
    the run has made anew already. An option that was not given is None, or False for a flag."""
    words = ["hpt", command, str(path), *(names or ())]
    for name, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None and item is not False:
                words += [f"--{name.replace('_', '-')}", *([] if item is True else [str(item)])]
    STATE.resume = shlex.join(words)


def evaluated(config: PipelineConfig, names: Iterable[str] | None) -> list[StageKey]:
    """The evaluated models with these names ("hpt", "train.hpt"), all of them without names. Raises ConfigError."""
    evaluation = evaluate.KIND.of(config)
    if evaluation is None:
        raise ConfigError("the config evaluates nothing", "give it a table [evaluate]")
    known = {model.name: model for model in evaluation.models} | {str(model): model for model in evaluation.models}
    found = []
    for name in names or [str(model) for model in evaluation.models]:
        if name not in known:
            shown = tuple(model.name for model in evaluation.models)
            raise ConfigError(f"the config evaluates no model {name!r}", near(StageKey.parse(name).name or name, shown))
        found.append(known[name])
    return found


def print_json(value: Any) -> None:
    """Write a JSON document to standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


class ConsoleHandler(logging.Handler):
    """Warnings of the product on standard error, one line each, in step with the progress display."""

    def emit(self, record: logging.LogRecord) -> None:
        ERR.print(f"[yellow]{record.levelname.lower()}:[/] {escape(record.getMessage())}")


def log_to_console() -> None:
    """Show what the product itself warns of; everything with --debug. A worker's lines stay in its stage's log."""
    logger = logging.getLogger("hpt")
    logger.addHandler(ConsoleHandler(logging.DEBUG if STATE.debug else logging.WARNING))
    logger.setLevel(logging.DEBUG if STATE.debug else logging.INFO)
    logger.propagate = False
