"""Responses made from gold answers: correct ones in several forms, wrong ones, unfinished ones.

A small model is rarely correct, and graders must also agree on correct responses.
"""

from collections.abc import Iterator
from typing import NamedTuple

from bench._peers.work import bare
from bench.parity import spellings
from benchmarks.suite import Question
from hpt_core.verifiers.options import options as options_of

WORK = "Working through the question step by step leads to the result.\n\n"
MATH = {
    "boxed": WORK + "Therefore the answer is $\\boxed{{{right}}}$.",
    "box alone": "\\boxed{{{right}}}",
    "second box": WORK
    + "A first guess is $\\boxed{{{wrong}}}$. It does not hold. Therefore the answer is $\\boxed{{{right}}}$.",
    "thought": "<think>\nMaybe $\\boxed{{{wrong}}}$?\n</think>\n" + WORK + "The answer is $\\boxed{{{right}}}$.",
    "sentence": WORK + "Therefore the answer is ${right}$.",
    "minerva": WORK + "Final Answer: The final answer is ${right}$. I hope it is correct.",
    "wrong": WORK + "Therefore the answer is $\\boxed{{{wrong}}}$.",
    "cut off": WORK + "Therefore the answer is $\\boxed{{{right}",
}
CHOICE = {
    "boxed": WORK + "Therefore the answer is $\\boxed{{{right}}}$.",
    "box alone": "\\boxed{{{right}}}",
    "second box": WORK
    + "A first guess is $\\boxed{{{wrong}}}$. It does not hold. Therefore the answer is $\\boxed{{{right}}}$.",
    "thought": "<think>\nMaybe $\\boxed{{{wrong}}}$?\n</think>\n" + WORK + "The answer is $\\boxed{{{right}}}$.",
    "sentence": WORK + "The answer is ({right}).",
    "line": WORK + "Answer: {right}",
    "wrong": WORK + "Therefore the answer is $\\boxed{{{wrong}}}$.",
    "cut off": WORK + "Therefore the answer is $\\boxed{{{right}",
}


class Made(NamedTuple):
    """A response made from a gold answer."""

    form: str
    question: Question
    response: str


def responses(questions: list[Question]) -> Iterator[Made]:
    """Every form for every question of a benchmark. A wrong answer is that of another question, or another label."""
    golds = [bare(one.gold) for one in questions]
    for place, one in enumerate(questions):
        right = golds[place]
        if one.kind == "choice":
            labels = list(options_of(one.question))
            wrong = labels[(labels.index(right) + 1) % len(labels)]
        else:
            turned = golds[place + 1 :] + golds[:place]
            wrong = next((other for other in turned if other != right), "-1")
        for form, template in (CHOICE if one.kind == "choice" else MATH).items():
            yield Made(form, one, template.format(right=right, wrong=wrong))


def rewritten(questions: list[Question]) -> Iterator[Made]:
    """Every gold answer of a math question, in a box, in every other notation that applies."""
    for one in questions:
        gold = bare(one.gold)
        for form, write in spellings.FORMS.items():
            if one.kind == "math" and (text := write(gold)) is not None:
                yield Made(form, one, MATH["boxed"].format(right=text))
