"""Secrets of a run that are kept as Secret blocks on the Prefect server, as environment variables of its stages."""

import os
from collections.abc import Mapping
from typing import Any

from hpt_core.errors import ConfigError
from hpt_core.redact import is_secret


def provide(secrets: Mapping[str, Any]) -> None:
    """Set each variable that the environment lacks to the value of its block: variable -> name of a Secret block.

    Raises ConfigError for a block that cannot be read.
    """
    for variable, block in secrets.items():
        is_secret(variable)
        if not os.environ.get(variable):
            os.environ[variable] = _read(variable, str(block))


def _read(variable: str, block: str) -> str:
    where = f"secrets.{variable} = {block!r}"
    from prefect.blocks.system import Secret
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        raise ConfigError(
            f"{where}: {variable} is not set, and a temporary Prefect server has no blocks",
            f"set {variable}, or PREFECT_API_URL to the server that has the block",
        )
    try:
        value = Secret.load(block, _sync=True).get()  # type: ignore[call-arg,union-attr]
    except Exception as error:  # the server is away, there is no such block, or its key has changed
        raise ConfigError(
            f"{where}: the block cannot be read ({type(error).__name__})",
            f"create a Secret block of this name on the Prefect server, or set {variable}",
        ) from error
    return str(value)
