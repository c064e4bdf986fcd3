"""Graded answers per second: our pool of two processes against Math-Verify alone in one.

Both grade the same responses to the gold answers of the six math benchmarks (bench/speed/answers.py): one set with
distinct answers, one with repeated answers. Math-Verify parses gold answer and response with its defaults and verifies
them. A second variant parses each gold answer only once. Every measurement is a new process that loads everything first
and grades once, so no cache carries over. In each round the ways run one after the other on new responses, and the
ratios are computed within the round.

Exit code 1: on distinct answers, our speed is less than 1.8 times that of Math-Verify with its defaults (median).
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
    rounds: Annotated[int, typer.Option(help="rounds: measurements of each way")] = 5,
    golds: Annotated[
        int | None, typer.Option(help="gold answers, chosen at random in each round; all by default")
    ] = None,
    workers: Annotated[int, typer.Option(help="our grading processes")] = 2,
    sentences: Annotated[int, typer.Option(help="sentences of a response before its answer")] = 6,
    out: options.Out = OUT,
) -> None:
    """Compare our graded answers per second with Math-Verify alone (a few minutes)."""
    spec = {"data": str(data.resolve()), "golds": golds, "sentences": sentences, "workers": workers}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    rows: list[Row] = []
    for number in range(rounds):
        for kind in SETS:
            # The order alternates, so a machine that slows down or speeds up favors no way.
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
    """One set by way: answers per second and seconds over ours (medians over the rounds), and shares that passed."""
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
    """Speed ratios with their target, then the shares that pass."""
    distinct, repeats = record.summary["distinct"], record.summary["repeats"]
    plain, cached = distinct[PLAIN], distinct[CACHED]
    speed = f": {distinct['ours']['per_second']:.0f} against {plain['per_second']:.0f} per second"
    rows = [
        (
            f"speed over Math-Verify, distinct answers ({distinct['answers']:,})",
            f"at least {WANTED}",
            _ratio(plain) + speed,
        ),
        ("the same, if Math-Verify parses each gold answer once", "", _ratio(cached)),
        (f"speed over Math-Verify, repeated answers ({repeats['answers']:,})", "", _ratio(repeats[PLAIN])),
        ("correct answers in another notation that pass: ours, Math-Verify", "", _passed(distinct, "otherwise")),
        ("wrong answers that pass: ours, Math-Verify", "", _passed(distinct, "wrong")),
    ]
    return records.markdown(("", "target", "measured"), rows, left=3)


def _ratio(found: Row) -> str:
    return f"{shown(found['ratio'], '{:.1f}')} ({found['range']})"


def _passed(found: Row, made: str) -> str:
    return ", ".join(share(found[way][f"passed_{made}"]) for way in ("ours", PLAIN))
