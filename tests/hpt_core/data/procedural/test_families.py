"""Every problem family: solutions checked step by step by other code, splits, determinism, guessing."""

import re
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from hpt_core.data.procedural import VERSION, _problems
from hpt_core.data.procedural.base import DIGITS, WIDTH, Family, Problem, Split
from hpt_core.errors import ConfigError, DataError
from hpt_core.verifiers.base import Outcome
from hpt_core.verifiers.math import Math

FAMILIES = Family.plugin_kind.names
NEXT = dict(zip("123456789", "234567891", strict=True))
BEFORE = {after: digit for digit, after in NEXT.items()}
DOUBLE = dict(zip("123456789", "246813579", strict=True))
MIRROR = dict(zip("123456789", "987654321", strict=True))
HALF = {double: digit for digit, double in DOUBLE.items()}
PARTNER = dict(zip("123456789", "214365879", strict=True))
TABLES = {"+": NEXT, "-": BEFORE, "d": DOUBLE, "h": HALF, "m": MIRROR, "p": PARTNER}
SYMBOLS = {
    "increase": "+",
    "decrease": "-",
    "double": "d",
    "mirror": "m",
    "halve": "h",
    "partner": "p",
    "mixed": "+-dhmp",
    "whole": "+-dhmp",
}


PINNED = {
    "decrease": "-34 -23 77159",
    "double": "d34 d23 77159",
    "increase": "+34 +23 77159",
    "mirror": "m34 m23 77159",
    "mixed": "+34 +23 77159",
    "halve": "h34 h23 77159",
    "partner": "p34 p23 77159",
    "whole": "+34 +15 77159",
}


def draw(names: Sequence[str], difficulties: Sequence[int], rows: int, seed: int, split: Split) -> list[Problem]:
    """Problems of the families called `names`."""
    return _problems.sample([Family.from_value(name) for name in names], difficulties, rows, seed, split)


def interpret(operation: str, state: str) -> str:
    """An operation by tables of characters, independent of the generators."""
    symbol, first, last = operation[0], int(operation[1]), int(operation[2])
    before, inside, after = state[: first - 1], state[first - 1 : last], state[last:]
    return before + "".join(TABLES[symbol][digit] for digit in inside) + after


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("difficulty", [1, 2, 3, 4])
def test_every_step_of_the_solution_holds(family: str, difficulty: int) -> None:
    for problem in draw((family,), (difficulty,), 200, 7, "train"):
        *operations, state = problem.question.split(" ")
        *steps, boxed = problem.solution.split("\n")
        assert len(operations) == len(steps) == difficulty
        assert re.fullmatch(f"[{DIGITS}]{{{WIDTH}}}", state)
        start = state
        for operation, step in zip(operations, steps, strict=True):
            assert operation[0] in SYMBOLS[family]
            state = interpret(operation, state)
            assert step == f"{operation} {state}"
        assert boxed == f"\\boxed{{{state}}}"
        assert problem.answer == state != start


@pytest.mark.parametrize("family", FAMILIES)
def test_same_random_numbers_give_the_same_problem(family: str) -> None:
    generator = Family.from_value(family)
    assert generator.name == family
    assert [generator.generate(Random(5), d) for d in (1, 4)] == [generator.generate(Random(5), d) for d in (1, 4)]


def test_the_generator_version_fixes_these_problems() -> None:
    """Whoever changes a problem by what no family's own module says raises VERSION, and then this table."""
    assert VERSION == 1
    assert {f: Family.from_value(f).generate(Random(0), 2).question for f in FAMILIES} == PINNED


@pytest.mark.parametrize("family", FAMILIES)
def test_splits_share_no_instance(family: str) -> None:
    keys = {
        split: {p.key for p in draw((family,), (1, 2), 2000, seed, split)}
        for seed, split in ((1, "pretrain"), (1, "train"), (1, "test"))
    }
    assert {len(found) for found in keys.values()} == {2000}
    assert not keys["pretrain"] & keys["train"]
    assert not (keys["pretrain"] | keys["train"]) & keys["test"]


def test_splits_hold_across_families() -> None:
    """A mixed chain may look like a chain of one kind; the instance, not the family, decides its split."""
    mixed = {p.question: p.split for p in draw(("mixed",), (1,), 3000, 1, "test")}
    plain = {p.question for p in draw(("increase", "mirror"), (1,), 3000, 1, "pretrain")}
    assert set(mixed.values()) == {"test"}
    assert not set(mixed) & plain


def test_fewer_rows_are_a_prefix_of_more_rows() -> None:
    few = draw(("double", "mirror"), (1, 3, 3), 11, 4, "train")
    assert few == draw(("double", "mirror"), (1, 3, 3), 60, 4, "train")[:11]
    assert [(p.family, p.difficulty) for p in few[:6]] == [
        ("double", 1),
        ("mirror", 1),
        ("double", 3),
        ("mirror", 3),
        ("double", 3),
        ("mirror", 3),
    ]
    assert few != draw(("double", "mirror"), (1, 3, 3), 11, 5, "train")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("difficulty", [1, 2, 3, 4])
def test_guessing_is_worthless(family: str, difficulty: int) -> None:
    """Without carrying out an operation: the likeliest answer, the start itself, its digits in any order."""
    problems = draw((family,), (difficulty,), 800, 3, "train")
    assert Counter(p.answer for p in problems).most_common(1)[0][1] / len(problems) < 0.02
    assert not any(p.answer == p.question.split(" ")[-1] for p in problems)
    rng = Random(1)
    shuffled = sum("".join(rng.sample(s, WIDTH)) == p.answer for p in problems for s in [p.question.split(" ")[-1]])
    assert shuffled / len(problems) < 0.03


@pytest.mark.parametrize("family", FAMILIES)
def test_verifier_reads_every_answer_exactly(family: str) -> None:
    verifier = Math()
    rng = Random(2)
    for problem in draw((family,), (3,), 8, 3, "test"):
        assert verifier.verify(problem.answer, problem.solution).outcome is Outcome.CORRECT
        place = rng.randrange(WIDTH)
        wrong = problem.answer[:place] + NEXT[problem.answer[place]] + problem.answer[place + 1 :]
        assert verifier.verify(problem.answer, f"\\boxed{{{wrong}}}").outcome is Outcome.INCORRECT


def test_unknown_family_lists_near_matches() -> None:
    with pytest.raises(ConfigError, match="did you mean 'mirror'"):
        Family.plugin_kind.load("miror")


class Only(Family):
    """A family of two instances."""

    name = "only"

    def generate(self, rng: Random, difficulty: int) -> Problem:
        question = rng.choice(["a", "b"])
        return Problem(self.name, difficulty, question, "\\boxed{1}", "1")


def test_exhausted_family_is_an_error() -> None:
    stream = _problems.stream(Only(), 2, 0, "pretrain", set())
    with pytest.raises(DataError, match="family 'only' has no more instances of difficulty 2 in the split 'pretrain'"):
        list(stream)
