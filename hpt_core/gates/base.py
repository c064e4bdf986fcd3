"""Base class of a gate, which chooses the signals of a question and their coefficients."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from hpt_core.plugins import PluginConfig


def _once_each(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"{list(names)} names a signal twice; give the signal a coefficient instead")
    return names


Chosen = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_once_each)]
"""Signals that are used together."""


def distinct(*chosen: tuple[str, ...]) -> tuple[str, ...]:
    """All names in order, without duplicates."""
    return tuple(dict.fromkeys(name for names in chosen for name in names))


class Gate(PluginConfig, kind="gates", package="hpt_core.gates"):
    """Chooses the signals of a question from its success rate (alpha = f(P), beta = g(P) in the paper)."""

    needs_success_rate: ClassVar[bool] = False
    """Whether the gate needs P. Then rollouts are sampled even if no signal trains on them."""

    @property
    def signal_names(self) -> tuple[str, ...]:
        """Every signal that the gate can choose."""
        raise NotImplementedError

    def coefficients(self, success_rate: float | None, has_demonstration: bool) -> dict[str, float]:
        """Coefficient of each chosen signal. A signal that is missing or 0 gives no rows.

        `success_rate` is P, the share of the question's rollouts that are correct. It is None unless
        `needs_success_rate`.
        """
        raise NotImplementedError
