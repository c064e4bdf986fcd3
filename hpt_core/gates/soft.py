"""Mixing instead of switching: alpha rises with P from 0 at gamma_low to 1 at gamma_high, and beta = 1 - alpha.

With the defaults, alpha = P and beta = 1 - P. The paper allows any alpha = f(P), beta = g(P) (HPT, algorithm 1) but
states no soft ones, and in the released code soft coefficients do not reach the loss. The linear ramp is our choice.
"""

from typing import ClassVar

from pydantic import Field, model_validator

from hpt_core.gates.base import Chosen, Gate, distinct


class Soft(Gate):
    """A linear ramp between two success rates."""

    needs_success_rate: ClassVar[bool] = True

    gamma_low: float = Field(default=0.0, ge=0, le=1)
    """Success rate up to which the demonstration has all the weight."""
    gamma_high: float = Field(default=1.0, ge=0, le=1)
    """Success rate from which the rollouts have all the weight."""
    above: Chosen = ("rl",)
    """Signal or signals with coefficient alpha."""
    otherwise: Chosen = ("sft",)
    """Signal or signals with coefficient beta."""

    @model_validator(mode="after")
    def _is_a_ramp(self) -> "Soft":
        if self.gamma_high <= self.gamma_low:
            raise ValueError(
                f"gamma_low is {self.gamma_low} and gamma_high is {self.gamma_high}, which leaves no ramp; "
                'set gamma_high above gamma_low, or use gate "switch", which has a single threshold'
            )
        return self

    @property
    def signal_names(self) -> tuple[str, ...]:
        """Every signal it can choose."""
        return distinct(self.above, self.otherwise)

    def coefficients(self, success_rate: float | None, has_demonstration: bool) -> dict[str, float]:
        """alpha and beta. A signal that is in both lists gets their sum; signals with coefficient 0 are left out."""
        assert success_rate is not None
        alpha = min(1.0, max(0.0, (success_rate - self.gamma_low) / (self.gamma_high - self.gamma_low)))
        found: dict[str, float] = {}
        for names, weight in ((self.above, alpha), (self.otherwise, 1 - alpha)):
            for name in names:
                found[name] = found.get(name, 0.0) + weight
        return {name: weight for name, weight in found.items() if weight > 0}
