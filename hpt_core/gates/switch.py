"""The paper's hard switch: P > gamma trains on the rollouts, P <= gamma on the demonstration (HPT, algorithm 1)."""

from typing import ClassVar, Literal

from pydantic import Field

from hpt_core.gates.base import Gate


class Config(Gate):
    """Hard switch at a success rate."""

    needs_success_rate: ClassVar[bool] = True

    name: Literal["switch"] = "switch"
    gamma: float = Field(default=0.0, ge=0, le=1)
    """Success rate above which the rollouts are trained on (Qwen2.5-Math: 0, LLaMA-3.1-8B: 2/8)."""
    above: str = "rl"
    """Signal chosen where P > gamma."""
    otherwise: str = "sft"
    """Signal chosen where P <= gamma."""

    @property
    def signal_names(self) -> tuple[str, ...]:
        """Every signal it can choose."""
        return (self.above, self.otherwise)

    def coefficients(self, success_rate: float | None, has_demonstration: bool) -> dict[str, float]:
        """alpha = 1[P > gamma], beta = 1[P <= gamma]; the signal with 0 is left out."""
        assert success_rate is not None
        return {self.above if success_rate > self.gamma else self.otherwise: 1.0}
