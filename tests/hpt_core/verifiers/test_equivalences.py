"""Equal answers pass, and perturbed ones fail. Both are generated from one value, so the truth is known."""

import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

import pytest

from hpt_core.verifiers import Outcome
from hpt_core.verifiers.pool import Item, VerifierPool

SEEDS = [range(20), pytest.param(range(20, 120), marks=pytest.mark.long)]
"""Values of each kind: 7,000 pairs in all, and 21,000 more where minutes do not matter."""


class Forms(NamedTuple):
    """A gold answer, responses' answers that equal it, and answers that do not."""

    gold: str
    right: list[str]
    wrong: list[str]


def fraction(value: Fraction, command: str = "frac") -> str:
    sign = "-" if value < 0 else ""
    return (
        f"{sign}\\{command}{{{abs(value.numerator)}}}{{{value.denominator}}}" if value.denominator > 1 else str(value)
    )


def rationals(r: random.Random) -> Forms:
    value = Fraction(r.randint(-999, 999), r.choice((3, 7, 9, 11, 13, 16, 40, 125)))
    other = value + Fraction(1, r.choice((97, 1009)))
    write: list[Callable[[Fraction], str]] = [
        lambda v: fraction(v, "dfrac"),
        lambda v: f"{v.numerator}/{v.denominator}",
        lambda v: f"Rational({v.numerator}, {v.denominator})",
        lambda v: f"{fraction(v - 3)} + 3",
        lambda v: f"x = {fraction(v)}",
        lambda v: f"\\text{{the answer is }} {fraction(v)}",
        lambda v: f"{fraction(2 * v)} * (1/2)",
    ]
    return Forms(fraction(value), [form(value) for form in write], [form(other) for form in write])


def tiny_numbers(r: random.Random) -> Forms:
    base, exponent = r.randint(2, 9), r.randint(30, 400)
    scale = r.choice(("1", "\\frac{2}{7}", "\\sqrt{3}", "\\pi"))
    form = f"{scale} - {base}^{{-{exponent}}}", f"{scale} - \\frac{{1}}{{{base}^{{{exponent}}}}}"
    wrong = [scale, f"{scale} - {base}^{{-{exponent + 1}}}", f"{scale} + {base}^{{-{exponent}}}"]
    if r.random() < 0.5:
        number = r.randint(30, 900)
        return Forms(
            f"\\frac{{1}}{{{number}!}}",
            [f"\\frac{{{number + 1}}}{{({number + 1})!}}", f"1/factorial({number})"],
            [f"\\frac{{1}}{{{number + 1}!}}", "0", f"\\frac{{2}}{{{number}!}}"],
        )
    return Forms(form[0], [form[1], f"{scale} - {base * base}^{{-{exponent}/2}}"], wrong)


def huge_numbers(r: random.Random) -> Forms:
    base, exponent = r.randint(2, 9), r.randint(1000, 60_000)
    n, k = r.randint(1000, 100_000), r.randint(200, 999)
    if r.random() < 0.5:
        return Forms(
            f"{base}^{{{2 * exponent}}}",
            [f"{base**2}^{{{exponent}}}", f"{base}**{2 * exponent}", f"{base} \\cdot {base}^{{{2 * exponent - 1}}}"],
            [f"{base}^{{{2 * exponent}}} + 1", f"{base**2}^{{{exponent + 1}}}", f"{base + 1}^{{{2 * exponent}}}"],
        )
    return Forms(
        f"\\binom{{{n}}}{{{k}}}",
        [f"\\binom{{{n}}}{{{n - k}}}", f"binomial({n}, {k})"],
        [f"\\binom{{{n}}}{{{k + 1}}}", f"\\binom{{{n + 1}}}{{{k}}}", f"\\binom{{{n}}}{{{k}}} - 1"],
    )


