"""Models that are available without the Hub: `hpt models fetch NAME`."""

import os
from collections.abc import Callable
from pathlib import Path

from hpt_core import model_folder
from hpt_core.errors import ConfigError, ModelError
from hpt_core.files import replacing_folder
from hpt_core.models import _smollm2
from hpt_core.paths import expand_named
from hpt_core.plugins import near
from hpt_core.worker import Progress

KNOWN: dict[str, Callable[[Path, Progress], None]] = {"smollm2-135m": _smollm2.make}
"""Name of the folder in HPT_MODELS -> function that fills an empty folder, or raises ModelError."""


def default_folder(name: str) -> Path:
    """Default folder of model `name`: HPT_MODELS/NAME, or models/NAME."""
    return Path(expand_named(os.environ.get("HPT_MODELS") or "models", "HPT_MODELS")) / name


def fetch(name: str, to: Path | None = None, progress: Progress = lambda done, total, text: None) -> Path:
    """Make the folder of model `name` at `to`, whole or not at all, and return it. A complete existing folder is kept.

    Raises ConfigError for an unknown name, and ModelError if the model is not available or `to` holds something
    else.
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
            KNOWN[name](beside, progress)
            model_folder.require_complete(beside)
    except OSError as error:
        raise ModelError(
            f"{folder} cannot be written: {error.strerror or error}", "choose another with --to"
        ) from error
    return folder
