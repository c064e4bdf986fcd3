"""Responses to the gold answers of the six math benchmarks, to measure the speed of graders.

distinct  three responses per gold answer: the answer, the answer in another notation, and a wrong answer. No answer
          occurs twice, so a cache does not help.
repeats   the gold answers of AIME 2024, AIME 2025 and AMC 2023 with 32 responses each. They repeat a few answers, as a
          model's samples do.
"""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

BENCHMARKS = ("aime24", "aime25", "amc23", "math500", "minerva", "olympiadbench")
REPEATED = ("aime24", "aime25", "amc23")
SAMPLES = 32
SENTENCES = (
    "We begin with $x_{{{n}}} = \\frac{{{n}}}{{{m}}}$ and simplify.",
    "Since ${n} + {m} = {s}$, the first case is done.",
    "By symmetry we may assume that $a \\ge b$, which leaves {n} possibilities.",
    "Substituting gives $t^2 - {n}t + {m} = 0$.",
    "This contradicts the choice of $k = {m}$, so the other case holds.",
    "Hence the total is at most ${n} \\cdot {m}$.",
)


class Pair(NamedTuple):
    """A gold answer, a response, and how it was made: "right", "otherwise" (another notation) or "wrong"."""

    gold: str
    response: str
    made: str


def golds(data: Path, names: tuple[str, ...]) -> list[str]:
    """The distinct gold answers of the benchmarks."""
    found = []
    for name in names:
        rows = json.loads((data / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
        found += [str(row["answer"]) for row in rows]
    return list(dict.fromkeys(found))


def boxed(answer: str) -> str:
    """The answer in a box; unchanged if it already has one."""
    return answer if answer.startswith("\\boxed") else f"\\boxed{{{answer}}}"


def otherwise(gold: str) -> str:
    """The answer in another notation."""
    answer = gold.removeprefix("\\boxed{").removesuffix("}") if gold.startswith("\\boxed{") else gold
    answer = answer.replace("\\frac", "\\dfrac").replace("\\left", "").replace("\\right", "")
    if re.fullmatch(r"-?\d+", answer):
        return f"{answer}.0"
    return re.sub(r"(?<=[\w)}]) ?([+-]) ?(?=[\w\\(])", r" \1 ", answer) + "\\,"


def wrong(gold: str, generator: random.Random) -> str:
    """The answer with one number changed, or with a number added if it has none."""
    digits = list(re.finditer(r"\d+", gold))
    if not digits:
        return f"{gold} + {generator.randint(2, 99)}"
    at = generator.choice(digits)
    return f"{gold[: at.start()]}{int(at.group()) + generator.randint(1, 9)}{gold[at.end() :]}"


def response(answer: str, sentences: int, generator: random.Random) -> str:
    """Some sentences of math, then the answer."""
    lines = []
    for _ in range(sentences):
        n, m = generator.randint(2, 400), generator.randint(2, 400)
        lines.append(generator.choice(SENTENCES).format(n=n, m=m, s=n + m))
    return " ".join([*lines, f"Therefore the answer is ${boxed(answer)}$."])


def distinct(data: Path, limit: int | None, sentences: int, seed: int) -> list[Pair]:
    """Three responses to each gold answer, all with distinct answers."""
    generator = random.Random(seed)
    found: dict[tuple[str, str], Pair] = {}
    every = golds(data, BENCHMARKS)
    for gold in every if limit is None else generator.sample(every, min(limit, len(every))):
        for made, answer in (("right", gold), ("otherwise", otherwise(gold)), ("wrong", wrong(gold, generator))):
            found.setdefault((gold, answer), Pair(gold, response(answer, sentences, generator), made))
    pairs = list(found.values())
    generator.shuffle(pairs)
    return pairs


def repeats(data: Path, limit: int | None, sentences: int, seed: int) -> list[Pair]:
    """32 responses to each gold answer: about half are correct, the others have one of four wrong answers."""
    generator = random.Random(seed)
    pairs = []
    every = golds(data, REPEATED)
    for gold in every if limit is None else generator.sample(every, min(limit, len(every))):
        others = [wrong(gold, generator) for _ in range(4)]
        for _ in range(SAMPLES):
            made = generator.choice(("right", "wrong"))
            answer = gold if made == "right" else generator.choice(others)
            pairs.append(Pair(gold, response(answer, sentences, generator), made))
    return pairs


SETS: dict[str, Callable[[Path, int | None, int, int], list[Pair]]] = {"distinct": distinct, "repeats": repeats}
