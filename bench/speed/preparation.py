"""Rows prepared per second, against the bare tokenizer on the same texts.

The data is made (bench/speed/demonstrations.py), in the size of the paper's: 46,000 questions with demonstrations of
about 7,000 tokens. Preparation reads, cleans, deduplicates, counts tokens and writes; it does not verify, except in the
way "verified". The bare tokenizer only calls `encode_batch_fast` for the same texts. Every measurement is a new
process. Both give the same number of tokens, or the command stops.

Exit code 1: our speed is less than 0.9 of the bare tokenizer's (median over the rounds).
"""

import os
import statistics
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import child, machine, options, records
from bench.records import Record, spread
from bench.speed import demonstrations

WANTED = 0.9
OUT = records.latest("preparation")
Row = dict[str, Any]


def main(
    rows: Annotated[int, typer.Option(help="questions")] = 46_000,
    tokens: Annotated[int, typer.Option(help="tokens of a demonstration, about")] = 7_000,
    rounds: Annotated[int, typer.Option(help="rounds: measurements of preparation and of the bare tokenizer")] = 3,
    verify: Annotated[bool, typer.Option(help="also measure with verification, once")] = True,
    model: options.Model = options.MODEL,
    out: options.Out = OUT,
) -> None:
    """Compare prepared rows per second with the bare tokenizer (about 10 minutes a round on two cores)."""
    options.require_model(model)
    facts = {"rows": rows, "tokens": tokens, "rounds": rounds, "tokenizers": version("tokenizers")}
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "made.parquet"
        demonstrations.write(file, rows, tokens, seed=0)
        ways = [("ours", "bare") if number % 2 == 0 else ("bare", "ours") for number in range(rounds)]
        once = ("single", "verified") if verify else ("single",)
        for number, way in [(n, way) for n, pair in enumerate(ways) for way in pair] + [(0, way) for way in once]:
            spec = {"way": way, "file": str(file), "model": str(model.resolve())}
            measured = child.call("bench.speed._preparation", spec, {**os.environ})
            found.append({"way": way, "round": number, **measured})
    _require_same(found)
    summary = summarize(found, rounds)
    records.finish(out, Record("preparation", machine.describe(), facts, summary, found), table)
    if summary["ratio"] < WANTED:
        raise typer.Exit(1)


def _require_same(rows: list[Row]) -> None:
    whole = {row["way"]: (row["rows"], row["tokens"]) for row in rows if row["way"] != "single"}
    if len(set(whole.values())) > 1:
        raise SystemExit(f"the ways differ in (rows, tokens): {whole}")


def summarize(rows: list[Row], rounds: int) -> dict[str, Any]:
    """Rows per second by way (medians over the rounds), ratio of ours to the bare tokenizer, and peak memory."""
    of = {(row["way"], row["round"]): row for row in rows}
    ratios = [of["bare", n]["seconds"] / of["ours", n]["seconds"] for n in range(rounds)]
    ours = [of["ours", n] for n in range(rounds)]
    speeds = {
        way: statistics.median(row["rows"] / row["seconds"] for row in rows if row["way"] == way)
        for way in dict.fromkeys(row["way"] for row in rows)
    }
    return {
        "rows": ours[0]["rows"],
        "tokens_per_row": ours[0]["tokens"] / ours[0]["rows"],
        "per_second": speeds,
        "ratio": statistics.median(ratios),
        "range": spread(ratios),
        "minutes": statistics.median(row["seconds"] for row in ours) / 60,
        "peak_gib": max(row["peak_gib"] for row in ours),
    }


def table(record: Record) -> str:
    """Speed over the bare tokenizer with its target, then time, memory and the other ways."""
    found = record.summary
    speed = found["per_second"]
    verified = f"{speed['verified']:.0f} rows per second" if "verified" in speed else "not measured"
    rows = [
        (
            "speed, preparation / bare `encode_batch_fast`",
            f"at least {WANTED}",
            f"{found['ratio']:.2f} ({found['range']}): {speed['ours']:.0f} against {speed['bare']:.0f} rows per second",
        ),
        (f"minutes for {found['rows']:,} rows of {found['tokens_per_row']:,.0f} tokens", "", f"{found['minutes']:.1f}"),
        ("peak memory of the process", "", f"{found['peak_gib']:.2f} GiB"),
        ("the same with verification in two processes", "", verified),
        ("the tokenizer alone, one call for each text", "", f"{speed['single']:.0f} rows per second"),
    ]
    return records.markdown(("", "target", "measured"), rows, left=3)
