"""Properties that hold for any text and any number."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_core.verifiers import Outcome, get, kinds
from hpt_core.verifiers.options import options
from hpt_core.verifiers.pool import Item, VerifierPool
from hpt_core.verifiers.references import REFERENCES

VERIFIERS = {**{kind: get(kind) for kind in kinds()}, **REFERENCES}
SPELLED = (
    r"\boxed{ { } \{ \} ( ) [ ] \left( \right] \frac \sqrt \text{ \begin{pmatrix} \end{pmatrix} & \\ ^ _ + - * / = < "
    r"\le \in , ; . 1 23 4.5 1e9 \infty \cup \pm x e i \pi % \$ $ ^\circ cm and </think> answer is A B) 3 ** 'a' é ∞ 五"
)
TOKENS = st.sampled_from(SPELLED.split())
LATEX = st.lists(TOKENS, max_size=25).map(" ".join) | st.lists(TOKENS, max_size=25).map("".join)
TEXTS = LATEX | st.text(max_size=200)
NUMBERS = st.integers(-(10**9), 10**9)
WRITTEN = [
    str, lambda n: f"{n:,}", lambda n: f"{n}.0", lambda n: f"x = {n}", lambda n: f"{n}\\text{{ cm}}",
    lambda n: f"\\frac{{{2 * n}}}{{2}}", lambda n: f"${n:,}$".replace(",", "{,}"), lambda n: f"\\frac{{{-n}}}{{-1}}",
]  # fmt: skip


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(workers=2, timeout_s=2.0) as pool:
        yield pool


@given(TEXTS, TEXTS)
@pytest.mark.parametrize("name", VERIFIERS)
def test_no_text_breaks_the_extraction(name, response, question):
    answer = VERIFIERS[name].extract(response, question)
    assert answer is None or isinstance(answer, str)
    answer = VERIFIERS[name].extract(f"Hence \\boxed{{{response}}}", question)
    assert answer is None or answer


@settings(max_examples=25)
@given(st.lists(st.tuples(TEXTS, LATEX), min_size=1, max_size=40))
def test_every_text_always_gets_the_same_verdict(pool, pairs):
    items = [Item("math", gold, f"\\boxed{{{answer}}}") for gold, answer in pairs]
    verdicts = pool.verify(items)
    assert Outcome.CRASH not in {verdict.outcome for verdict in verdicts}
    assert pool.verify(items[::-1]) == verdicts[::-1]


@given(NUMBERS, NUMBERS, st.sampled_from(WRITTEN), st.sampled_from(WRITTEN))
def test_a_number_is_correct_only_if_it_equals_the_gold_answer(gold, other, write, written):
    for number in (gold, gold + 1, -gold, gold * 10, other):
        outcome = get("math").judge(write(gold), written(number))
        assert (outcome is Outcome.CORRECT) == (number == gold)


@given(st.fractions(max_denominator=10**4), st.fractions(max_denominator=10**4))
def test_a_fraction_is_correct_only_if_it_equals_the_gold_answer(gold, other):
    for number in (gold, other, -gold, gold + Fraction(1, 7), 1 / gold if gold else Fraction(1)):
        for answer in (f"\\frac{{{number.numerator}}}{{{number.denominator}}}", str(number)):
            outcome = get("math").judge(f"\\dfrac{{{gold.numerator}}}{{{gold.denominator}}}", answer)
            assert (outcome is Outcome.CORRECT) == (number == gold)


@given(st.lists(NUMBERS, min_size=2, max_size=5, unique=True), st.randoms(use_true_random=False), NUMBERS)
def test_order_counts_in_tuples_but_not_among_several_answers(numbers, generator, other):
    mixed = list(numbers)
    generator.shuffle(mixed)
    many, other_order = ", ".join(map(str, numbers)), ", ".join(map(str, mixed))
    judge = get("math").judge
    assert judge(f"\\{{{many}\\}}", other_order) is Outcome.CORRECT
    assert judge(f"({many})", f"({many})") is Outcome.CORRECT
    assert (judge(f"({many})", f"({other_order})") is Outcome.CORRECT) == (mixed == numbers)
    if other not in numbers:
        assert judge(many, ", ".join(map(str, [*mixed[1:], other]))) is Outcome.INCORRECT
    assert judge(f"\\{{{many}\\}}", ", ".join(map(str, mixed[1:]))) is Outcome.INCORRECT


@given(
    NUMBERS, st.integers(1, 10**6), st.sampled_from(["()", "[)", "(]", "[]"]), st.sampled_from(["()", "[)", "(]", "[]"])
)
def test_both_bounds_and_both_brackets_of_an_interval_count(low, width, brackets, others):
    high, judge = low + width, get("math").judge
    gold = f"{brackets[0]}{low},{high}{brackets[1]}"
    assert (judge(gold, f"{others[0]}{low}, {high}{others[1]}") is Outcome.CORRECT) == (brackets == others)
    assert judge(gold, f"{brackets[0]}{low - 1},{high}{brackets[1]}") is Outcome.INCORRECT
    assert judge(gold, f"{brackets[0]}{low},{high + 1}{brackets[1]}") is Outcome.INCORRECT
    relation = {"(": "<", "[": "\\le", ")": "<", "]": "\\le"}
    said = f"{low} {relation[others[0]]} x {relation[others[1]]} {high}"
    assert (judge(gold, said) is Outcome.CORRECT) == (brackets == others)


WORDS = (
    st.text("abcdefgh ", min_size=3, max_size=12).map(lambda text: " ".join(text.split())).filter(lambda t: len(t) > 2)
)


@given(
    st.lists(WORDS, min_size=3, max_size=10, unique=True), st.sampled_from(["ABCDEFGHIJ", (*tuple("123456789"), "10")])
)
def test_each_option_is_chosen_only_by_its_label_or_text(texts, alphabet):
    labels = list(alphabet[: len(texts)])
    question = "Which one?\n\n" + "\n".join(f"{label}) {text}" for label, text in zip(labels, texts, strict=True))
    assert options(question) == dict(zip(labels, texts, strict=True))
    verifier = get("choice")
    for gold in labels:
        for label, text in zip(labels, texts, strict=True):
            for said in (f"\\boxed{{{label}}}", f"\\boxed{{\\text{{{text.upper()}}}}}", f"The answer is {text}."):
                outcome = verifier.verify(gold, said, question).outcome
                assert (outcome is Outcome.CORRECT) == (label == gold), said
