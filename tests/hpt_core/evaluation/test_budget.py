"""Budgets and costs."""

import pytest
from pydantic import ValidationError

from hpt_core.errors import BudgetError
from hpt_core.evaluation.budget import Budget, Prices, Spent

PRICES = Prices(hour=2.0, million_tokens=10.0, million_prompt_tokens=1.0)
SPENT = Spent(tokens=500_000, prompt_tokens=2_000_000, seconds=1800)


def test_cost_adds_up_time_and_tokens():
    assert SPENT.cost(PRICES) == pytest.approx(1.0 + 5.0 + 2.0)
    assert Spent(1_000_000, 4_000_000, 3600) == SPENT + SPENT
    assert not Prices()


@pytest.mark.parametrize(
    ("limit", "name", "is_are"),
    [({"tokens": 500_000}, "tokens", "are"), ({"hours": 0.5}, "hours", "are"), ({"cost": 8.0}, "cost", "is")],
)
def test_a_reached_limit_names_its_field(limit, name, is_are):
    budget = Budget(prices=PRICES, **limit)
    assert budget.reached(SPENT) == name
    with pytest.raises(BudgetError, match=f"budget's {name} {is_are} used up") as error:
        budget.left(SPENT)
    assert f"evaluate.budget.{name}" in error.value.remedy
    assert budget.reached(Spent(499_999, 0, 0)) is None


def test_the_remaining_budget_is_divided():
    left = Budget(tokens=1000, hours=2.0).left(Spent(200, 0, 3600), parts=4)
    assert (left.tokens, left.hours, left.cost) == (200, 0.25, None)
    assert left.reached(Spent(199)) is None
    assert left.reached(Spent(200)) == "tokens"


def test_without_limits_nothing_is_refused():
    assert Budget().reached(Spent(10**12, 10**12, 1e9)) is None
    assert Budget().left(Spent(10**12), 3) == Budget()
    assert not Budget().limited


def test_a_limit_of_cost_needs_prices():
    with pytest.raises(ValidationError, match=r"set prices\.hour"):
        Budget(cost=1.0)
