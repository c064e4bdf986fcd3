"""The contract of an algorithm: a gate, the signals it chooses from, and regularizers. Nothing but composition."""

from typing import TYPE_CHECKING

from pydantic import model_validator

from hpt_core.base import Frozen
from hpt_core.plugins import config_union, near
from hpt_core.upge.signal import RegularizerConfig, Signal

if TYPE_CHECKING:
    from hpt_core.gates.base import Gate

    GateConfig = Gate
else:
    GateConfig = config_union("hpt_core.gates")


class Algorithm(Frozen):
    """Base of the algorithms' configs: every field that is a Signal is one, under the field's name."""

    name: str
    """The algorithm: its file's name."""
    gate: GateConfig
    """Chooses the signals of a question."""
    regularizers: tuple[RegularizerConfig, ...] = ()
    """Terms on every token of an update; none by default, `["entropy"]` as in the training scripts."""

    @property
    def signals(self) -> dict[str, Signal]:
        """Signals by name, in the order of the fields."""
        return {name: value for name, value in self if isinstance(value, Signal)}

    @model_validator(mode="after")
    def _gate_knows_signals(self) -> "Algorithm":
        for name in self.gate.signal_names:
            if name not in self.signals:
                raise ValueError(f"gate: unknown signal {name!r}; {near(name, tuple(self.signals))}")
        return self
