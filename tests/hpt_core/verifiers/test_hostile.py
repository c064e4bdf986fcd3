"""No input hangs or kills the grader: each input gets a verdict, and the pool continues."""

import os
import time

import pytest

from hpt_core.verifiers import Outcome, Verdict
from hpt_core.verifiers._worker import LONGEST_SHOWN
from hpt_core.verifiers.pool import Item, VerifierPool
from hpt_core.verifiers.references import REFERENCES

HOSTILE = {
    "power tower": "9^{9^{9^9}}",
    "Python power": "9**9**9",
    "exponential tower": "e^{e^{e^{e^{e}}}}",
    "nested powers": "2" + "^{2" * 200 + "}" * 200,
    "nested roots of powers": "\\sqrt{2^{" * 100 + "2" + "}}" * 100,
    "power of a sum": "(x+y+z+1)^{9999}",
    "power of powers": "((10^{9})^{9})^{9^{9}}",
    "negative tower": "10^{-10^{10}}",
    "exponent": "1e999999999",
    "long exponent": "1e9999",
    "factorial": "(10^{9})!",
    "nested factorials": "((9!)!)!",
    "binomial": "\\binom{10^{9}}{5\\cdot 10^{8}}",
    "large sum": "\\sum_{k=1}^{10^{9}} \\frac{1}{k^2+k}",
    "large product": "\\prod_{k=1}^{10^{9}} k",
    "integral": "\\int_0^{10^9} \\sin(x^{x^x}) dx",
    "limit": "\\lim_{x\\to 0} \\frac{\\sin(x^{100})^{100}}{x^{10000}}",
    "megabyte of digits": "1" * 1_000_000,
    "megabyte of terms": "x+" * 500_000 + "1",
    "megabyte of braces": "{}" * 500_000,
    "megabyte of commands": "\\frac" * 200_000,
    "long fraction": "\\frac{" + "7" * 1900 + "}{3}",
    "long period": "0.\\overline{" + "7" * 390 + "}",
    "long thousands": "1" + ",000" * 1500,
    "long list": "1," * 3000 + "1",
    "long word": "a" * 7900,
    "many words": "a " * 2500 + "1",
    "many texts": "\\text{a b}" * 500,
    "many units": "5" + "\\text{a}" * 700 + "!",
    "many bare units": "6 " + "cm " * 2000,
    "many signs": "1\\pm 1," * 300,
    "many unions": "(0,1)\\cup" * 500 + "(2,3)",
    "many relations": "1<" * 2000 + "2",
    "many equations": "=" * 3000,
    "many carets": "x" + "^" * 1000,
    "many subscripts": "x" + "_" * 1000,
    "many degrees": "^\\circ" * 500,
    "spaces": "1" + " " * 7000 + "x",
    "deep groups": "{" * 3000 + "1" + "}" * 3000,
    "deep brackets": "(" * 3000 + "1" + ")" * 3000,
    "deep sets": "\\{" * 2000 + "1" + "\\}" * 2000,
    "deep roots": "\\sqrt{" * 500 + "2" + "}" * 500,
    "deep fractions": "\\frac{1}{" * 300 + "2" + "}" * 300,
    "deep left and right": "\\left(" * 1000 + "1" + "\\right)" * 1000,
    "deep matrices": "\\begin{pmatrix}" * 50 + "1" + "\\end{pmatrix}" * 50,
    "wide matrix": "\\begin{pmatrix}" + "1&" * 2000 + "1\\end{pmatrix}",
    "unbalanced brackets": "([{)]}",
    "closed first": ")(",
    "unclosed group": "\\left(1",
    "only dollars": "$$$$",
    "only spacing": "\\,\\;\\!",
    "backslashes": "\\\\" * 500,
    "emoji": "🤖五",
    "right to left": "\u202e6\u202c",
    "combining marks": "5" + "\u0301" * 3000,
    "superscripts": "x²³⁴⁵",
    "zero width": "5\u200b7",
    "null byte": "5\x00",
    "null bytes": "\x00" * 5000,
    "control characters": "6" + "".join(map(chr, range(32))),
    "lone surrogate": "\ud800",
    "code": "__import__('os').system('touch hpt_pwned')",
    "code in eval": "eval(\"__import__('os').system('touch hpt_pwned')\")",
    "code in sympify": "sympify(\"__import__('os').system('touch hpt_pwned')\")",
    "code in S": 'S(\'__import__("os").system("touch hpt_pwned")\')',
    "code in a lambda": "(lambda: open('hpt_pwned','w'))()",
    "code in text": "\\text{exec(\"open('hpt_pwned','w')\")}",
    "code in an operator": "\\operatorname{__import__}('os').system('touch hpt_pwned')",
    "attributes": "().__class__.__bases__[0].__subclasses__()",
    "globals": "Symbol('x').func.__globals__",
    "TeX writes": "\\immediate\\write18{touch hpt_pwned}",
    "TeX reads": "\\input{/etc/passwd}",
    "TeX macros": "\\def\\a{\\a\\a}\\a",
    "format strings": "%s%n{0.__class__}",
}
CUT_OFF = {
    "open boxes": "\\boxed{" * 100_000,
    "open boxes with text": "\\boxed{5" * 100_000,
    "half a command": "\\boxed{\\frac{1}{2",
    "an escaped end": "\\boxed{5\\",
}
RESPONSES = {
    "open braces": "{" * 500_000,
    "letters": "a" * 3_000_000,
    "thoughts": "</think>" * 100_000 + "\\boxed",
    "statements": "the answer is " * 100_000,
    "stars": "*" * 1_000_000,
}
QUESTION = "Which?\n\n" + "\n".join(
    f"{label}) {text}" for label, text in zip("ABCD", ("a" * 5000, "5", "(", "\\"), strict=True)
)
SECONDS = 30
"""By the clock of a crowded machine; a verdict takes a second of CPU at most."""


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(workers=2, timeout_s=0.5) as pool:
        yield pool


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_get_a_verdict(pool, name):
    response = f"\\boxed{{{HOSTILE[name]}}}"
    asked = [Item("math", gold, response) for gold in ("5", "x^2+\\frac{1}{y}", "\\{1,2\\}")]
    started = time.monotonic()
    verdicts = pool.verify([*asked, Item("choice", "A", response, QUESTION)])
    assert {v.outcome for v in verdicts} <= {Outcome.INCORRECT, Outcome.TIMEOUT, Outcome.CRASH}
    assert all(v.extracted is not None and len(v.extracted) <= LONGEST_SHOWN + 1 for v in verdicts)
    assert time.monotonic() - started < len(verdicts) * SECONDS
    assert pool.verify([Item("math", "5", "\\boxed{5}")]) == [Verdict(Outcome.CORRECT, "5", 1.0)]
    assert not os.path.lexists("hpt_pwned")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_gold_answers_get_a_verdict(pool, name):
    gold = HOSTILE[name]
    verdicts = pool.verify([Item("math", gold, "\\boxed{5}"), Item("choice", gold, "\\boxed{A}", gold)])
    assert verdicts[0].outcome in (Outcome.GOLD_ERROR, Outcome.INCORRECT, Outcome.TIMEOUT, Outcome.CRASH)
    assert verdicts[1].outcome in (Outcome.GOLD_ERROR, Outcome.INCORRECT)
    assert not os.path.lexists("hpt_pwned")


