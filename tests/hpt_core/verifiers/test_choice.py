"""Multiple choice. Real endings of responses, and ways of naming an option or not, are in choice_cases.json."""

import json
import time
from pathlib import Path

import pytest

from hpt_core.verifiers import Outcome, get
from hpt_core.verifiers.options import options

TABLE = json.loads((Path(__file__).parent / "choice_cases.json").read_text(encoding="utf-8"))
LABELS = [*"ABCDEFGHIJ"]
CASES = [
    (r"so \boxed{C}", "C"),
    (r"\boxed{c}", "C"),
    (r"\boxed{\text{(C)}}", "C"),
    (r"\boxed{\textbf{C}}", "C"),
    (r"\boxed{C.}", "C"),
    (r"\boxed{C. The mitochondrion}", "C"),
    (r"\boxed{(C) the mitochondrion}", "C"),
    (r"\boxed{C) 42}", "C"),
    (r"\boxed{C: 42}", "C"),
    (r"\boxed{Option C}", "C"),
    (r"\boxed{3}", "3"),
    (r"\boxed{A} or \boxed{B}", "B"),
    (r"The answer is A. Hence \boxed{B}", "B"),
    (r"<think>\boxed{A}</think> The correct answer is (D).", "D"),
    ("The answer is C", "C"),
    ("The answer is (c).", "C"),
    ("**Answer:** C", "C"),
    ("**Answer: C**", "C"),
    ("Answer: A, then again the answer is: B", "B"),
    ("The final answer is $D$.", "D"),
    (r"the answer would be \text{(E)}", "E"),
    ("the answer is option B", "B"),
    ("Option B is correct.", "B"),
    ("The answer is A.", "A"),
    ("B", "B"),
    ("(J)", "J"),
    (r"\boxed{42}", "42"),
    (r"\boxed{AB}", "AB"),
    (r"\boxed{A, B}", "A, B"),
    ("The answer is A dog.", None),
    ("The answer is 3.5", None),
    ("The answer is Democracy.", None),
    ("I cannot tell.", None),
    (r"\boxed{}", None),
    (r"<think>The answer is A.</think> Who knows?", None),
    ("", None),
]


@pytest.mark.parametrize(("response", "extracted"), CASES)
def test_extraction(response, extracted):
    assert get("choice").extract(response) == extracted


@pytest.mark.parametrize(
    ("gold", "response", "outcome"),
    [
        ("C", r"\boxed{c}", Outcome.CORRECT),
        ("c", r"\boxed{C}", Outcome.CORRECT),
        ("(C)", r"\boxed{C}", Outcome.CORRECT),
        ("2", "The answer is 2", Outcome.CORRECT),
        ("C", r"\boxed{D}", Outcome.INCORRECT),
        ("C", r"\boxed{the mitochondrion}", Outcome.INCORRECT),
        ("C", "no idea", Outcome.NO_ANSWER),
        ("", r"\boxed{C}", Outcome.GOLD_ERROR),
        ("K", r"\boxed{K}", Outcome.GOLD_ERROR),
        ("7", r"\boxed{7}", Outcome.CORRECT),
        ("10", r"\boxed{10}", Outcome.CORRECT),
        ("10", r"\boxed{1}", Outcome.INCORRECT),
        ("1", "The answer is 10.", Outcome.INCORRECT),
        ("11", r"\boxed{11}", Outcome.GOLD_ERROR),
        ("the mitochondrion", "no idea", Outcome.GOLD_ERROR),
    ],
)
def test_outcome(gold, response, outcome):
    assert get("choice").verify(gold, response).outcome is outcome


LETTERS = r"""Which of them is right?

A) the mitochondrion
B) 42
C) E. coli
D) $\frac{1}{2}$ kg
E) Salmonella"""
DIGITS = "Pick one.\n\n1) 3\n2) 5\n3) iron\n4) iron, copper"
ALIKE = "Pick one.\n\nA) pa\nB) Pa\nC) twice\nD) Twice.\nE) 2 * 3\nF) B"
TEN = "Pick one.\n\n" + "\n".join(
    f"{label}) option {name}" for label, name in zip(range(1, 11), "qwertyuiop", strict=True)
)


