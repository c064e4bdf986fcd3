"""The estimate of the remaining work of an evaluation."""

import shutil

import pytest

from hpt_core.evaluation import journal
from hpt_core.evaluation.budget import Budget, Prices
from hpt_core.evaluation.estimate import UnitEstimate, mean_of, read_all, whole
from tests.hpt_core.evaluation.test_sample import QUESTIONS_OF, K, here, plain_spec


def unit(**changed):
    fields = {
        "benchmark": "b",
        "samples": 100,
        "missing": 80,
        "responses": 80,
        "questions": 4,
        "mean_tokens": 50.0,
        "margin_tokens": 5.0,
        "prompt_tokens": 8000,
        "tokens_per_second": 100.0,
    }
    return UnitEstimate.model_validate(fields | changed)


def test_benchmarks_add_up_and_their_errors_in_quadrature():
    other = unit(missing=60, responses=60, mean_tokens=10.0, margin_tokens=20 / 3)
    found = whole([unit(), other], Budget(prices=Prices(hour=3600.0, million_tokens=1e6)))
    assert found.tokens == 80 * 50 + 60 * 10
    assert found.tokens_high - found.tokens == round((400**2 + 400**2) ** 0.5)
    assert found.tokens - found.tokens_low == found.tokens_high - found.tokens
    assert found.prompt_tokens == 16000
    assert found.seconds == 46.0
    assert found.cost == pytest.approx(46.0 + 4600)


def test_finished_samples_cost_nothing():
    found = whole([unit(missing=0, responses=0)], Budget())
    assert (found.tokens, found.tokens_high, found.prompt_tokens, found.seconds, found.cost) == (0, 0, 0, 0.0, 0.0)
    assert whole([], Budget()).tokens == 0


def test_one_question_gives_no_interval():
    assert mean_of([3.0]) == (3.0, None)
    assert mean_of([1.0, 3.0]) == (2.0, pytest.approx(12.706, abs=1e-3))
    found = whole([unit(), unit(margin_tokens=None)], Budget())
    assert (found.tokens_low, found.tokens_high) == (None, None)


def written(tmp_path, model, capsys, **changed):
    """The estimates of a pilot of two questions."""
    spec = plain_spec(tmp_path, model)
    units = [unit | changed for unit in spec.model_dump()["units"]]
    spec = spec.model_validate(spec.model_dump() | {"units": units, "pilot": 2})
    here(spec, capsys)
    found = read_all({unit.benchmark: unit.work for unit in spec.units})
    rows = {unit.benchmark: [e.row for e in journal.read(unit.work / "journal")] for unit in spec.units}
    return spec, found, rows


def test_a_pilots_estimate_matches_its_samples(tiny_model, tmp_path, capsys):
    _, found, rows = written(tmp_path, tiny_model, capsys)
    for name, unit in found.items():
        missing = K[name] * (QUESTIONS_OF[name] - 2)
        assert (unit.samples, unit.missing, unit.responses) == (K[name] * QUESTIONS_OF[name], missing, missing)
        assert unit.mean_tokens == pytest.approx(sum(row["tokens"] for row in rows[name]) / len(rows[name]))
        prompt = {row["question_id"]: row["prompt_tokens"] for row in rows[name]}
        assert unit.prompt_tokens == pytest.approx(unit.responses * sum(prompt.values()) / 2, rel=0.1)
    assert len({unit.tokens_per_second for unit in found.values()}) == 1


def test_temperature_0_samples_one_response_per_question(tiny_model, tmp_path, capsys):
    _, found, rows = written(tmp_path, tiny_model, capsys, sampling={"temperature": 0, "max_tokens": 8})
    unit = found["many"]
    assert (unit.missing, unit.responses) == (40, 10)
    assert unit.tokens == 10 * unit.mean_tokens
    assert len(rows["many"]) == 8


def test_samples_of_other_runs_do_not_enter_the_mean(tiny_model, tmp_path, capsys):
    spec, found, _ = written(tmp_path, tiny_model, capsys)
    whole_run = spec.model_copy(update={"pilot": None, "units": spec.units[:1]})
    here(whole_run, capsys)
    shutil.rmtree(tmp_path / "work" / "many")
    here(spec, capsys)
    again = read_all({unit.benchmark: unit.work for unit in spec.units})
    assert again["many"].mean_tokens == found["many"].mean_tokens
    assert (again["many"].missing, again["many"].responses) == (0, 0)
