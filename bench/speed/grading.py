"""Graded answers per second: our pool of two processes against Math-Verify alone in one.

Both grade the same responses to the gold answers of the six maths benchmarks (bench/speed/answers.py), distinct ones
and repeated ones. Math-Verify parses gold answer and response with its defaults and verifies; once more with each gold
answer parsed only once. Every measurement is a process of its own that loads everything first and grades once, so that
no cache outlives it; the ways take turns, rounds times, each round with responses of its own. A round's ratio is of
neighbors in time.

Exit code 1: at distinct answers, the median ratio to Math-Verify with the gold answer parsed each time is under 1.8.
"""

import os
import statistics
from typing import Annotated, Any

import typer

from bench import child, machine, options, records
from bench.records import Record, share, shown, spread
from bench.speed.answers import SETS

WANTED = 1.8
PLAIN, CACHED = "math-verify", "math-verify, gold cached"
WAYS = ("ours", PLAIN, CACHED)
Row = dict[str, Any]


OUT = records.latest("grading")


def main(
    data: options.Data,
    rounds: Annotated[int, typer.Option(help="measurements of each way")] = 5,
    golds: Annotated[int | None, typer.Option(help="gold answers taken, drawn anew each round; all by default")] = None,
    workers: Annotated[int, typer.Option(help="processes of ours")] = 2,
    sentences: Annotated[int, typer.Option(help="of a response before its answer")] = 6,
    out: options.Out = OUT,
) -> None:
    """Graded answers per second, against Math-Verify alone (minutes)."""
    spec = {"data": str(data.resolve()), "golds": golds, "sentences": sentences, "workers": workers}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    rows: list[Row] = []
    for number in range(rounds):
        for kind in SETS:
            # Who goes first changes, so that a machine that slows down or speeds up favors no one.
            for way in WAYS if number % 2 == 0 else WAYS[::-1]:
                found = child.call(
                    "bench.speed._grading", {**spec, "kind": kind, "way": way, "seed": number}, environment
                )
                rows.append({"set": kind, "way": way, "round": number, **found})
    facts = {"rounds": rounds, "golds": golds, "sentences": sentences, "workers": workers}
    summary = {kind: summarize([row for row in rows if row["set"] == kind], rounds) for kind in SETS}
    records.finish(out, Record("grading", machine.describe(1), facts, summary, rows), table)
    if summary["distinct"][PLAIN]["ratio"] < WANTED:
        raise typer.Exit(1)


def summarize(rows: list[Row], rounds: int) -> dict[str, Any]:
    """Of one set, by way: answers a second, seconds over ours, and shares that passed; medians over the rounds."""
    of = {(row["way"], row["round"]): row for row in rows}
    found: dict[str, Any] = {"answers": rows[0]["answers"]}
    for way in WAYS:
        mine = [of[way, number] for number in range(rounds)]
        ratios = [row["seconds"] / of["ours", row["round"]]["seconds"] for row in mine]
        found[way] = {
            "per_second": statistics.median(row["answers"] / row["seconds"] for row in mine),
            "ratio": statistics.median(ratios),
            "range": spread(ratios, "{:.1f}"),
            **{key: statistics.fmean(row[key] for row in mine) for key in mine[0] if key.startswith("passed_")},
        }
    return found


def table(record: Record) -> str:
    """Ours over Math-Verify, wanted and measured; then what passes."""
    distinct, repeats = record.summary["distinct"], record.summary["repeats"]
    plain, cached = distinct[PLAIN], distinct[CACHED]
    speed = f": {distinct['ours']['per_second']:.0f} against {plain['per_second']:.0f} a second"
    rows = [
        (f"distinct answers ({distinct['answers']:,})", f"at least {WANTED}", _ratio(plain) + speed),
        ("the same, Math-Verify parsing each gold answer once", "", _ratio(cached)),
        (f"repeated answers ({repeats['answers']:,})", "", _ratio(repeats[PLAIN])),
        ("passed of answers written otherwise, ours and Math-Verify", "", _passed(distinct, "otherwise")),
        ("passed of wrong answers, ours and Math-Verify", "", _passed(distinct, "wrong")),
    ]
    return records.markdown(("", "wanted", "measured"), rows, left=3)


def _ratio(found: Row) -> str:
    return f"{shown(found['ratio'], '{:.1f}')} ({found['range']})"


def _passed(found: Row, made: str) -> str:
    return " and ".join(share(found[way][f"passed_{made}"]) for way in ("ours", PLAIN))
