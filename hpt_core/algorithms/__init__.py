"""Algorithms as compositions of a gate, signals and regularisers. One algorithm a file."""

import inspect

from hpt_core.plugins import load


def describe(name: str) -> str:
    """One line on algorithm `name`, the first of its module's documentation; an unknown name raises ConfigError."""
    return (inspect.getdoc(load(__name__, name)) or "").partition("\n")[0]
