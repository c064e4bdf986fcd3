"""Three zones of the success rate: SFT for P <= gamma, off-policy RL for gamma < P <= gamma_off, on-policy RL above.

This is the intended behavior of `gate_off` in the released code. In that code the middle zone has no effect: its marker
is lost before the loss, and its questions use SFT.
"""

from typing import ClassVar

from pydantic import Field, model_validator

from hpt_core.gates.base import Chosen, Gate, distinct


class GateOff(Gate):
    """Two thresholds of the success rate."""

    needs_success_rate: ClassVar[bool] = True

    gamma: float = Field(default=0.0, ge=-1, le=1)
    """Success rate up to which `otherwise` is used; a negative value disables that zone."""
    gamma_off: float = Field(default=0.25, ge=0, le=1)
    """Success rate up to which `between` is used. The paper states no value; 2/8 is its largest gamma."""
    above: Chosen = ("rl",)
    """Signal or signals for P > gamma_off."""
    between: Chosen = ("off",)
    """Signal or signals for gamma < P <= gamma_off."""
    otherwise: Chosen = ("sft",)
    """Signal or signals for P <= gamma."""

    @model_validator(mode="after")
    def _zones_in_order(self) -> "GateOff":
        if self.gamma_off < self.gamma:
            raise ValueError(
                f"gamma_off is {self.gamma_off} and gamma is {self.gamma}; set gamma_off to at least gamma"
            )
        return self

    @property
    def signal_names(self) -> tuple[str, ...]:
        """Every signal it can choose. Signals of an empty zone are left out."""
        return distinct(
            self.above,
            self.between if self.gamma < self.gamma_off else (),
            self.otherwise if self.gamma >= 0 else (),
        )

    def coefficients(self, success_rate: float | None, has_demonstration: bool) -> dict[str, float]:
        """1 for each signal of the zone that contains P."""
        assert success_rate is not None
        if success_rate > self.gamma_off:
            return dict.fromkeys(self.above, 1.0)
        zone = self.between if success_rate > self.gamma else self.otherwise
        return dict.fromkeys(zone, 1.0)
