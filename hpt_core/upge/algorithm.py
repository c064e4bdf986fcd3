"""Base class of an algorithm: a gate, the signals it chooses from, and regularizers."""

import inspect
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import model_validator

from hpt_core.gates.base import Gate
from hpt_core.plugins import PluginConfig, near
from hpt_core.upge.parts import Regularizer
from hpt_core.upge.signal import Signal


class Algorithm(PluginConfig, kind="algorithms", package="hpt_core.algorithms"):
    """Base of the algorithms' configs. Each field of type Signal is a signal, named after the field."""

    gate: Gate
    """Chooses the signals of a question."""
    regularizers: tuple[Regularizer, ...] = ()
    """Terms on every token of an update; none by default, `["entropy"]` as in the training scripts."""

    @property
    def equation(self) -> str:
        """The loss: the first indented block of its module's docstring; "" without one."""
        lines = (inspect.getdoc(sys.modules[self.module]) or "").splitlines()
        start = next((i for i, line in enumerate(lines) if line.startswith(" ")), len(lines))
        end = next((i for i in range(start, len(lines)) if not lines[i].startswith(" ")), len(lines))
        return textwrap.dedent("\n".join(lines[start:end]))

    @property
    def signals(self) -> dict[str, Signal]:
        """Signals by name, in the order of the fields."""
        return {name: value for name, value in self if isinstance(value, Signal)}

    def deciding(self) -> Iterator[tuple[str, Any]]:
        """See Frozen.deciding. Signals that the gate never chooses are left out."""
        chosen = self.gate.signal_names
        yield from ((n, value) for n, value in super().deciding() if not isinstance(value, Signal) or n in chosen)

    @model_validator(mode="after")
    def _gate_knows_signals(self) -> "Algorithm":
        for name in self.gate.signal_names:
            if name not in self.signals:
                raise ValueError(f"gate: unknown signal {name!r}; {near(name, tuple(self.signals))}")
        return self
