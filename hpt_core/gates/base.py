"""The contract of a gate: which signals a question gives, and how strongly."""

from typing import ClassVar

from hpt_core.base import Frozen


class Gate(Frozen):
    """Chooses the signals of a question from its success rate (alpha = f(P), beta = g(P) in the paper)."""

    name: str
    """The variant: its file's name."""
    needs_success_rate: ClassVar[bool] = False
    """Whether it must know P, so that rollouts are drawn even where no signal trains on them."""

    @property
    def signal_names(self) -> tuple[str, ...]:
        """Every signal it can choose."""
        raise NotImplementedError

    def coefficients(self, success_rate: float | None, has_demonstration: bool) -> dict[str, float]:
        """Coefficient of each chosen signal; a signal that is left out or 0 gives no rows.

        `success_rate` is P, the mean reward of the question's rollouts, None where none were drawn (never so if
        `needs_success_rate`).
        """
        raise NotImplementedError
