import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpt_core.verifiers import Outcome, get
from hpt_core.verifiers.pool import VerifierPool

CASES = json.loads((Path(__file__).parent / "math_cases.json").read_text(encoding="utf-8"))
BENCHMARKS = {"aime24": 30, "aime25": 30, "amc23": 40, "math500": 500, "minerva": 272, "olympiadbench": 674}
UNITS = [
    ("^\\circ", "\\text{ radians}"),
    ("^{\\circ}", "\\text{ radians}"),
    ("degrees", "radians"),
    ("cents", "dollars"),
    ("inches", "cm"),
    ("cm", "inches"),
    ("}^2", "}^3"),
    ("\\$", "\\text{ euros }"),
    ("\\%", "^\\circ"),
    ("%", "^\\circ"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['gold']} / {case['response']}"[:80])
def test_case(case):
    assert get("math").verify(case["gold"], case["response"]).outcome == case["expected"]


def golds(data: Path) -> list[tuple[str, str]]:
    """(where, gold) of every question of the six benchmarks."""
    found = []
    for name, count in BENCHMARKS.items():
        rows = json.loads((data / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
        assert len(rows) == count
        found += [(f"{name} row {number}", str(row["answer"])) for number, row in enumerate(rows)]
    return found


def boxed(answer: str) -> str:
    return answer if answer.startswith("\\boxed") else f"\\boxed{{{answer}}}"


def perturbed(gold: str) -> list[str]:
    """Answers that differ from `gold` in a digit, a sign, a bracket, an inequality or a unit, or by one."""
    found = []
    one_more = re.fullmatch(r"(\\boxed\{)?(.*?[\d!}])(\$*|\})", gold, re.DOTALL)
    if one_more and not re.search(r"\\(text|mathrm|end)", gold):
        found.append(f"{one_more[1] or ''}{one_more[2]}+1{one_more[3]}")
    for match in re.finditer(r"\d", gold):
        digit = "8" if match.group() == "9" else str(int(match.group()) + 1)
        found.append(gold[: match.start()] + digit + gold[match.end() :])
    prefix, rest = re.fullmatch(r"(\\boxed\{|\$*)(.*)", gold, re.DOTALL).groups()
    if gold != "0":
        found.append(prefix + (rest[1:] if rest.startswith("-") else f"-{rest}"))
    for match in re.finditer(r"(?<=[\w}) ])[+-](?=\s*[\w\\(])", gold):
        found.append(gold[: match.start()] + ("-" if match.group() == "+" else "+") + gold[match.end() :])
    if ("," in gold or "infty" in gold) and not re.search(r"[a-zA-Z]\(", gold):
        for before, after in (("(", "["), ("[", "("), (")", "]"), ("]", ")")):
            found += [gold[: m.start()] + after + gold[m.end() :] for m in re.finditer(re.escape(before), gold)]
    for before, after in [*UNITS, ("geqslant", "leqslant"), ("geqslant", "gt")]:
        found.append(gold.replace(before, after))
    return [answer for answer in dict.fromkeys(found) if answer != gold]


@pytest.mark.slow
def test_every_gold_answer_equals_itself_when_boxed(shared_data):
    rows = golds(shared_data)
    assert len(rows) == 1546
    with VerifierPool(workers=2) as pool:
        verdicts = pool.verify([("math", gold, f"Therefore {boxed(gold)}.") for _, gold in rows])
    assert [where for (where, _), v in zip(rows, verdicts, strict=True) if v.outcome is not Outcome.CORRECT] == []


@pytest.mark.slow
@pytest.mark.parametrize("of", [3, pytest.param(1, marks=pytest.mark.long)])
def test_no_perturbed_gold_answer_passes(shared_data, of):
    """A third of all pairs, or all."""
    pairs = {(gold, other): where for where, gold in golds(shared_data) for other in perturbed(gold)}
    assert len(pairs) > 5900
    pairs = dict(list(pairs.items())[::of])
    with VerifierPool(workers=2) as pool:
        verdicts = pool.verify([("math", gold, boxed(other)) for gold, other in pairs])
    passed = [
        (where, gold, other)
        for ((gold, other), where), v in zip(pairs.items(), verdicts, strict=True)
        if v.outcome is not Outcome.INCORRECT and not same_value(gold, other)
    ]
    assert passed == []


def same_value(gold: str, other: str) -> bool:
    """Perturbations that change nothing: the sign of a zero among several answers."""
    return re.sub(r"(?<!\d)-0(?![.\d])", "0", other) == gold


LONG = "7" * 3000


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        ("7" * 8000, "7" * 8000, "7" * 7999 + "8"),
        (f"-{LONG * 2}", f"-{LONG * 2}", LONG * 2),
        (f"{LONG * 2}.25", f"{LONG * 2}.25", f"{LONG}.25"),
        ("1" + ",000" * 1900, "1" + "000" * 1900, "1" + "000" * 1899),
        (f"\\frac{{{LONG}0}}{{{LONG}}}", "10", "11"),
        ("0.\\overline{" + LONG * 2 + "}", "\\frac{7}{9}", "\\frac{7}{8}"),
        (f"x = {LONG * 2}", LONG * 2, LONG * 2 + "7"),
        (f"\\{{{LONG}, {LONG}1\\}}", f"\\{{{LONG}1, {LONG}\\}}", f"\\{{{LONG}, {LONG}\\}}"),
        (f"{LONG}, {LONG}1", f"{LONG}1 \\text{{ and }} {LONG}", LONG),
    ],
    ids=("integer", "negative", "decimal", "thousands", "fraction", "period", "named", "set", "several"),
)
def test_numbers_of_thousands_of_digits_are_compared_to_the_last(gold, right, wrong):
    started = time.process_time()
    assert get("math").judge(gold, right) is Outcome.CORRECT
    assert get("math").judge(gold, wrong) is Outcome.INCORRECT
    assert time.process_time() - started < 20  # a step of quadratic time takes far longer


@pytest.mark.parametrize(
    ("kind", "gold", "reason"),
    [
        ("math", "7" * 8001, "longer than 8,000 characters"),
        ("math", f"x^2 + {LONG}", "an expression of more than 2,000 characters"),
        ("math", "\\frac{1}{", "brackets that do not match"),
        ("math", "3 +* 4", "no expression: 3 + \\cdot 4"),
        ("choice", "Berlin", "no option's label"),
        ("choice", "C", "not among the options A, B"),
    ],
    ids=("digits", "characters", "brackets", "syntax", "label", "option"),
)
def test_a_gold_answer_that_cannot_be_read_has_a_reason(kind, gold, reason):
    verdict = get(kind).verify(gold, "\\boxed{A}", "Which?\n\nA) 1\nB) 2")
    assert verdict == (Outcome.GOLD_ERROR, "A", 0.0, reason)


def test_a_verdict_does_not_depend_on_what_was_judged_before():
    verifier = get("math")
    first = [verifier.verify(case["gold"], case["response"]) for case in CASES[:40]]
    assert [verifier.verify(case["gold"], case["response"]) for case in reversed(CASES[:40])] == first[::-1]


def test_version_and_extraction_load_no_sympy():
    program = (
        "import sys; from hpt_core.verifiers import get, version; import hpt_core.verifiers.pool;"
        "assert version('math').startswith('math-7+math-verify-'), version('math');"
        "assert get('math').extract(r'\\boxed{5}') == '5';"
        "sys.exit(any(name in sys.modules for name in ('sympy', 'flint', 'math_verify', 'torch', 'antlr4')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