@pytest.mark.parametrize(
    ("question", "response", "extracted"),
    [
        (LETTERS, r"\boxed{A}", "A"),
        (LETTERS, r"\boxed{the mitochondrion}", "A"),
        (LETTERS, r"\boxed{\text{The  Mitochondrion.}}", "A"),
        (LETTERS, r"\boxed{\textbf{the mitochondrion}}", "A"),
        (LETTERS, r"\boxed{mitochondrion}", "mitochondrion"),
        (LETTERS, r"\boxed{the mitochondrion and more}", "the mitochondrion and more"),
        (LETTERS, r"\boxed{42}", "B"),
        (LETTERS, r"\boxed{42.}", "B"),
        (LETTERS, r"\boxed{43}", "43"),
        (LETTERS, r"\boxed{\frac{1}{2}\ \text{kg}}", "D"),
        (LETTERS, r"\boxed{$\frac{1}{2}$ kg}", "D"),
        (LETTERS, r"\boxed{\frac{1}{3}\ \text{kg}}", r"\frac{1}{3}\ \text{kg}"),
        (LETTERS, r"\boxed{E. coli}", "C"),
        (LETTERS, r"\boxed{E}", "E"),
        (LETTERS, r"\boxed{E. Salmonella}", "E"),
        (LETTERS, r"\boxed{B. the mitochondrion}", "B"),
        (LETTERS, r"\boxed{3}", "3"),
        (LETTERS, r"\boxed{F}", "F"),
        (LETTERS, "The answer is the mitochondrion.", "A"),
        (LETTERS, "The answer is **the mitochondrion**.", "A"),
        (LETTERS, 'The answer is "the mitochondrion".', "A"),
        (LETTERS, "The answer is: \nthe\nmitochondrion", "A"),
        (LETTERS, "The answer is the mitochondrion of the cell.", None),
        (LETTERS, "The answer is not the mitochondrion.", None),
        (LETTERS, "The answer is E. coli.", "C"),
        (LETTERS, "The answer is E.", "E"),
        (LETTERS, "The answer is 42.", "B"),
        (LETTERS, "The answer is 42.5", None),
        (LETTERS, "The answer is 7.", "7"),
        (LETTERS, "The answer is A. No, the answer is 42.", "B"),
        (LETTERS, "The answer is 42. No, the answer is A.", "A"),
        (LETTERS, "**Answer:** Salmonella\n\nThat was it.", "E"),
        (LETTERS, "Salmonella", "E"),
        (LETTERS, r"<think>\boxed{B}</think> The answer is Salmonella", "E"),
        (DIGITS, r"\boxed{3}", "3"),
        (DIGITS, r"\boxed{5}", "2"),
        (DIGITS, r"\boxed{10}", "10"),
        (DIGITS, r"\boxed{A}", "A"),
        (DIGITS, "The answer is 3.", "3"),
        (DIGITS, "The answer is 5.", "2"),
        (DIGITS, "The answer is iron.", "3"),
        (DIGITS, "The answer is iron, copper.", "4"),
        (ALIKE, r"\boxed{Pa}", "B"),
        (ALIKE, r"\boxed{pa}", "A"),
        (ALIKE, r"\boxed{PA}", "PA"),
        (ALIKE, r"\boxed{TWICE}", "TWICE"),
        (ALIKE, r"\boxed{2 * 3}", "E"),
        (ALIKE, r"\boxed{23}", "23"),
        (ALIKE, r"\boxed{B}", "B"),
        (TEN, r"\boxed{10}", "10"),
        (TEN, r"\boxed{option p}", "10"),
        (TEN, r"\boxed{Option 10}", "10"),
        (TEN, "The answer is (10).", "10"),
    ],
)
def test_an_options_text_stands_for_its_label(question, response, extracted):
    assert get("choice").extract(response, question) == extracted


@pytest.mark.parametrize(
    ("question", "gold", "response", "outcome"),
    [
        (LETTERS, "A", r"\boxed{The mitochondrion}", Outcome.CORRECT),
        (LETTERS, "B", r"\boxed{The mitochondrion}", Outcome.INCORRECT),
        (LETTERS, "A", r"\boxed{F}", Outcome.INCORRECT),
        (LETTERS, "F", r"\boxed{F}", Outcome.GOLD_ERROR),
        (LETTERS, "1", r"\boxed{1}", Outcome.GOLD_ERROR),
        (LETTERS, "the mitochondrion", r"\boxed{A}", Outcome.GOLD_ERROR),
        (LETTERS, "A", "It is hard to say.", Outcome.NO_ANSWER),
        (TEN, "10", r"\boxed{option p}", Outcome.CORRECT),
        (TEN, "1", r"\boxed{10}", Outcome.INCORRECT),
        (DIGITS, "3", r"\boxed{3}", Outcome.CORRECT),
        (DIGITS, "1", r"\boxed{3}", Outcome.INCORRECT),
        (DIGITS, "10", r"\boxed{10}", Outcome.GOLD_ERROR),
        ("No options here.", "C", r"\boxed{c}", Outcome.CORRECT),
    ],
)
def test_outcome_with_the_question(question, gold, response, outcome):
    assert get("choice").verify(gold, response, question).outcome is outcome


