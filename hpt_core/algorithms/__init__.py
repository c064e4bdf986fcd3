"""Algorithms as compositions of a gate, signals and regularizers. One algorithm a file."""

import inspect
import textwrap

from hpt_core.plugins import load


def describe(name: str) -> str:
    """One line on algorithm `name`, the first of its module's documentation; an unknown name raises ConfigError."""
    return (inspect.getdoc(load(__name__, name)) or "").partition("\n")[0]


def equation(name: str) -> str:
    """The loss of algorithm `name`: the first indented block of its module's documentation, without the indent."""
    lines = (inspect.getdoc(load(__name__, name)) or "").splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith(" ")), len(lines))
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith(" ")), len(lines))
    return textwrap.dedent("\n".join(lines[start:end]))
