"""Peak memory and time of log-probabilities and entropies with their backward pass: in tiles, and the plain way.

Each way runs in a process of its own, which reports the most memory that it had resident above what it held before;
both leave the same gradients behind. The plain way holds [N, V] in float32: log_softmax over all logits at once. Where
memory is too short for it (it needs five such matrices), it computes the log-probabilities alone, without entropies:
less than what it is compared with, so the ratio is then a bound in its favor.

What "equal" is measured against is the plain way in float64: log_softmax in float32 is itself off by more than 1e-5 at
such a vocabulary, and its error is shown beside the tiles'. Exit code 1: the tiles are off by more than 1e-5, or need
more than a quarter of the plain way's memory.
"""

import os
from typing import Annotated, Any

import typer

from bench import child, machine, memory, options, records
from bench.records import Record, share, tiny

TOLERANCE = 1e-5
LARGEST_SHARE = 0.25
PLAIN_MATRICES = 5
"""[N, V] matrices that the plain way holds at its peak."""
BOUND = "plain, without entropies"


OUT = records.latest("logprobs")


def main(
    tokens: Annotated[int, typer.Option(help="N")] = 8192,
    vocabulary: Annotated[int, typer.Option(help="V, Qwen2.5's by default")] = 151936,
    hidden: Annotated[int, typer.Option(help="width of what the output head reads")] = 64,
    equal_tokens: Annotated[int, typer.Option(help="tokens on which the results are compared")] = 512,
    threads: options.Threads = options.THREADS,
    out: options.Out = OUT,
) -> None:
    """Log-probabilities at a large vocabulary: memory and time (15 GiB, minutes)."""
    matrix = tokens * vocabulary * 4 / 2**30
    other = "plain" if memory.available_gib() > PLAIN_MATRICES * matrix + 1 else BOUND
    sizes = {"vocabulary": vocabulary, "hidden": hidden, "threads": threads}
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}

    def measure(way: str, count: int) -> dict[str, Any]:
        spec = {**sizes, "way": way, "tokens": count}
        found: dict[str, Any] = child.call("bench.speed._logprobs", spec, environment)
        return found

    errors = measure("errors", equal_tokens)
    tiled, plain = (measure(way, tokens) for way in ("tiled", other))
    summary = {
        "plain_way": other,
        "memory_share": tiled["peak_gib"] / plain["peak_gib"],
        "tiled_gib": tiled["peak_gib"],
        "plain_gib": plain["peak_gib"],
        "tiled_error": max(errors["tiled"].values()),
        "plain_error": max(errors["plain"].values()),
        "tiled_seconds": tiled["seconds"],
        "plain_seconds": plain["seconds"],
    }
    facts = {"tokens": tokens, "equal_tokens": equal_tokens, "vocabulary": vocabulary, "hidden": hidden}
    rows = [{"way": way, **found} for way, found in errors.items()]
    records.finish(out, Record("logprobs", machine.describe(threads), facts, summary, rows), table)
    if summary["memory_share"] > LARGEST_SHARE or summary["tiled_error"] > TOLERANCE:
        raise typer.Exit(1)


def table(record: Record) -> str:
    """Wanted and measured."""
    found = record.summary
    bound = "" if found["plain_way"] == "plain" else ", a bound: see above"
    plain = found["plain_way"]
    rows = [
        (
            "memory of the tiles over the plain way's",
            f"at most {LARGEST_SHARE:.0%}".replace("%", " %"),
            f"{share(found['memory_share'])} ({found['tiled_gib']:.2f} of {found['plain_gib']:.1f} GiB{bound})",
        ),
        (
            "largest error of the tiles, relative",
            "at most 1e-5",
            f"{tiny(found['tiled_error'])} (plain float32: {tiny(found['plain_error'])})",
        ),
        ("seconds, forward and backward", "", f"{found['tiled_seconds']:.1f} ({plain}: {found['plain_seconds']:.1f})"),
    ]
    return records.markdown(("", "wanted", "measured"), rows, left=3)
