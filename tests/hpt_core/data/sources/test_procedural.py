"""The procedural source: rows as the contract wants them, and what its fingerprint takes."""

import pytest
from pydantic import ValidationError

from hpt_core.data.procedural import _draw
from hpt_core.data.sources.base import SourceRow
from hpt_core.data.sources.procedural import ProceduralProblems


def rows(config: ProceduralProblems) -> list[SourceRow]:
    return [row for row in config.read(None) if isinstance(row, SourceRow)]


def test_rows_hold_question_answer_and_worked_solution() -> None:
    found = rows(ProceduralProblems(rows=60, seed=1))
    assert len(found) == 60
    for row, problem in zip(
        found, _draw.draw(ProceduralProblems(rows=60, seed=1).families, (2, 3, 4), 60, 1, "train"), strict=True
    ):
        assert (row.question, row.gold, row.demonstration) == (problem.question, problem.answer, problem.solution)
        assert (row.kind, row.family) == ("math", problem.family)
    assert len({row.question_id for row in found}) == 60
    assert len({row.family for row in found}) == 6


def test_data_to_pretrain_and_to_train_share_no_question() -> None:
    base = {row.question for row in rows(ProceduralProblems(rows=3000, seed=1, split="pretrain"))}
    post = {row.question for row in rows(ProceduralProblems(rows=1000, seed=1, split="train"))}
    assert (len(base), len(post)) == (3000, 1000)
    assert not base & post


def test_test_split_cannot_be_trained_on() -> None:
    with pytest.raises(ValidationError, match="'pretrain' or 'train'"):
        ProceduralProblems.model_validate({"rows": 10, "seed": 1, "split": "test"})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("families", ("miror",), "unknown family 'miror'; did you mean 'mirror'"),
        ("difficulties", (0, 1), "difficulties count from 1, not 0"),
        ("rows", 0, "greater than or equal to 1"),
    ],
)
def test_wrong_fields_fail_at_load(field: str, value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ProceduralProblems.model_validate({"rows": 10, "seed": 1, field: value})


def test_identity_holds_parameters_and_generator_versions() -> None:
    identity = ProceduralProblems(rows=10, seed=1, families=("double", "mirror")).content(None)
    assert identity["versions"] == {"double": 1, "mirror": 1}
    assert identity["rows"] == 10 and identity["seed"] == 1 and identity["split"] == "train"
