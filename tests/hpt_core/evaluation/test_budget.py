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
    ("limit", "name"), [({"tokens": 500_000}, "tokens"), ({"hours": 0.5}, "hours"), ({"cost": 8.0}, "cost")]
)
def test_a_limit_that_is_reached_names_its_field(limit, name):
    budget = Budget(prices=PRICES, **limit)
    with pytest.raises(BudgetError, match=f"budget's {name} are used up") as error:
        budget.check(SPENT)
    assert f"evaluate.budget.{name}" in error.value.remedy
    budget.check(Spent(499_999, 0, 0))


def test_a_slice_has_a_share():
    budget = Budget(tokens=1000)
    budget.check(Spent(400))
    with pytest.raises(BudgetError):
        budget.check(Spent(400), share=0.25)


def test_without_limits_nothing_is_too_much():
    Budget().check(Spent(10**12, 10**12, 1e9))


def test_a_limit_of_cost_needs_prices():
    with pytest.raises(ValidationError, match=r"set prices\.hour"):
        Budget(cost=1.0)
