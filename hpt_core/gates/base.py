"""Base class of a gate, which chooses the signals of a question and their coefficients."""

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from hpt_core.plugins import PluginConfig


def _as_list(names: Any) -> Any:
    """Convert a single name to a list. Refuse a list that names a signal twice."""
    if isinstance(names, list | tuple) and len(set(map(str, names))) < len(names):
        raise ValueError(f"{list(names)} names a signal twice; give the signal a coefficient instead")
    return (names,) if isinstance(names, str) else names


Chosen = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_as_list)]
"""Signals that are used together. A single name is the same as a list with one name."""


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
