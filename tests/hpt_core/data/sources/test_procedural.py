"""The procedural source: its rows and its identity."""

import itertools

import pytest
from pydantic import ValidationError

from hpt_core.code import code_of
from hpt_core.data import procedural
from hpt_core.data.procedural import _problems
from hpt_core.data.sources.base import SourceRow
from hpt_core.data.sources.procedural import ProceduralProblems


def rows(config: ProceduralProblems) -> list[SourceRow]:
    return [row for row in config.read(None) if isinstance(row, SourceRow)]


def test_rows_hold_question_answer_and_worked_solution() -> None:
    found = rows(ProceduralProblems(rows=60, seed=1))
    assert len(found) == 60
    problems = _problems.sample(ProceduralProblems(rows=60, seed=1).families, (2, 3, 4), 60, 1, "train")
    for row, problem in zip(found, problems, strict=True):
        assert (row.question, row.gold, row.demonstration) == (problem.question, problem.answer, problem.solution)
        assert (row.kind, row.family) == ("math", problem.family)
    assert len({row.question_id for row in found}) == 60
    assert len({row.family for row in found}) == 6


def test_retracted_steps_are_wrong_in_one_digit_and_the_rest_is_the_solution() -> None:
    exact, other = (rows(ProceduralProblems(rows=600, seed=1, retracted=share)) for share in (0.0, 0.2))
    retracted = 0
    for right, row in zip(exact, other, strict=True):
        assert right.demonstration is not None and row.demonstration is not None
        lines = row.demonstration.split("\n")
        assert "\n".join(line for line in lines if not line.endswith(" x")) == right.demonstration
        for line, following in itertools.pairwise(lines):
            if line.endswith(" x"):
                retracted += 1
                assert sum(a != b for a, b in zip(line.removesuffix(" x"), following, strict=True)) == 1
    # 1,800 steps, each with a chance of 0.2: four standard deviations.
    assert 292 < retracted < 428


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
        ("families", ("miror",), "unknown name 'miror' in families; did you mean 'mirror'"),
        ("difficulties", (0, 1), "difficulties count from 1, not 0"),
        ("rows", 0, "greater than or equal to 1"),
    ],
)
def test_wrong_fields_fail_at_load(field: str, value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ProceduralProblems.model_validate({"rows": 10, "seed": 1, field: value})


def test_content_holds_parameters_and_generator_version_and_the_families_count_by_their_code() -> None:
    source = ProceduralProblems(rows=10, seed=1, families=("double", "mirror"))
    content = source.content(None)
    assert content["version"] == procedural.VERSION
    assert content["families"] == ["double", "mirror"]
    assert content["rows"] == 10 and content["seed"] == 1 and content["split"] == "train"
    families = {f"hpt_core.data.procedural.{name}" for name in ("double", "mirror")}
    assert {module for module in code_of(source) if module.startswith("hpt_core.data.procedural.")} == families
