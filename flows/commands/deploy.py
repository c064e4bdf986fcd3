"""Commands for a permanent Prefect server: `hpt deploy`, `hpt up` and `hpt down`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.commands import common
from flows.load import load_config
from hpt_core.errors import ConfigError, ServerError
from tasks.execution.config import PipelineConfig

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
