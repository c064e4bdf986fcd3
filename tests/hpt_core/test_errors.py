"""Near matches of names, and errors of other libraries with their whole cause."""

import pytest
from pydantic import BaseModel, ValidationError, model_validator

from hpt_core.errors import LONGEST_CAUSE, explain, last_error, near


class Settings(BaseModel):
    size: int = 1

    @model_validator(mode="after")
    def _refuse(self) -> "Settings":
        if self.size > 1:
            raise ValueError("the method gptq-x is not supported")
        return self


def refusal(**fields: object) -> ValidationError:
    try:
        Settings.model_validate(fields)
    except ValidationError as error:
        return error
    raise AssertionError


def test_a_pydantic_error_says_what_is_wrong_with_each_field() -> None:
    assert explain(refusal(size=2)) == "ValidationError: Value error, the method gptq-x is not supported"
    assert explain(refusal(size="x")).startswith("ValidationError: size: Input should be a valid integer")


def test_causes_follow_and_lines_are_joined() -> None:
    try:
        try:
            raise KeyError("weight")
        except KeyError as cause:
            raise RuntimeError("loading failed\n  in layer 3") from cause
    except RuntimeError as error:
        assert explain(error) == "RuntimeError: loading failed in layer 3 (because of KeyError: 'weight')"


def test_a_cause_that_is_repeated_is_told_once() -> None:
    try:
        try:
            raise ValueError("no room")
        except ValueError as cause:
            raise RuntimeError(f"cannot start: {cause}") from cause
    except RuntimeError as error:
        assert explain(error) == "RuntimeError: cannot start: no room"


def test_an_error_without_text_and_a_long_one() -> None:
    assert explain(RuntimeError()) == "RuntimeError: no message"
    try:
        assert LONGEST_CAUSE < 0
    except AssertionError as error:
        error.args = ()
        assert explain(error).startswith("AssertionError: no message, raised by `assert LONGEST_CAUSE < 0` in test_an_")
    assert len(explain(RuntimeError("x" * 5000))) == LONGEST_CAUSE + 1


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("MATH500", ("math500", "aime24"), "did you mean 'math500'? known: math500, aime24"),
        ("hpt", ("HPT", "grpo"), "did you mean 'HPT'? known: HPT, grpo"),
        ("aa", ("Aa", "aA"), "did you mean 'Aa' or 'aA'? known: Aa, aA"),
        ("zzz", ("math500",), "known: math500"),
    ],
)
def test_near_matches_have_any_case(name: str, known: tuple[str, ...], said: str) -> None:
    assert near(name, known) == said


REFUSED = """\
(APIServer pid=7) INFO 11-26 15:00:00 starting
(APIServer pid=7) Traceback (most recent call last):
(APIServer pid=7)   File "config.py", line 1, in create
(APIServer pid=7) pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig
(APIServer pid=7)   Value error, Unknown quantization method: no_such. [type=value_error, input_type=ArgsKwargs]
(APIServer pid=7)     For further information visit https://errors.pydantic.dev/2/v/value_error
"""


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (REFUSED, "Unknown quantization method: no_such"),
        ("ValueError: a\nRuntimeError: Engine core failed. See root cause above.", "ValueError: a"),
        ("loading\nKeyError: 'b'\nbye", "KeyError: 'b'"),
    ],
)
def test_the_last_error_in_a_log(log: str, cause: str) -> None:
    found = last_error(log.splitlines())
    assert cause in found
    assert "pid=" not in found and "errors.pydantic.dev" not in found
