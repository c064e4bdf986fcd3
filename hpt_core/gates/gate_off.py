"""Three zones of the success rate: P <= gamma imitates, gamma < P <= gamma_off trains off-policy, above it on-policy.

What the released code's `gate_off` was meant to do. There the branch is dead: the marker of the middle zone is dropped
on the way to the loss, and such questions fall back to SFT.
"""

from typing import ClassVar

from pydantic import Field, model_validator

from hpt_core.gates.base import Chosen, Gate, distinct


class GateOff(Gate):
    """Two switches."""

    needs_success_rate: ClassVar[bool] = True

    gamma: float = Field(default=0.0, ge=-1, le=1)
    """Success rate up to which the demonstration is imitated; below 0 there is no such question."""
    gamma_off: float = Field(default=0.25, ge=0, le=1)
    """Success rate up to which the demonstration is trained on off-policy (the paper gives none: 2/8 is its largest
    gamma)."""
    above: Chosen = ("rl",)
    """Signal or signals chosen where P > gamma_off."""
    between: Chosen = ("off",)
    """Signal or signals chosen where gamma < P <= gamma_off."""
    otherwise: Chosen = ("sft",)
    """Signal or signals chosen where P <= gamma."""

    @model_validator(mode="after")
    def _zones_in_order(self) -> "GateOff":
        if self.gamma_off < self.gamma:
            raise ValueError(f"gamma_off is {self.gamma_off} and gamma {self.gamma}; set gamma_off to gamma or above")
        return self

    @property
    def signal_names(self) -> tuple[str, ...]:
        """Every signal it can choose; one whose zone is empty is none."""
        return distinct(
            self.above,
            self.between if self.gamma < self.gamma_off else (),
            self.otherwise if self.gamma >= 0 else (),
        )

    def coefficients(self, success_rate: float | None, has_demonstration: bool) -> dict[str, float]:
        """1 for each signal of the zone that P lies in."""
        assert success_rate is not None
        if success_rate > self.gamma_off:
            return dict.fromkeys(self.above, 1.0)
        zone = self.between if success_rate > self.gamma else self.otherwise
        return dict.fromkeys(zone, 1.0)
