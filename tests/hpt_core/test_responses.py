"""Responses that are all alike."""

import pytest

from hpt_core.responses import collapsed


@pytest.mark.parametrize(
    ("questions", "responses", "reasons", "expected"),
    [
        ("ab", ["", " \n"], ["stop", "stop"], ["empty"]),
        ("ab", ["", ""], ["length", "length"], ["empty", "cut at the token limit"]),
        ("ab", ["<think>\n", "<think>\n "], ["stop", "stop"], ["empty"]),  # the prompt opens the thinking
        ("ab", ["<think>\n!", "<think>\n"], ["stop", "stop"], []),
        ("ab", ["!!", "!!"], ["length", "length"], ["identical", "cut at the token limit"]),
        ("ab", ["!!", "!!"], ["length", "stop"], ["identical"]),
        ("aa", ["4", "4"], ["stop", "stop"], []),  # one question, at temperature 0
        ("ab", ["4", ""], ["stop", "stop"], []),
        ("ab", ["4", "5"], ["length", "length"], ["cut at the token limit"]),
        ("ab", ["4", "5"], ["repetition", "length"], []),
        ("", [], [], []),
    ],
)
def test_what_all_responses_have_in_common(
    questions: str, responses: list[str], reasons: list[str], expected: list[str]
) -> None:
    assert collapsed(questions, responses, reasons) == expected
