"""The procedural suites: fixed questions that training data cannot contain."""

import pytest

from benchmarks.procedural import ProceduralQuestions
from benchmarks.suite import get_suite, suite_names
from hpt_core.data.procedural import _problems
from hpt_core.data.sources.procedural import ProceduralProblems as Source

SUITES = tuple(name for name in suite_names() if name.startswith("procedural_"))


def test_families_and_levels_are_in_distribution_and_three_suites_out_of_it() -> None:
    out = {name for name in SUITES if get_suite(name).group == "out"}
    assert out == {"procedural_mixed", "procedural_whole", "procedural_level_7"}
    assert len(SUITES) - len(out) == 6 + 5


def test_questions_are_independent_across_suites() -> None:
    questions = [q.question for name in SUITES for q in get_suite(name).source.read(None)]
    assert len(questions) == len(set(questions)) >= 1000


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_always_has_the_same_rows(name: str) -> None:
    suite = get_suite(name)
    questions = suite.source.read(None)
    assert len(questions) == suite.rows
    assert len({question.question_id for question in questions}) == suite.rows
    assert questions == suite.source.read(None)


@pytest.mark.parametrize("name", SUITES)
def test_no_training_split_contains_a_suites_question(name: str) -> None:
    source = get_suite(name).source
    assert isinstance(source, ProceduralQuestions)
    problems = _problems.sample(source.families, source.difficulties, source.rows, source.seed, "test")
    assert {problem.split for problem in problems} == {"test"}
    trained = {
        row.question
        for split in ("pretrain", "train")
        for row in Source(rows=2000, seed=source.seed, difficulties=source.difficulties, split=split).read(None)
    }
    assert not trained & {question.question for question in source.read(None)}


@pytest.mark.parametrize("name", SUITES)
def test_a_worked_solution_fits_the_limit_of_tokens(name: str) -> None:
    suite = get_suite(name)
    source = suite.source
    assert isinstance(source, ProceduralQuestions)
    problems = _problems.sample(source.families, source.difficulties, source.rows, source.seed, "test")
    assert max(len(problem.solution) for problem in problems) + 1 <= suite.sampling.max_tokens


def test_out_of_distribution_questions_differ_from_all_training_questions() -> None:
    trained = [row.question.split(" ")[:-1] for row in Source(rows=3000, seed=1).read(None)]
    assert {len({operation[0] for operation in chain}) for chain in trained} == {1}
    assert not any(operation.endswith("15") for chain in trained for operation in chain)
    mixed = [q.question.split(" ")[:-1] for q in get_suite("procedural_mixed").source.read(None)]
    assert sum(len({operation[0] for operation in chain}) > 1 for chain in mixed) / len(mixed) > 0.85
    whole = [q.question.split(" ")[:-1] for q in get_suite("procedural_whole").source.read(None)]
    assert {sum(operation.endswith("15") for operation in chain) for chain in whole} == {1}
