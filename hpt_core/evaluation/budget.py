"""How much an evaluation may cost, and what it has cost."""

from dataclasses import dataclass

from pydantic import Field, model_validator

from hpt_core.base import Frozen
from hpt_core.errors import BudgetError


class Prices(Frozen):
    """What a model's samples cost, in any currency."""

    hour: float = Field(0.0, ge=0)
    """An hour of drawing on one slice: a GPU, or the machine."""
    million_tokens: float = Field(0.0, ge=0)
    """A million generated tokens, at an endpoint that bills them."""
    million_prompt_tokens: float = Field(0.0, ge=0)
    """A million prompt tokens, each sample's counted."""

    def __bool__(self) -> bool:
        return bool(self.hour or self.million_tokens or self.million_prompt_tokens)


@dataclass(frozen=True)
class Spent:
    """What samples have cost."""

    tokens: int = 0
    """Generated."""
    prompt_tokens: int = 0
    seconds: float = 0.0
    """Of drawing, added up over slices; the start of engines is not in it."""

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.tokens + other.tokens, self.prompt_tokens + other.prompt_tokens, self.seconds + other.seconds)

    def cost(self, prices: Prices) -> float:
        """In the prices' currency."""
        return (
            self.seconds / 3600 * prices.hour
            + self.tokens / 1e6 * prices.million_tokens
            + self.prompt_tokens / 1e6 * prices.million_prompt_tokens
        )


class Budget(Frozen):
    """Limits of one model's samples over all attempts. What is drawn by then is kept, and a larger budget goes on."""

    tokens: int | None = Field(None, ge=1)
    """Generated tokens at most."""
    hours: float | None = Field(None, gt=0)
    """Hours of drawing at most, added up over slices."""
    cost: float | None = Field(None, gt=0)
    """Cost at most, by `prices`."""
    prices: Prices = Prices()
    """What `cost` is reckoned by."""

    @model_validator(mode="after")
    def _cost_has_prices(self) -> "Budget":
        if self.cost is not None and not self.prices:
            raise ValueError("cost is limited and every price is 0; set prices.hour or prices.million_tokens")
        return self

    def check(self, spent: Spent, share: float = 1.0) -> None:
        """Raise BudgetError where one of the limits is reached; a slice has a share of each."""
        for name, limit, used in (
            ("tokens", self.tokens, spent.tokens),
            ("hours", self.hours, spent.seconds / 3600),
            ("cost", self.cost, spent.cost(self.prices)),
        ):
            if limit is not None and used >= limit * share:
                raise BudgetError(
                    f"the budget's {name} are used up: {used:,.6g} of {limit * share:,.6g}",
                    f"raise evaluate.budget.{name} and run again to go on; what was drawn is kept",
                )
