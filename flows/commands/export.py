"""`hpt export`: copy a model out of the store, with a card."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from flows.card import card
from flows.commands import common
from flows.commands.common import Json, Where
from flows.outputs import find_one, open_store
from hpt_core.artifacts import KnownFiles
from hpt_core.errors import ConfigError, StoreError
from hpt_core.files import replacing_folder
from tasks.execution.keys import MODEL

app = typer.Typer()
CARD = "README.md"
OF_BASE = "README.base.md"
"""The card of the model that training started from, if that had one."""


@app.command()
def export(
    output: Annotated[str, typer.Argument(metavar="MODEL", help="A stored model: train.hpt, train/3f2a, or a folder.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to create.")],
    where: Where = None,
    name: Annotated[str | None, typer.Option("--name", help="Title of the card. Default: the folder's name.")] = None,
    as_json: Json = False,
) -> None:
    """Copy a model out of the store, with a card that says how it was made and how it scores."""
    store = open_store(where)
    slot, manifest = find_one(store, output)
    if MODEL.name not in manifest.outputs:
        raise ConfigError(f"{manifest.stage} ({slot}) is not a model", "name one, such as train.hpt")
    if folder.exists():
        raise ConfigError(f"{folder} exists already", "give the path of a new folder")
    if damage := slot.damage(KnownFiles()):
        raise StoreError(f"the model is damaged: {damage[0]}", "run its pipeline again")
    text = card(name or folder.resolve().name, manifest, store.outputs())
    with replacing_folder(folder.resolve()) as beside:
        slot.fetch(MODEL.path)
        shutil.copytree(slot.output / MODEL.path, beside, dirs_exist_ok=True)
        if (beside / CARD).exists():
            (beside / CARD).rename(beside / OF_BASE)
        (beside / CARD).write_text(text, encoding="utf-8")
    if as_json:
        common.print_json(
            {"folder": str(folder), "card": str(folder / CARD), "from": f"{slot.kind}/{slot.fingerprint}"}
        )
        return
    common.OUT.print(f"{folder}: {manifest.stage} ({slot}), described in {CARD}", markup=False)
