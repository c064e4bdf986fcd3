"""Every question gets the same signals, regardless of its success rate (SFT, GRPO)."""

from pydantic import Field

from hpt_core.gates.base import Gate


class Always(Gate):
    """The same signals for every question."""

    signals: tuple[str, ...] = Field(default=("rl",), min_length=1)
    """Signals of every question, each with coefficient 1."""

    @property
    def signal_names(self) -> tuple[str, ...]:
        """Every signal it can choose."""
        return self.signals

    def coefficients(self, success_rate: float | None, has_demonstration: bool) -> dict[str, float]:
        """1 for each signal."""
        return dict.fromkeys(self.signals, 1.0)
