"""Peak memory and time of log-probabilities and entropies with their backward pass: in tiles, and the plain way.

The plain way is log_softmax over all logits at once, [N, V] in float32. Each way runs in a separate process, which
reports its peak resident memory minus its memory before the computation. Both compute the same gradients. The plain way
needs five [N, V] matrices. If memory is too small for them, it computes only the log-probabilities, without entropies.
It then does less work than the tiles, so the ratio is an upper bound.

Errors are measured against the plain way in float64, because log_softmax in float32 is itself off by more than 1e-5 at
such a vocabulary. The table shows both errors. Exit code 1: the tiles are off by more than 1e-5, or need more than a
quarter of the plain way's memory.
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
    tokens: Annotated[int, typer.Option(help="number of tokens, N")] = 8192,
    vocabulary: Annotated[int, typer.Option(help="size of the vocabulary, V; by default that of Qwen2.5")] = 151936,
    hidden: Annotated[int, typer.Option(help="hidden size: width of the output head's input")] = 64,
    equal_tokens: Annotated[int, typer.Option(help="number of tokens for the comparison of results")] = 512,
    threads: options.Threads = options.THREADS,
    out: options.Out = OUT,
) -> None:
    """Measure memory and time of log-probabilities at a large vocabulary (15 GiB, a few minutes)."""
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
    """Memory, error and time with their targets."""
    found = record.summary
    bound = "" if found["plain_way"] == "plain" else "; an upper bound, see above"
    plain = found["plain_way"]
    rows = [
        (
            "peak memory, tiles / plain way",
            f"at most {LARGEST_SHARE:.0%}".replace("%", " %"),
            f"{share(found['memory_share'])} ({found['tiled_gib']:.2f} of {found['plain_gib']:.1f} GiB{bound})",
        ),
        (
            "largest relative error of the tiles",
            "at most 1e-5",
            f"{tiny(found['tiled_error'])} (plain float32: {tiny(found['plain_error'])})",
        ),
        ("seconds, forward and backward", "", f"{found['tiled_seconds']:.1f} ({plain}: {found['plain_seconds']:.1f})"),
    ]
    return records.markdown(("", "target", "measured"), rows, left=3)
