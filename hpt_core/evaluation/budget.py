"""Budgets of an evaluation, and what it has spent."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import Field, model_validator

from hpt_core.base import Frozen
from hpt_core.errors import BudgetError


class Prices(Frozen):
    """Prices of resources, in any currency."""

    hour: float = Field(0.0, ge=0)
    """Price of an hour of one GPU, or of the machine if it has none."""
    million_tokens: float = Field(0.0, ge=0)
    """Price of a million generated tokens, at an endpoint that bills them."""
    million_prompt_tokens: float = Field(0.0, ge=0)
    """Price of a million prompt tokens. The prompt counts once per response."""

    def __bool__(self) -> bool:
        return bool(self.hour or self.million_tokens or self.million_prompt_tokens)


@dataclass(frozen=True)
class Spent:
    """Resources spent on samples."""

    tokens: int = 0
    """Generated tokens."""
    prompt_tokens: int = 0
    seconds: float = 0.0
    """Sampling time, summed over slices, without engine startup."""

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.tokens + other.tokens, self.prompt_tokens + other.prompt_tokens, self.seconds + other.seconds)

    def cost(self, prices: Prices) -> float:
        """Cost in the prices' currency."""
        return (
            self.seconds / 3600 * prices.hour
            + self.tokens / 1e6 * prices.million_tokens
            + self.prompt_tokens / 1e6 * prices.million_prompt_tokens
        )


class Budget(Frozen):
    """Limits for one model's samples over all attempts. At a limit, samples are kept; a larger budget continues."""

    tokens: float | None = Field(None, gt=0)
    """Maximum generated tokens."""
    hours: float | None = Field(None, gt=0)
    """Maximum hours of sampling, summed over slices."""
    cost: float | None = Field(None, gt=0)
    """Maximum cost, computed from `prices`."""
    prices: Prices = Prices()
    """Prices of the samples, from which `cost` is computed."""

    @model_validator(mode="after")
    def _cost_has_prices(self) -> "Budget":
        if self.cost is not None and not self.prices:
            raise ValueError("cost is limited and every price is 0; set prices.hour or prices.million_tokens")
        return self

    @property
    def limited(self) -> bool:
        """Whether any limit is set."""
        return any(limit is not None for limit in (self.tokens, self.hours, self.cost))

    def reached(self, spent: Spent) -> str | None:
        """Name of the first reached limit, or None."""
        return next((name for name, limit, used in self._uses(spent) if limit is not None and used >= limit), None)

    def left(self, spent: Spent, parts: int = 1) -> "Budget":
        """The budget that remains for each of `parts` after `spent`. Raises BudgetError if nothing remains."""
        if name := self.reached(spent):
            raise used_up(name)
        rest = {name: (limit - used) / parts for name, limit, used in self._uses(spent) if limit is not None}
        return self.model_copy(update=rest)

    def _uses(self, spent: Spent) -> Iterable[tuple[str, float | None, float]]:
        yield "tokens", self.tokens, spent.tokens
        yield "hours", self.hours, spent.seconds / 3600
        yield "cost", self.cost, spent.cost(self.prices)


def used_up(name: str) -> BudgetError:
    """The error for a reached limit."""
    return BudgetError(
        f"the budget's {name} are used up" if name != "cost" else "the budget's cost is used up",
        f"raise evaluate.budget.{name} and run again to continue; all samples are kept",
    )