def surds(r: random.Random) -> Forms:
    a, b = r.randint(2, 40), r.choice((2, 3, 5, 6, 7, 10, 11))
    value = a * b**0.5
    wrong = [f"{a}\\sqrt{{{b + 1}}}", f"\\sqrt{{{a * a * b + 1}}}", f"{value + 0.02:.2f}"]
    return Forms(
        f"{a}\\sqrt{{{b}}}",
        [
            f"\\sqrt{{{a * a * b}}}",
            f"{a}*sqrt({b})",
            f"{a}\\sqrt({b})",
            f"{a}*{b}**(1/2)",
            f"x = {a}\\sqrt{b} \\approx {value:.3f}",
            f"{a}\\sqrt{{{b}}} \\approx {value:.2f}",
        ],
        [*wrong, f"{a}\\sqrt{{{b}}} \\approx {value + 1:.2f}", f"{a}\\sqrt{{{b}}} = {a + 1}\\sqrt{{{b}}}"],
    )


def odd_roots(r: random.Random) -> Forms:
    degree, root = r.choice((3, 5)), r.randint(2, 12)
    power = root**degree
    return Forms(
        f"-{root}",
        [f"\\sqrt[{degree}]{{-{power}}}", f"-\\sqrt[{degree}]{{{power}}}", f"(-{power})^{{1/{degree}}}"],
        [f"\\sqrt[{degree}]{{{power}}}", f"\\sqrt[{degree}]{{-{power + 1}}}", f"\\sqrt[{degree + 2}]{{-{power}}}"],
    )


def polynomial(coefficients: list[int], times: str = "") -> str:
    terms = [f"{c}{times}x^{{{n}}}" for n, c in enumerate(coefficients) if c]
    return " + ".join(terms).replace("+ -", "- ") or "0"


def polynomials(r: random.Random) -> Forms:
    a, b, c = (r.randint(-9, 9) for _ in range(3))
    expanded = [a * b * c, a * b + a * c + b * c, a + b + c, 1]
    other = list(expanded)
    other[r.randrange(3)] += r.choice((-1, 1))
    factored = "".join(f"(x + {n})" for n in (a, b, c)).replace("+ -", "- ")
    program = "*".join(f"(x + {n})" for n in (a, b, c)).replace("+ -", "- ")
    return Forms(
        polynomial(expanded),
        [factored, program, polynomial(expanded[::-1][::-1], "*"), f"f(x) = {factored}"],
        [polynomial(other), polynomial(other, "*"), f"|{factored}|", f"{factored} + 10^{{-9}}"],
    )


def absolute_values(r: random.Random) -> Forms:
    a, b = r.randint(2, 60), r.randint(1, 60)
    return Forms(
        f"|{a}x-{b}|",
        [f"|{b}-{a}x|", f"abs({a}*x-{b})", f"\\sqrt{{({a}x-{b})^2}}"],
        [f"{a}x-{b}", f"{b}-{a}x", f"|{a}x+{b}|", f"|{a}x|-{b}"],
    )


def powers_of_a_variable(r: random.Random) -> Forms:
    scale, n = r.randint(10, 900), r.randint(20, 90)
    return Forms(
        f"\\left(\\frac{{n}}{{{scale}}}\\right)^{{{n}}}",
        [f"\\frac{{n^{{{n}}}}}{{{scale}^{{{n}}}}}", f"(n/{scale})**{n}"],
        [f"(n/{scale})^{{{n + 2}}}", f"(n/{scale + 1})^{{{n}}}", "0", f"|n/{scale}|^{{{n}}} + 10^{{-{n}}}"],
    )


def whole_functions(r: random.Random) -> Forms:
    k, m = r.randint(3, 40), r.randint(20, 3000)
    if r.random() < 0.5:
        return Forms(
            f"\\binom{{n}}{{{k}}}",
            [f"\\frac{{n!}}{{{k}!(n-{k})!}}", f"\\binom{{n}}{{n-{k}}}", f"binom(n,{k})"],
            ["0", f"\\binom{{n}}{{{k + 1}}}", f"\\binom{{n+1}}{{{k}}}", f"\\frac{{n^{{{k}}}}}{{{k}!}}"],
        )
    return Forms(
        f"\\lfloor \\frac{{n}}{{{m}}} \\rfloor",
        [f"floor(n/{m})", f"\\left\\lfloor \\frac{{2n}}{{{2 * m}}} \\right\\rfloor"],
        [
            "0",
            f"\\frac{{n}}{{{m}}}",
            f"\\lceil \\frac{{n}}{{{m}}} \\rceil",
            f"\\lfloor \\frac{{n}}{{{m + 1}}} \\rfloor",
        ],
    )


