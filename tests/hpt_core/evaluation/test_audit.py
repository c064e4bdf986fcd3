"""Three graders over the same samples, with the real verifiers."""

import pyarrow as pa
import pytest

from hpt_core.evaluation.audit import GRADERS, audit, counts
from hpt_core.schemas import QUESTIONS, SAMPLES, VERDICTS
from hpt_core.verifiers.pool import VerifierPool

OPTIONS = "Which?\n\nA) iron\nB) gold"
ASKED = [  # id, kind, question, gold, responses
    ("half", "math", "?", "\\frac{1}{2}", ["\\boxed{\\frac{1}{2}}", "\\boxed{0.5}", "\\boxed{3}"]),
    ("plain", "math", "?", "$7$", ["The answer is 7", "\\boxed{ 7 }", "\\boxed{8}"]),
    ("pick", "choice", OPTIONS, "B", ["\\boxed{B}", "\\boxed{gold}", "\\boxed{A}"]),
]
EXPECTED = {
    ("half", 0): ("ours", "string", "math_verify"),
    ("half", 1): ("ours", "math_verify"),
    ("half", 2): (),
    ("plain", 0): ("math_verify",),
    ("plain", 1): ("ours", "string", "math_verify"),
    ("plain", 2): (),
    ("pick", 0): ("ours", "string"),
    ("pick", 1): ("ours",),
    ("pick", 2): (),
}


def tables():
    questions = [
        {"question_id": q, "question": text, "gold": gold, "kind": kind, "family": ""}
        for q, kind, text, gold, _ in ASKED
    ]
    samples = [
        {
            "benchmark": "b", "question_id": q, "sample_index": i, "seed": 1, "response": response, "tokens": 1,
            "prompt_tokens": 1, "finish_reason": "stop",
        }
        for q, *_, responses in ASKED
        for i, response in enumerate(responses)
    ]  # fmt: skip
    return pa.Table.from_pylist(questions, schema=QUESTIONS), pa.Table.from_pylist(samples, schema=SAMPLES)


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(workers=1) as pool:
        yield pool


def test_every_grader_gives_its_verdict(pool):
    seen = []
    audited = audit(pool, *tables(), None, lambda *event: seen.append(event))
    assert {(a.question_id, a.sample_index): a.passed_by for a in audited} == EXPECTED
    assert [(a.question_id, a.sample_index) for a in audited if a.disputed] == [("half", 1), ("plain", 0), ("pick", 1)]
    assert [a.math_verify for a in audited if a.question_id == "pick"] == [None] * 3
    assert [a.ours for a in audited if a.question_id == "plain"] == ["no_answer", "correct", "incorrect"]
    assert [a.extracted for a in audited if a.question_id == "pick"] == ["B", "B", "A"]
    assert seen == [(9, 9)]


def test_counts_name_every_set_of_graders(pool):
    found = counts(audit(pool, *tables(), None))
    assert {name: n for name, n in found.items() if n} == {
        "agree": 6,
        "ours": 1,
        "math_verify": 1,
        "ours+math_verify": 1,
    }
    assert list(found) == [
        "agree", "math_verify", "ours", "string", "ours+math_verify", "ours+string", "string+math_verify",
    ]  # fmt: skip
    assert sum(found.values()) == 9
    assert {name for key in found for name in key.split("+")} == {"agree", *GRADERS}


def test_stored_verdicts_are_used_and_missing_ones_are_graded(pool):
    stored = [
        {"benchmark": "b", "question_id": "half", "sample_index": 2, "outcome": "correct", "extracted": "as stored"}
    ]
    audited = audit(pool, *tables(), pa.Table.from_pylist(stored, schema=VERDICTS))
    ours = {(a.question_id, a.sample_index): (a.ours, a.extracted) for a in audited}
    assert ours["half", 2] == ("correct", "as stored")
    assert ours["half", 1] == ("correct", "0.5")
    assert [a.passed_by for a in audited if a.disputed][1] == ("ours",)
