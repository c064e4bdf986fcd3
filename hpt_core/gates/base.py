"""The contract of a gate: which signals a question gives, and how strongly."""

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from hpt_core.plugins import PluginConfig


def _as_list(names: Any) -> Any:
    """One name as a list of one; a list that names a signal twice is refused, since a coefficient says it better."""
    if isinstance(names, list | tuple) and len(set(map(str, names))) < len(names):
        raise ValueError(f"{list(names)} names a signal twice; give the signal a coefficient instead")
    return (names,) if isinstance(names, str) else names


Chosen = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_as_list)]
"""Signals that a question gives together; a bare name stands for a list of one."""


def distinct(*chosen: tuple[str, ...]) -> tuple[str, ...]:
    """All the names, each once, in order."""
    return tuple(dict.fromkeys(name for names in chosen for name in names))


class Gate(PluginConfig, kind="gates", package="hpt_core.gates"):
    """Chooses the signals of a question from its success rate (alpha = f(P), beta = g(P) in the paper)."""

    needs_success_rate: ClassVar[bool] = False
    """Whether it must know P, so that rollouts are sampled even where no signal trains on them."""

    @property
    def signal_names(self) -> tuple[str, ...]:
        """Every signal it can choose."""
        raise NotImplementedError

    def coefficients(self, success_rate: float | None, has_demonstration: bool) -> dict[str, float]:
        """Coefficient of each chosen signal; a signal that is left out or 0 gives no rows.

        `success_rate` is P, the share of the question's rollouts that are correct; None where there are none (never so
        if `needs_success_rate`).
        """
        raise NotImplementedError
