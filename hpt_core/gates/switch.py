"""The paper's hard switch: P > gamma trains on the rollouts, P <= gamma on the demonstration (HPT, algorithm 1).

The paper's ablations set gamma to 1/8 or 2/8, or change the offline part: `otherwise = "off"` (off-policy RL) or
`otherwise = ["sft", "off"]` (mixed).
"""

from typing import ClassVar

from pydantic import Field

from hpt_core.gates.base import Chosen, Gate, distinct


class Switch(Gate):
    """A hard switch at one success rate."""

    needs_success_rate: ClassVar[bool] = True

    gamma: float = Field(default=0.0, ge=0, le=1)
    """Success rate above which the rollouts are trained on (Qwen2.5-Math: 0, LLaMA-3.1-8B: 2/8)."""
    above: Chosen = ("rl",)
    """Signal or signals for P > gamma."""
    otherwise: Chosen = ("sft",)
    """Signal or signals for P <= gamma."""

    @property
    def signal_names(self) -> tuple[str, ...]:
        """Every signal it can choose."""
        return distinct(self.above, self.otherwise)

    def coefficients(self, success_rate: float | None, has_demonstration: bool) -> dict[str, float]:
        """alpha = 1[P > gamma], beta = 1[P <= gamma]; signals with coefficient 0 are left out."""
        assert success_rate is not None
        return dict.fromkeys(self.above if success_rate > self.gamma else self.otherwise, 1.0)