LISTED = "What burns?\n\nA) ice\nB) fire\nC) snow\nD) rain"


@pytest.mark.parametrize(
    ("response", "extracted"),
    [
        ("A) ice\nB) fire\nC) snow\nD) rain", None),
        ("(A) ice\n(B) fire", None),
        ("The answer is: A) ice\nB) fire\nC) snow\nD) rain", None),
        ("1. ice\n2. fire", None),
        ("The answer is B.\n\nThe answer is: A) ice\nB) fire", "B"),
        ("The answer is C.\n\nA) is wrong because\nB) is too", "C"),
        ("B) fire", "B"),
        ("The answer is (D)\nbecause nothing else is", "D"),
    ],
)
@pytest.mark.parametrize("question", [LISTED, ""])
def test_a_list_of_options_chooses_none(question, response, extracted):
    assert get("choice").extract(response, question) == extracted


@pytest.mark.parametrize(
    ("response", "extracted"),
    [
        ("the" + " " * 3900 + "x", None),
        (r"\boxed{the" + " " * 3900 + "B}", "B"),
        (r"\boxed{A)" + "\n" + " " * 3900 + "x}", "A"),
        (r"\boxed{A)" + "\n" * 3900 + "x}", "A"),
        ("answer" + ":" * 3900 + "B", "B"),
        ("answer: A, " * 350 + "answer: B", "B"),
        ("some people " * 300 + "say. The answer is B", "B"),
        ("A)\n" * 1300, "A"),
        (r"\text" * 780, None),
    ],
)
@pytest.mark.timeout(20)
def test_white_space_and_repeated_words_are_fast(response, extracted):
    assert get("choice").extract(response, "Which?\nA) x\nB) y") == extracted


@pytest.mark.timeout(20)
def test_a_very_long_box_is_not_an_option():
    box = "the" + " " * 100_000 + "B"
    assert get("choice").verify("B", rf"\boxed{{{box}}}").outcome is Outcome.INCORRECT


@pytest.mark.parametrize(
    "response",
    [
        r"\boxed{(A) or (B)}",
        r"\boxed{(A), (C)}",
        r"\boxed{A) or B)}",
        r"\boxed{A: wrong, B: right}",
        "Answer: A, B",
        "The answer is (A) or (B).",
        "The answer is B or C.",
        "The answer is A. No, the answer is B or C.",
    ],
)
def test_several_labels_give_no_answer(response):
    assert get("choice").extract(response) not in list("ABC")


@pytest.mark.parametrize(
    ("response", "extracted"),
    [
        ("I don't think the answer is B.", None),
        ("Neither option A nor option B is correct.", None),
        ("It is false that option B is correct.", None),
        ("If the answer is B, then D would hold too.", None),
        ("The answer is D. I don't believe the answer is B.", "D"),
        ("It is not A, so the answer is B.", "B"),
        ("Not sure, but the answer is D", "D"),
        ("The answer is B... wait, actually it is C.", "C"),
        ("Some say the answer is B, but it is really C.", "C"),
        ("The answer is B-cell lymphoma.", None),
        ("The answer is A because of ATP.", "A"),
        ("The answer is A, B is wrong.", "A"),
        ("The answer is (B), as (A) is too small.", "B"),
        ("The correct option is C.", "C"),
        ('The answer is "C".', "C"),
        ("### Answer\nC", "C"),
        ("Thus, (C) is the correct answer.", "C"),
        (r"\boxed{C (the nucleus)}", "C"),
        (r"\boxed{C, the nucleus}", "C"),
        (r"\boxed{\text{The answer is C}}", "C"),
        (r'\boxed{"C"}', "C"),
        (r"\boxed{C\;}", "C"),
        (r"\boxed{\textsf{C}}", "C"),
        (r"\boxed{\left(C\right)}", "C"),
        ("I, for one, cannot tell.", None),
        ("A (very) long story.", None),
        (r"\boxed{A, B}", "A, B"),
        (r"\boxed{A) 3 and 5}", "A"),
        (r"\boxed{A) haemoglobin A and B}", "A"),
    ],
)
def test_forms_of_a_label(response, extracted):
    assert get("choice").extract(response) == extracted


