"""The `hpt` command. Exit codes: 0 done, 1 failure, 2 invalid input, 130 interrupted, 143 ended by SIGTERM."""

import contextlib
import os
import signal
import sys
from itertools import islice
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.markup import escape

from flows.server import prepare_environment
from hpt_core import collector, logs, redact

prepare_environment()

from flows.commands import (  # noqa: E402  (Prefect reads the environment at import)
    algorithms,
    audit,
    board,
    common,
    compare,
    config,
    deploy,
    estimate,
    export,
    history,
    look,
    metrics,
    plan,
    protocol,
    run,
    samples,
    site,
    spec,
    store,
    tools,
    watch,
)
from hpt_core.errors import ConfigError, HPTError  # noqa: E402

USAGE_ERROR: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
"""Click's base error. Some versions of Typer bundle Click, others import the package."""

INTERRUPTED = 130
TERMINATED = 128 + signal.SIGTERM

app = typer.Typer(
    name="hpt",
    help="Train language models with HPT and other algorithms, evaluate them, and publish the leaderboard.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
COMMANDS = (
    *(run, watch, spec, estimate, plan, board, site, compare, look, history, samples, protocol, audit),
    *(store, export, deploy, metrics, config, algorithms, tools),
)
for module in COMMANDS:
    app.add_typer(module.app)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and Prefect's log.")] = False,
    log_format: Annotated[
        str,
        typer.Option(
            "--log-format", help="Of logs, on standard error and in files: text, or json.", envvar=logs.SETTING
        ),
    ] = "text",
) -> None:
    """Options for every command."""
    if log_format not in ("text", logs.JSON):
        raise ConfigError(f"--log-format {log_format!r} is unknown", "choose text or json")
    # Flows, workers and their logs read it there.
    os.environ[logs.SETTING] = log_format
    common.STATE.debug = debug
    common.log_to_console()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # Options for every command must precede the command. Users may put them anywhere.
    arguments = _options_first(arguments)
    collector.spare()
    sys.excepthook = redact.show
    # Job schedulers send SIGTERM. Without a handler, this process would exit and leave its Prefect server running.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, _terminated)
    sys.exit(_code(arguments))


def _options_first(arguments: list[str]) -> list[str]:
    first, rest, left = list[str](), list[str](), iter(arguments)
    for argument in left:
        if argument == "--log-format":
            first += [argument, *islice(left, 1)]
        else:
            (first if argument == "--debug" or argument.startswith("--log-format=") else rest).append(argument)
    return first + rest


def _terminated(number: int, frame: Any) -> None:
    sys.exit(TERMINATED)


def _code(arguments: list[str]) -> int:
    try:
        code = app(arguments, prog_name="hpt", standalone_mode=False)
        # On Ctrl-C, some versions of Typer return this code and others raise Abort.
        return _interrupted() if code == INTERRUPTED else code if isinstance(code, int) else 0
    except typer.Exit as error:
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return _interrupted()
    except USAGE_ERROR as error:
        error.show()
        return 2
    except HPTError as error:
        if common.STATE.debug:
            raise
        common.complain(str(error))
        return error.exit_code
    except ValidationError as error:
        if common.STATE.debug:
            raise
        first = error.errors()[0]
        common.complain(".".join(map(str, first["loc"])) + ": " + first["msg"])
        return 2
    except Exception as error:
        if common.STATE.debug:
            raise
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        common.complain(f"{text}. Remedy: run with --debug and report the output.")
        return 1


def _interrupted() -> int:
    advice = f" finished work is kept; continue with `{escape(common.STATE.resume)}`" if common.STATE.resume else ""
    common.ERR.print(f"\n[yellow]interrupted{':' if advice else ''}[/]{advice}")
    return INTERRUPTED


if __name__ == "__main__":
    main()