def intervals(r: random.Random) -> Forms:
    low = r.randint(-50, 50)
    high = low + r.randint(1, 40)
    return Forms(
        f"[{low},{high})",
        [
            f"{low} <= x < {high}",
            f"{{x \\mid {low} \\le x < {high}}}".replace("{x", "\\{x").replace("}}", "\\}").rstrip("}") + "\\}",
            f"x >= {low} \\text{{ and }} x < {high}",
            f"{high} > t \\ge {low}",
            f"x \\in [{low}, {high})",
            f"{low} \\le f(x) < {high}",
        ],
        [
            f"{low} < x < {high}",
            f"{low} <= x <= {high}",
            f"{low} <= x < {high + 1}",
            f"x >= {low} \\text{{ or }} x < {high}",
            f"x \\ge {low}",
            f"({low},{high})",
        ],
    )


def unions(r: random.Random) -> Forms:
    low = r.randint(-50, 50)
    high = low + r.randint(1, 40)
    return Forms(
        f"(-\\infty,{low})\\cup({high},\\infty)",
        [
            f"x<{low} \\text{{ or }} x>{high}",
            f"x>{high} or x<{low}",
            f"({high},oo)\\cup(-oo,{low})",
            f"x < {low} \\lor {high} < x",
        ],
        [
            f"x<{low}",
            f"x>{low} \\text{{ or }} x<{high}",
            f"x<={low} \\text{{ or }} x>{high}",
            f"({low},{high})",
            f"x<{low + 1} \\text{{ or }} x>{high}",
            f"(-\\infty,{low}),({high},\\infty)",
        ],
    )


def excluded_points(r: random.Random) -> Forms:
    point = r.randint(-50, 50)
    return Forms(
        f"(-\\infty,{point})\\cup({point},\\infty)",
        [
            f"x \\ne {point}",
            f"x != {point}",
            f"\\mathbb{{R}}\\setminus\\{{{point}\\}}",
            f"\\text{{all real numbers except }} {point}",
        ],
        [
            f"x = {point}",
            f"x \\ne {point + 1}",
            f"\\mathbb{{R}}\\setminus\\{{{point - 1}\\}}",
            "\\mathbb{R}",
            f"{point}",
        ],
    )


def inequalities(r: random.Random) -> Forms:
    bound, factor = r.randint(1, 90), r.randint(2, 9)
    return Forms(
        f"x<{bound}",
        [
            f"-x > -{bound}",
            f"{factor}x < {factor * bound}",
            f"x-{bound} < 0",
            f"-{factor}x > -{factor * bound}",
            f"(-oo, {bound})",
        ],
        [
            f"x > {bound}",
            f"-x < -{bound}",
            f"{factor}x < {bound}",
            f"x <= {bound}",
            f"-{factor}x < -{factor * bound}",
            f"x < -{bound}",
        ],
    )


def several_roots(r: random.Random) -> Forms:
    a, b, c = r.sample(range(-60, 60), 3)
    return Forms(
        f"{a},{b}",
        [
            f"x = {b} or x = {a}",
            f"{b} \\text{{ and }} {a}",
            f"x={a} \\lor x={b}",
            f"x={a} \\quad x={b}",
            f"{a}or{b}",
            f"\\{{{b}, {a}\\}}",
            f"x = {a}, x = {b}",
        ],
        [f"x = {b} or x = {c}", f"{a}", f"x={b}", f"{a}, {b}, {c}", f"x={c} \\lor x={b}", f"{a} or {a}"],
    )