@pytest.mark.parametrize("name", RESPONSES)
def test_hostile_responses_hold_no_answer(pool, name):
    asked = [Item("math", "5", RESPONSES[name]), Item("choice", "A", RESPONSES[name], QUESTION)]
    assert pool.verify(asked) == [Verdict(Outcome.NO_ANSWER, None, 0.0)] * 2


@pytest.mark.parametrize("name", CUT_OFF)
def test_boxes_that_are_cut_off_are_incorrect(pool, name):
    asked = [Item("math", "5", f"\\boxed{{5}} {CUT_OFF[name]}"), Item("choice", "A", CUT_OFF[name], QUESTION)]
    assert [verdict.outcome for verdict in pool.verify(asked)] == [Outcome.INCORRECT, Outcome.NO_ANSWER]


@pytest.mark.slow
def test_graders_that_hang_are_killed_too(pool):
    """Math-Verify's defaults on the same answers: it has no limit of its own inside one long call."""
    names = ("power tower", "large sum", "nested factorials", "deep groups", "megabyte of terms", "null byte", "code")
    asked = [Item(REFERENCES["math_verify"], "5", f"\\boxed{{{HOSTILE[name]}}}") for name in names]
    assert len(pool.verify(asked)) == len(asked)
    assert pool.verify([Item("math", "5", "\\boxed{5}")]) == [Verdict(Outcome.CORRECT, "5", 1.0)]
    assert not os.path.lexists("hpt_pwned")
