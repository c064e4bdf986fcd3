"""Graded answers per second: our pool of two processes against Math-Verify alone in one.

    python bench/grading.py [--data FOLDER] [--rounds 5] [--golds N] [--workers 2] [--sentences 6] [--out FILE.parquet]

Both grade the same responses to the gold answers of the six maths benchmarks in FOLDER (HPT_DATA by default). Two sets:

distinct  every gold answer with a right response, the right answer written otherwise, and a wrong one; no answer comes
          twice, so that nothing is gained by remembering
repeats   the gold answers of AIME 2024, AIME 2025 and AMC 2023 with 32 responses each, which give few answers many
          times, as a model's samples do

Math-Verify parses gold answer and response with its defaults and verifies; once more with each gold answer parsed only
once. Every measurement is a process of its own that loads everything first and grades once, so that no cache outlives
it; the ways take turns, rounds times, each round with responses of its own. A round's ratio is of neighbors in time.

Exit code 1: at distinct answers, the median ratio to Math-Verify with the gold answer parsed each time is under 1.8.
"""

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import machine
from rich.console import Console
from rich.table import Table

BENCHMARKS = ("aime24", "aime25", "amc23", "math500", "minerva", "olympiadbench")
REPEATED = ("aime24", "aime25", "amc23")
SAMPLES = 32
WANTED = 1.8
WAYS = ("ours", "math-verify", "math-verify, gold cached")
SENTENCES = (
    "We begin with $x_{{{n}}} = \\frac{{{n}}}{{{m}}}$ and simplify.",
    "Since ${n} + {m} = {s}$, the first case is done.",
    "By symmetry we may assume that $a \\ge b$, which leaves {n} possibilities.",
    "Substituting gives $t^2 - {n}t + {m} = 0$.",
    "This contradicts the choice of $k = {m}$, so the other case holds.",
    "Hence the total is at most ${n} \\cdot {m}$.",
)


class Pair(NamedTuple):
    """A gold answer, a response, and what it was made as."""

    gold: str
    response: str
    made: str