def one_root(r: random.Random) -> Forms:
    a, b = r.sample(range(1, 90), 2)
    return Forms(
        f"{b}",
        [f"x = {b}", f"{b} = x", f"x = {a} + {b - a} = {b}", f"n = {2 * b}/2 = {b}"],
        [
            f"x={a} or x={b}",
            f"x={a} \\quad x={b}",
            f"x={a}={b}",
            f"n = {a} = {b}",
            f"x={a} \\lor x={b}",
            f"{a} and {b}",
            f"{a}x = {a * b}",
        ],
    )


def named_pairs(r: random.Random) -> Forms:
    p, q, s, t = r.sample(range(1, 90), 4)
    return Forms(
        f"p={p},q={q};p={s},q={t}",
        [
            f"({p},{q}),({s},{t})",
            f"({s},{t}) or ({p},{q})",
            f"p={s}, q={t} or p={p}, q={q}",
            f"(p,q)=({p},{q}),({s},{t})",
        ],
        [f"({q},{p}),({s},{t})", f"({p},{q})", f"({p},{t}),({s},{q})", f"{p},{q},{s},{t}", f"p={q},q={p};p={s},q={t}"],
    )


def named_quantities(r: random.Random) -> Forms:
    a, b = r.randint(2, 60), r.randint(61, 99)
    left = r.choice(
        ("|AB|", "\\frac{AD}{DB}", "P(A|B)", "f(3)", "\\angle ABC", "[ABC]", "S_{ABC}", "\\overline{AB}", "AB:BC")
    )
    value = f"\\frac{{{a}}}{{{b}}}"
    return Forms(
        f"{left}={value}", [value, f"{a}/{b}", f"{left} = {a}/{b}"], [f"\\frac{{{b}}}{{{a}}}", f"{a}", f"{left} = {a}"]
    )


def equations_themselves(r: random.Random) -> Forms:
    a, b, c = r.randint(2, 9), r.randint(2, 9), r.randint(1, 60)
    return Forms(
        f"{a}x+{b}z={c}",
        [f"{2 * a}x+{2 * b}z={2 * c}", f"{a}*x = {c} - {b}*z", f"{a}x+{b}z-{c}=0"],
        [f"{c}", f"{a}x+{b}z={c + 1}", f"{a}x-{b}z={c}", f"{a}x+{b}z"],
    )


def renamed_functions(r: random.Random) -> Forms:
    a, b = r.sample(range(2, 60), 2)
    return Forms(
        f"g(x)={a}x-{b}",
        [f"y={a}x-{b}", f"{a}x-{b}", f"f(x) = {a}*x - {b}", f"g(x) = {a}x-{b} \\text{{ for all }} x"],
        [f"y={a}x+{b}", f"g(x)={b}x-{a}", f"x={a}x-{b}", f"g(x)={a}x"],
    )


def units(r: random.Random) -> Forms:
    value = r.randint(3, 900)  # 2! is 2
    unit = r.choice(("\\text{ cm}", "\\text{ apples}", "\\text{ dollars}", " \\text{ km/h}", "m²", "\\text{ people}"))
    altering = r.choice(
        ("factorial", "below zero", "or more", "thirds", "million", "squared", "less than x", "mod 7", "dozen")
    )
    return Forms(
        str(value),
        [f"{value}{unit}", f"€{value}", f"£{value}", f"\\${value}", f"{value}.0"],
        [
            f"{value}\\text{{ {altering}}}",
            f"{value + 1}{unit}",
            f"€{value}0",
            f"-{value}{unit}",
            f"{value}\\%" if value < 1 else f"{value}!",
        ],
    )


def thousands(r: random.Random) -> Forms:
    value, other = r.randint(1000, 9_999_999), r.randint(100, 999)
    return Forms(
        str(value),
        [
            f"{value:,}",
            f"{value:,}".replace(",", " "),
            f"{value:,}".replace(",", "\\,"),
            f"{value:,}".replace(",", "{,}"),
        ],
        [f"0,{value}", f"{value:,}".replace(",", ", "), f"{value + 1:,}".replace(",", " "), f"{value} {other}"],
    )


def zero_before_a_comma(r: random.Random) -> Forms:
    value = r.randint(100, 999)
    return Forms(str(value), [f"{value}", f"0{value}"], [f"0,{value}", f"00,{value}", f"0{{,}}{value}"])


