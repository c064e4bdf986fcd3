"""`hpt site` and `hpt view`: the site over all runs on a store."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.site.build import Site
from flows.commands import common
from flows.commands.board import Place
from flows.commands.common import Json
from flows.outputs import open_store
from flows.view import View, tables_of
from hpt_core.errors import ConfigError

app = typer.Typer()


@app.command()
def site(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A store's folder, or a config with one.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the site; an earlier site is updated.")],
    responses: Annotated[
        bool, typer.Option("--responses", help="Include responses of models, of benchmarks whose texts may be public.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the site over all runs on a store into a folder, for any web server.

    Only what has changed since the last time is written.
    """
    found = open_store(store)
    written = Site(found, tables_of(found)).build(_own(folder), responses)
    if as_json:
        common.print_json({"folder": str(folder), "written": written})
        return
    common.OUT.print(f"{folder}: {len(written)} files written", markup=False)


def _own(folder: Path) -> Path:
    """The folder, which is empty or has a site. Raises ConfigError."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / "site.js").is_file())):
        raise ConfigError(f"{folder} exists, and is not a site", "give the path of a new folder")
    return folder


@app.command()
def view(
    store: Place = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
) -> None:
    """Serve the site over all runs on a store to this machine's browser, and keep it up to date. Changes no result."""
    found = open_store(store)
    with tempfile.TemporaryDirectory(prefix="hpt-view-") as folder:
        try:
            served = View(found, Path(folder), port)
        except OSError as error:
            raise ConfigError(f"cannot listen on port {port}: {error.strerror or error}", "take --port 0") from error
        common.OUT.print(f"{found.root}: {served.url} (Ctrl-C ends it)", markup=False)
        served.serve()
