"""`hpt metrics`: the metrics that `hpt up` serves, once."""

import sys
from typing import Annotated

import typer

from flows.outputs import open_store

app = typer.Typer()


@app.command()
def metrics(
    stores: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STORE]...",
            help="Folders of stores, or configs. Default: those of the deployed pipelines if PREFECT_API_URL is set.",
        ),
    ] = None,
) -> None:
    """Print metrics of stores and of the Prefect server in Prometheus' text format."""
    from prefect.settings import PREFECT_API_URL

    from flows import metrics

    server = bool(PREFECT_API_URL.value())
    if stores or not server:
        roots = [open_store(where).root for where in stores] if stores else [open_store(None).root]
        sys.stdout.write(metrics.text(lambda: roots, server))
    else:
        sys.stdout.write(metrics.text(metrics.deployed_stores, server))