def matrices(r: random.Random) -> Forms:
    a, b, c, d = (r.randint(-9, 9) for _ in range(4))
    k = r.randint(2, 7)
    plain = f"\\begin{{pmatrix}}{a}&{b}\\\\{c}&{d}\\end{{pmatrix}}"
    return Forms(
        f"\\frac{{1}}{{{k}}}\\begin{{pmatrix}}{k * a}&{k * b}\\\\{k * c}&{k * d}\\end{{pmatrix}}",
        [plain, f"\\begin{{bmatrix}}{a} & {b} \\\\ {c} & {d}\\end{{bmatrix}}"],
        [
            plain.replace(f"{a}&", f"{a + 1}&", 1),
            f"{k}{plain}",
            f"\\begin{{pmatrix}}{a}&{c + 11}\\\\{b}&{d}\\end{{pmatrix}}",
        ],
    )


def residues(r: random.Random) -> Forms:
    m = r.randint(3, 40)
    a = r.randrange(m)
    return Forms(
        f"x \\equiv {a} \\pmod{{{m}}}",
        [
            f"x \\equiv {a + m} \\pmod {{{m}}}",
            f"{a} \\pmod{{{m}}}",
            f"n \\equiv {a} (\\bmod {m})",
            f"x \\equiv {a - m} \\pmod{{{m}}}",
        ],
        [f"x \\equiv {a + 1} \\pmod{{{m}}}", f"x \\equiv {a} \\pmod{{{m + 1}}}", f"{m}"],
    )


def times_of_day(r: random.Random) -> Forms:
    hour, minute = r.randint(1, 12), r.randint(10, 59)
    return Forms(
        f"{hour}:{minute}",
        [f"{hour}:{minute}", f"\\text{{{hour}:{minute}}}", f"{hour} : {minute}"],
        [f"{hour}:{minute + 1}", f"{hour + 1}:{minute}", f"{minute}:{hour}"],
    )


def numbers_in_a_base(r: random.Random) -> Forms:
    digits, base = "".join(r.choice("01234") for _ in range(4)), r.randint(5, 9)
    sign = r.choice(("", "-"))
    return Forms(
        f"{sign}1{digits}_{base}",
        [f"{sign}1{digits}_{{{base}}}", f"{sign}1{digits}"],
        [f"{sign}1{digits}_{{{base + 1}}}", f"{sign}2{digits}_{base}", f"{'' if sign else '-'}1{digits}_{base}"],
    )


KINDS = [
    rationals,
    tiny_numbers,
    huge_numbers,
    surds,
    odd_roots,
    polynomials,
    absolute_values,
    powers_of_a_variable,
    whole_functions,
    intervals,
    unions,
    excluded_points,
    inequalities,
    several_roots,
    one_root,
    named_pairs,
    named_quantities,
    equations_themselves,
    renamed_functions,
    units,
    thousands,
    zero_before_a_comma,
    matrices,
    residues,
    times_of_day,
    numbers_in_a_base,
]


@pytest.fixture(scope="module")
def pool() -> Iterator[VerifierPool]:
    with VerifierPool(workers=2) as pool:
        yield pool


@pytest.mark.slow
@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: str(seeds.stop))
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_equal_forms_pass_and_perturbed_ones_fail(
    pool: VerifierPool, kind: Callable[[random.Random], Forms], seeds: range
) -> None:
    pairs = []
    for seed in seeds:
        forms = kind(random.Random(f"{kind.__name__} {seed}"))
        pairs += [(forms.gold, answer, Outcome.CORRECT) for answer in (forms.gold, *forms.right)]
        pairs += [(forms.gold, answer, Outcome.INCORRECT) for answer in forms.wrong]
    verdicts = pool.verify([Item("math", gold, f"\\boxed{{{answer}}}") for gold, answer, _ in pairs])
    wrong = {
        (gold, answer): verdict.outcome
        for (gold, answer, expected), verdict in zip(pairs, verdicts, strict=True)
        if verdict.outcome is not expected
    }
    assert not wrong, list(wrong.items())[:20]
