"""A response that was cut off inside its thinking has no answer."""

import pytest

from hpt_core.prompts.base import opening
from hpt_core.verifiers import Outcome, get

ANSWERS = {"math": ("5", "\\boxed{5}"), "choice": ("B", "The answer is (B).")}
CASES = [
    ("{}", "correct"),
    ("<think>so {}", "no_answer"),
    ("<think>\nso {}\n", "no_answer"),
    ("\n<think>so {}, but wait", "no_answer"),
    ("<think>so</think> {}", "correct"),
    ("so</think> {}", "correct"),
    ("<think>so {}</think>", "no_answer"),
    ("<think>so</think> {} <think>let me check", "no_answer"),
    ("<think>so</think> or <think>not</think> {}", "correct"),
    ("<think>so {}</think <", "no_answer"),
]


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize(("response", "outcome"), CASES)
def test_only_closed_thinking_is_followed_by_an_answer(kind: str, response: str, outcome: str) -> None:
    gold, answer = ANSWERS[kind]
    assert get(kind).verify(gold, response.replace("{}", answer)).outcome == outcome


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_prompts_opening_counts(kind: str) -> None:
    gold, answer = ANSWERS[kind]
    begun = opening("<|user|>Why?<|assistant|><think>\n")
    assert get(kind).verify(gold, f"{begun}so {answer}").outcome is Outcome.NO_ANSWER
    assert get(kind).verify(gold, f"{begun}so</think>{answer}").outcome is Outcome.CORRECT


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Why?<think>\n", "<think>\n"),
        ("Why?<think>", "<think>"),
        ("Why?<think>\n\n", "<think>\n\n"),
        ("Why?<think>\n\n</think>\n\n", ""),
        ("What does <think> mean?<|assistant|>", ""),
        ("What does <think> mean?<|assistant|><think>\n", "<think>\n"),
        ("Why?", ""),
        ("", ""),
    ],
)
def test_only_the_end_of_a_prompt_opens_the_thinking(prompt: str, expected: str) -> None:
    assert opening(prompt) == expected
