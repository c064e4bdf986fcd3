"""Commands for a permanent Prefect server: `hpt deploy`, `hpt up` and `hpt down`."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.commands import common
from flows.load import load_config
from flows.machine import Machine, home
from hpt_core.errors import ConfigError, ServerError
from tasks.execution.config import PipelineConfig
from tasks.execution.schedule import ScheduleConfig

app = typer.Typer()
Files = Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="Pipelines' TOML files.", show_default=False)]
STYLES = {"created": "green", "updated": "cyan", "removed": "yellow", "started": "green", "stopped": "yellow"}


@app.command()
def deploy(configs: Files) -> None:
    """Deploy pipelines to the Prefect server at PREFECT_API_URL. Repeat it after a change of `[schedule]`."""
    pipelines = read_pipelines(configs)
    from prefect.settings import PREFECT_API_URL

    from flows.prefect_server import why_unreachable

    url = PREFECT_API_URL.value()
    if not url:
        raise ServerError("PREFECT_API_URL is not set", "set it to your server's address, or run `hpt up`")
    if problem := why_unreachable(url):
        raise ServerError(
            f"cannot reach the Prefect server at {url}: {problem}", "start it, or correct PREFECT_API_URL"
        )
    deploy_all(pipelines)
    for pool in dict.fromkeys(config.schedule.pool for config in pipelines.values()):
        common.OUT.print(f"start a worker on the machine that trains: prefect worker start --pool {pool}")


@app.command()
def up(
    configs: Annotated[list[Path] | None, typer.Argument(metavar="[CONFIG]...", help="Pipelines to deploy.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port of the server. Default: 4200.")] = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and stop everything at the end.")] = False,
) -> None:
    """Start a Prefect server and workers on this machine, and deploy pipelines. Repeat it to add or change some."""
    pipelines = read_pipelines(configs or ())
    machine = Machine(home())
    tell(machine.start(port))
    settings = machine.settings()
    os.environ.update(settings)
    deploy_all(pipelines)
    pools = [config.schedule.pool for config in pipelines.values()] or [ScheduleConfig().pool]
    tell(machine.work(pools))
    tell(machine.measure())
    file = machine.folder / "environment"
    common.OUT.print(
        f"page: {settings['PREFECT_API_URL'].removesuffix('/api')}; it asks for PREFECT_API_AUTH_STRING of {file}"
    )
    common.OUT.print(f"for the prefect command: set -a; . {file}; set +a")
    if foreground:
        _stay(machine)


def _stay(machine: Machine) -> None:
    """Wait until a process of the machine ends or this one is asked to; then stop the others. Raises ServerError."""
    try:
        while machine.is_whole():
            time.sleep(1)
    finally:
        tell(machine.stop())
    raise ServerError("a process has ended", f"see the logs in {machine.folder}")


@app.command()
def down() -> None:
    """Stop the server and the workers that `hpt up` started. Runs continue from their checkpoints after `hpt up`."""
    tell(Machine(home()).stop())


def read_pipelines(files: Iterable[Path]) -> dict[Path, PipelineConfig]:
    """File -> config. Raises ConfigError, also if two pipelines have one name."""
    found = {file: load_config(file) for file in files}
    for file, config in found.items():
        if twin := next((f for f, c in found.items() if c.name == config.name and f != file), None):
            raise ConfigError(f"{file} and {twin} both have the name {config.name!r}", "rename one")
    return found


def deploy_all(pipelines: dict[Path, PipelineConfig]) -> None:
    """Deploy the pipelines and the automations, and say what was done."""
    from prefect.client.orchestration import get_client

    from flows.deploy import deploy, prepare

    with get_client(sync_client=True) as client:
        tell(prepare(client))
        for file, config in pipelines.items():
            tell(deploy(client, config, file, Path.cwd()))


def tell(done: Iterable[tuple[str, str]]) -> None:
    """Print what was done, one line each."""
    for what, to in done:
        common.OUT.print(f"[{STYLES.get(what, 'dim')}]{what:>9}[/]  {escape(to)}")