def read(response, question=None):
    """The label that is read from `response`; None if what is read is no label."""
    answer = get("choice").extract(response, TABLE["questions"].get(question, ""))
    return answer if answer in (*LABELS, *map(str, range(1, 11))) else None


@pytest.mark.parametrize("case", TABLE["endings"], ids=lambda case: f"{case['style']}: {case['response'][-40:]}")
def test_endings_of_responses(case):
    assert read(case["response"], case["question"]) == case["label"]


def test_ways_of_naming_an_option():
    assert [(case, said) for case in TABLE["stated"] if (said := read(*case[1:])) != case[0]] == []


def test_sentences_that_name_no_option():
    """Negations, conditions, questions, hedges, opinions of others, lists, and letters that mean something else."""
    assert [(case, said) for case in TABLE["not_stated"] if (said := read(*case)) is not None] == []


SHOWN = ["{}", "({})", "**{}**", "**({})**", "$\\text{{{}}}$", '"{}"']


@pytest.mark.timeout(120)
def test_statements_name_their_label_and_perturbed_ones_do_not():
    """Each of the labels in each sentence: the sentence gives this label and no other, and a perturbed one does not."""
    pairs, faults, started = 0, [], time.process_time()
    for label in LABELS:
        for statement in TABLE["templates"]:
            for shown in SHOWN:
                said = statement.format(shown.format(label))
                pairs += 1
                if read(said) != label:
                    faults.append((said, read(said)))
        for perturbed in TABLE["perturbed"]:
            for other in LABELS:
                said = perturbed.format(x=label, y=other)
                pairs += other != label
                if other != label and read(said) == label:
                    faults.append((said, label))
    assert faults == []
    assert pairs > 5000
    assert time.process_time() - started < 30


@pytest.mark.parametrize(
    "phrase",
    ["answer is ", "the answer is A. ", "it's ", "I think ", "A or ", "so ", "(", "wait, no, ", "#\n", "A\n", '"A'],
)
@pytest.mark.timeout(60)
def test_a_megabyte_is_read_in_linear_time(phrase):
    question = "Which?\n\n" + "\n".join(
        f"{label}) {text}" for label, text in zip("ABCD", ("a" * 5000, "5", "(", "\\"), strict=True)
    )
    started = time.process_time()
    assert get("choice").extract(phrase * (1_000_000 // len(phrase)) + "\nSo the answer is B.", question) == "B"
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("question", "response", "extracted"),
    [
        ("", "This holds as \\boxed{E_k > h\\nu}.\n\nAnswer: B", "B"),
        ("", "Answer: B, since \\boxed{x = 5}.", "B"),
        ("", "\\boxed{}\n\nAnswer: B", "B"),
        ("", "\\boxed{x = 5}", "x = 5"),
        ("", "\\boxed{x = 5} I don't think the answer is B.", "x = 5"),
        ("", "\\boxed{C}\n\nAnswer: B", "C"),
        ("", "Answer: B. \\boxed{5}", "5"),
        ("", "Answer: A. \\boxed{A, B}", "A, B"),
        ("", "Answer: A. \\boxed{AB}", "AB"),
        ("", "Answer: A. \\boxed{(A) \\text{ or } (B)}", "(A) \\text{ or } (B)"),
        (LETTERS, "\\boxed{F}. Answer: B", "F"),
        (LETTERS, "\\boxed{3}. Answer: B", "B"),
        (LETTERS, "\\boxed{Salmonella}. Answer: B", "E"),
        (LETTERS, "\\boxed{\\text{by symmetry}}. The answer is the mitochondrion.", "A"),
        (LETTERS, "\\boxed{7}", "7"),
    ],
)
def test_a_box_without_a_label_does_not_hide_a_statement(question, response, extracted):
    assert get("choice").extract(response, question) == extracted


def test_every_option_of_real_questions_is_read(shared_data):
    faults = []
    for row in json.loads((shared_data / "benchmarks" / "gpqa_diamond.json").read_text(encoding="utf-8")):
        for label, text in options(row["prompt"]).items():
            other = "A" if label != "A" else "B"
            said = [
                f"I think it's {label}",
                f"Therefore, the answer is ({label}) {text}",
                f"Let me see.\n\n**{label}. {text}**",
            ]
            denied = [
                f"I don't think it's {label}.",
                f"It's {label} or {other}.",
                f"Option {label}: {text}\nOption {other}",
            ]
            read_ = [get("choice").extract(response, row["prompt"]) for response in said + denied]
            if read_[:3] != [label] * 3 or label in read_[3:]:
                faults.append((row["id"], label, read_))
    assert faults == []