def golds(data: Path, names: tuple[str, ...]) -> list[str]:
    """The gold answers of the benchmarks, each once."""
    found = []
    for name in names:
        rows = json.loads((data / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
        found += [str(row["answer"]) for row in rows]
    return list(dict.fromkeys(found))


def boxed(answer: str) -> str:
    return answer if answer.startswith("\\boxed") else f"\\boxed{{{answer}}}"


def otherwise(gold: str) -> str:
    """The answer as another author writes it."""
    answer = gold.removeprefix("\\boxed{").removesuffix("}") if gold.startswith("\\boxed{") else gold
    answer = answer.replace("\\frac", "\\dfrac").replace("\\left", "").replace("\\right", "")
    if re.fullmatch(r"-?\d+", answer):
        return f"{answer}.0"
    return re.sub(r"(?<=[\w)}]) ?([+-]) ?(?=[\w\\(])", r" \1 ", answer) + "\\,"


def wrong(gold: str, generator: random.Random) -> str:
    """The answer with another number in it, or an answer to something else."""
    digits = list(re.finditer(r"\d+", gold))
    if not digits:
        return f"{gold} + {generator.randint(2, 99)}"
    at = generator.choice(digits)
    return f"{gold[: at.start()]}{int(at.group()) + generator.randint(1, 9)}{gold[at.end() :]}"


def response(answer: str, sentences: int, generator: random.Random) -> str:
    """Some lines of mathematics, then the answer."""
    lines = []
    for _ in range(sentences):
        n, m = generator.randint(2, 400), generator.randint(2, 400)
        lines.append(generator.choice(SENTENCES).format(n=n, m=m, s=n + m))
    return " ".join([*lines, f"Therefore the answer is ${boxed(answer)}$."])


def distinct(data: Path, limit: int | None, sentences: int, seed: int) -> list[Pair]:
    """Three responses to each gold answer, all of them with answers of their own."""
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
    """32 responses to each gold answer, half of them right, the others with one of four wrong answers."""
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


def ours(pairs: list[Pair], workers: int) -> tuple[float, list[bool]]:
    from hpt_core.verifiers.pool import Item, VerifierPool

    with VerifierPool(workers) as pool:
        pool.verify([Item("math", str(n), f"\\boxed{{{n}+x}}") for n in range(8 * workers)])
        started = time.perf_counter()
        verdicts = pool.verify([Item("math", pair.gold, pair.response) for pair in pairs])
        seconds = time.perf_counter() - started
    return seconds, [verdict.reward == 1.0 for verdict in verdicts]


def math_verify(pairs: list[Pair], cached: bool) -> tuple[float, list[bool]]:
    import logging

    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    verify(parse("\\boxed{\\frac{1}{2}x}"), parse("so $\\boxed{0.5x}$"))
    parsed: dict[str, Any] = {}
    passed = []
    started = time.perf_counter()
    for pair in pairs:
        gold = parsed.get(pair.gold) if cached else None
        if gold is None:
            gold = parsed[pair.gold] = parse(boxed(pair.gold))
        passed.append(bool(verify(gold, parse(pair.response))))
    return time.perf_counter() - started, passed


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One way on one set, in this process."""
    kind, way, seed = options.measure
    pairs = SETS[kind](options.data, options.golds, options.sentences, int(seed))
    run = (lambda: ours(pairs, options.workers)) if way == "ours" else (lambda: math_verify(pairs, "cached" in way))
    seconds, passed = run()
    shares = {
        made: statistics.fmean(ok for ok, pair in zip(passed, pairs, strict=True) if pair.made == made)
        for made in sorted({pair.made for pair in pairs})
    }
    return {"answers": len(pairs), "seconds": seconds, **{f"passed_{made}": share for made, share in shares.items()}}


def child(options: argparse.Namespace, kind: str, way: str, seed: int) -> dict[str, Any]:
    """The result of this script in a process of its own."""
    command = [sys.executable, __file__, "--measure", kind, way, str(seed), "--data", str(options.data)]
    command += ["--workers", str(options.workers), "--sentences", str(options.sentences)]
    command += [] if options.golds is None else ["--golds", str(options.golds)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        sys.exit(f"{way} on {kind} ended with exit code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    options = _options()
    if options.measure:
        print(json.dumps(measure(options)))
        return
    rows: list[dict[str, Any]] = []
    for number in range(options.rounds):
        for kind in SETS:
            # Who goes first changes, so that a machine that slows down or speeds up favors no one.
            for way in WAYS if number % 2 == 0 else WAYS[::-1]:
                rows.append({"set": kind, "way": way, "round": number, **child(options, kind, way, number)})
    facts = {"workers": options.workers, "sentences": options.sentences}
    machine.write(options.out, [{**row, **facts} for row in rows], machine.describe(threads=1))
    sys.exit(_report(rows, options) < WANTED)


def _report(rows: list[dict[str, Any]], options: argparse.Namespace) -> float:
    """Print the table; gives the ratio that is wanted."""
    console = Console(width=None if sys.stdout.isatty() else 130)
    table = Table(title=f"Answers graded per second, median of {options.rounds} rounds")
    columns = ("set", "way", "answers", "per second", "ours over it", "range", "right", "otherwise", "wrong passed")
    for column in columns:
        table.add_column(column, justify="left" if column in ("set", "way") else "right")
    ratios: dict[tuple[str, str], list[float]] = {}
    for kind in SETS:
        of = {(row["way"], row["round"]): row for row in rows if row["set"] == kind}
        for way in WAYS:
            found = [of[way, number] for number in range(options.rounds)]
            ratio = [row["seconds"] / of["ours", row["round"]]["seconds"] for row in found]
            ratios[kind, way] = ratio
            table.add_row(
                kind,
                way,
                f"{found[0]['answers']:,}",
                f"{statistics.median(row['answers'] / row['seconds'] for row in found):,.0f}",
                f"{statistics.median(ratio):.2f}",
                f"{min(ratio):.2f}-{max(ratio):.2f}",
                *(_share(found, made) for made in ("right", "otherwise", "wrong")),
            )
    console.print(table)
    ratio = statistics.median(ratios["distinct", "math-verify"])
    console.print(
        f"Distinct answers: {ratio:.2f} times Math-Verify alone, {options.workers} processes against one (wanted: at "
        f"least {WANTED}).\nResults in {options.out}",
        highlight=False,
    )
    return ratio


def _share(found: list[dict[str, Any]], made: str) -> str:
    """Share that was taken for correct of the responses made so."""
    shares = [row[f"passed_{made}"] for row in found if f"passed_{made}" in row]
    return f"{statistics.fmean(shares):.1%}" if shares else ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("HPT_DATA")
    parser.add_argument("--data", type=Path, default=data and Path(data), help="folder with benchmarks/NAME.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--golds", type=int, help="gold answers taken, drawn anew each round; all by default")
    parser.add_argument("--workers", type=int, default=2, help="processes of ours")
    parser.add_argument("--sentences", type=int, default=6, help="of a response before its answer")
    parser.add_argument("--out", type=Path, default=machine.RESULTS / "grading.parquet")
    parser.add_argument("--measure", nargs=3, metavar=("SET", "WAY", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or HPT_DATA must name the folder with the benchmarks")
    return options


if __name__ == "__main__":
    main()
