"""The false-alarm rate of the tests over time."""

from bench.parity.alarms import measure


def test_equal_nights_give_few_alarms_and_a_weaker_model_is_noticed() -> None:
    equal = measure(nights=300, models=4, weaker=0.0, seed=3)
    # At a rate of 5 %, more than 27 of 300 nights have a chance of 0.1 %.
    assert equal["changed"] <= 27 / 300
    assert equal["worse"] <= equal["changed"]
    weaker = measure(nights=20, models=4, weaker=0.08, seed=3)
    assert weaker["noticed"] == 1.0
