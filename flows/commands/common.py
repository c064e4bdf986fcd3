"""Shared by the commands: options, the consoles and reading a config."""

import json
import logging
import shlex
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from flows.load import load_config
from hpt_core import logs
from hpt_core.artifacts import Store
from hpt_core.errors import ConfigError, near
from hpt_core.redact import redact
from hpt_core.texts import harmless
from tasks import evaluate
from tasks.execution.config import PipelineConfig
from tasks.execution.context import data_folder
from tasks.execution.keys import StageKey

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="A pipeline's TOML file.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Override a field. The value is TOML. Repeatable."),
]
StoreOption = Annotated[
    str | None, typer.Option("--store", help="Folder or URL for the stages' artifacts, instead of the config's.")
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder with local copies of benchmarks and data. Default: HPT_DATA."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
Where = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="STORE",
        help="A store's folder or URL, or a config with one. Default: runs, or the one store below it.",
    ),
]
Verify = Annotated[bool, typer.Option("--verify", help="Rehash every stored file before it is reused.")]
Units = Annotated[
    bool, typer.Option("--units", help="Show every artifact, such as the samples of each benchmark, not only stages.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first malformed row of training data.")]
Publish = Annotated[
    bool, typer.Option("--publish", help="Publish a run with --set as the board, not only as a page of its own.")
]
Force = Annotated[bool, typer.Option("--force", help="Rerun stages even if the store holds their artifacts.")]
Model = Annotated[
    str | None, typer.Option("--model", help="An evaluated model: hpt, or its stage train.hpt. Default: all.")
]

INDENT = " " * 6


class _Console(Console):
    """Prints texts without secrets."""

    def print(self, *objects: Any, **options: Any) -> None:
        """See rich.console.Console."""
        super().print(*(redact(item) if isinstance(item, str) else item for item in objects), **options)


OUT = _Console(highlight=False, soft_wrap=True, emoji=False)
"""Standard output: results."""
ERR = _Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
"""Standard error: progress, warnings and errors."""


@dataclass
class State:
    """State of the command line."""

    debug: bool = False
    resume: str | None = None
    """The command that continues an interrupted run; None for commands that run nothing."""


STATE = State()


def read_config(
    path: Path, overrides: list[str] | None, store: str | None, data_dir: Path | None, replace_board: bool = False
) -> PipelineConfig:
    """The config with the command line's changes.

    The folders are absolute, so that a retry that Prefect starts elsewhere finds the same store and data.
    """
    config = load_config(path, overrides or (), store, data_dir)
    data = data_folder(config.data_dir)
    changes = {"store": Store(config.store).address, "data_dir": None if data is None else data.resolve()}
    return config.model_copy(update=changes | ({"replace_board": True} if replace_board else {}))


def resumes_with(command: str, path: Path, names: list[str] | None = None, **options: Any) -> None:
    """Record the command that continues an interrupted run.

    It must not contain --force or --from, which would rerun the stages that this run has already rerun. Options that
    are None or False were not given.
    """
    words = ["hpt", command, str(path), *(names or ())]
    for name, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None and item is not False:
                words += [f"--{name.replace('_', '-')}", *([] if item is True else [str(item)])]
    STATE.resume = shlex.join(words)


def evaluated(config: PipelineConfig, names: Iterable[str] | None) -> list[StageKey]:
    """The evaluated models with these names (see `model_named`); all of them without names. Raises ConfigError."""
    evaluation = evaluate.KIND.of(config)
    if evaluation is None:
        raise ConfigError("the config evaluates nothing", "add a table [evaluate]")
    models = evaluation.models
    return [model_named(name, models, "the config evaluates no model") for name in names or map(str, models)]


def model_named(name: str, models: Iterable[StageKey], problem: str = "there is no model") -> StageKey:
    """The model with this name: its own ("hpt") or its stage's ("train.hpt"). Raises ConfigError with near matches."""
    by_stage = {str(model): model for model in models}
    by_name = {model.name: model for model in by_stage.values()}
    known = by_stage if "." in name else by_name
    if name not in known:
        raise ConfigError(f"{problem} {name!r}", near(name, tuple(known)))
    return known[name]


def print_json(value: Any) -> None:
    """Write a JSON document to standard output, harmless to a terminal. Its values stay the same."""
    sys.stdout.write(harmless(redact(json.dumps(value, indent=2, ensure_ascii=False, default=str))) + "\n")


def print_note(text: str) -> None:
    """Print a remark below a line, indented; on a terminal it is wrapped, and a pipe gets one line."""
    lines = textwrap.wrap(text, OUT.width - len(INDENT), break_on_hyphens=False) if OUT.is_terminal else [text]
    for line in lines:
        OUT.print(f"{INDENT}[dim]{escape(line)}[/]")


class ConsoleHandler(logging.Handler):
    """Prints log records on standard error, one line each, without breaking the progress display."""

    def emit(self, record: logging.LogRecord) -> None:
        if logs.as_json():
            ERR.print(self.format(record), markup=False)
            return
        ERR.print(f"[yellow]{record.levelname.lower()}:[/] {escape(record.getMessage())}")


def complain(text: str) -> None:
    """Show the error that ends the command."""
    if logs.as_json():
        logging.getLogger("hpt").error("%s", text)
    else:
        ERR.print(f"[red]error:[/] {escape(text)}")


def log_to_console() -> None:
    """Show warnings on the console; all but details if logs are JSON; the whole log with --debug. A worker's log goes
    to its stage's log file."""
    logger = logging.getLogger("hpt")
    handler = ConsoleHandler(logging.DEBUG if STATE.debug else logging.INFO if logs.as_json() else logging.WARNING)
    handler.setFormatter(logs.formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if STATE.debug else logging.INFO)
    logger.propagate = False
