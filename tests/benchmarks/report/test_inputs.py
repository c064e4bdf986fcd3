from collections.abc import Callable

import pytest
from pydantic import ValidationError

from benchmarks.report.inputs import ReportInputs

Make = Callable[..., ReportInputs]


def test_a_spec_round_trips_through_json(hand_inputs: Make) -> None:
    inputs = hand_inputs(notes=("One.",))
    assert ReportInputs.model_validate_json(inputs.model_dump_json()) == inputs
    assert inputs.measured_until_text == "2026-01-31 06:00 UTC"
    assert inputs.baseline_name == "model.base"


def test_wrong_names_are_refused_with_near_matches(hand_inputs: Make) -> None:
    good = hand_inputs()
    with pytest.raises(ValidationError, match=r"did you mean 'train\.hpt'"):
        hand_inputs(baseline="train.htp")
    with pytest.raises(ValidationError, match="given twice"):
        hand_inputs(models=(good.models[0], good.models[0]))
    with pytest.raises(ValidationError, match="unknown benchmark 'aime24'"):
        hand_inputs(suites=good.suites[1:])
    with pytest.raises(ValidationError, match="no model has a result"):
        hand_inputs(models=tuple(m.model_copy(update={"results": {}}) for m in good.models))
    with pytest.raises(ValidationError, match="timezone"):
        hand_inputs(measured_until="2026-01-31T06:00:00")
