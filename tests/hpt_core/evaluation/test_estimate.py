"""What is left of an evaluation, from the estimates of its benchmarks."""

import pytest

from hpt_core.evaluation.budget import Budget, Prices
from hpt_core.evaluation.estimate import UnitEstimate, mean_of, whole


def unit(**changed):
    fields = {
        "benchmark": "b",
        "samples": 100,
        "missing": 80,
        "questions": 4,
        "mean_tokens": 50.0,
        "stderr_tokens": 5.0,
        "prompt_tokens": 8000,
        "tokens_per_second": 100.0,
    }
    return UnitEstimate.model_validate(fields | changed)


def test_benchmarks_add_up_and_their_errors_in_quadrature():
    other = unit(missing=60, mean_tokens=10.0, stderr_tokens=20 / 3)
    found = whole([unit(), other], Budget(prices=Prices(hour=3600.0, million_tokens=1e6)))
    assert found.tokens == 80 * 50 + 60 * 10
    assert found.tokens_high - found.tokens == round(1.96 * (400**2 + 400**2) ** 0.5)
    assert found.tokens - found.tokens_low == found.tokens_high - found.tokens
    assert found.prompt_tokens == 16000
    assert found.seconds == 46.0
    assert found.cost == pytest.approx(46.0 + 4600)


def test_what_is_finished_costs_nothing():
    found = whole([unit(missing=0)], Budget())
    assert (found.tokens, found.tokens_high, found.prompt_tokens, found.seconds, found.cost) == (0, 0, 0, 0.0, 0.0)
    assert whole([], Budget()).tokens == 0


def test_one_question_gives_no_error():
    assert mean_of([3.0]) == (3.0, None)
    assert mean_of([1.0, 3.0]) == (2.0, 1.0)
