"""Peak memory and time of log-probabilities and entropies with their backward pass: in tiles, and the plain way.

    python bench/logprobs.py [--tokens 8192] [--vocabulary 151936] [--hidden 64] [--threads N] [--out FILE.parquet]

Each way runs in a process of its own, which reports the most memory that it had resident above what it held before;
both leave the same gradients behind. The plain way holds [N, V] in float32: log_softmax over all logits at once. Where
memory is too short for it (it needs five such matrices), it computes the log-probabilities alone, without entropies:
less than what it is compared with, so the ratio is then a bound in its favor.

What "equal" is measured against is the plain way in float64: log_softmax in float32 is itself off by more than 1e-5 at
such a vocabulary, and its error is printed beside the tiles'. Exit code 1: the tiles are off by more than 1e-5, or
need more than a quarter of the plain way's memory.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
import memory
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from torch import Tensor, nn

Statistics = tuple["Tensor", "Tensor | None"]
"""Log-probabilities [N] and entropies [N]."""

RESULTS = ("logprobs", "entropies", "gradient of hidden", "gradient of head")
TOLERANCE = 1e-5
LARGEST_SHARE = 0.25
PLAIN_MATRICES = 5
"""[N, V] matrices that the plain way holds at its peak."""
ALONE = "plain, without entropies"


def tiled(hidden: "Tensor", head: "nn.Module", targets: "Tensor", temperatures: "Tensor") -> Statistics:
    from hpt_core.training.logprobs import token_statistics

    found = token_statistics(hidden, head, targets, temperatures)
    return found.logprobs, found.entropies


def plain(hidden: "Tensor", head: "nn.Module", targets: "Tensor", temperatures: "Tensor") -> Statistics:
    import torch

    logprobs = torch.log_softmax(head(hidden) / temperatures[:, None], dim=-1)
    return logprobs.gather(1, targets[:, None])[:, 0], -(logprobs.exp() * logprobs).sum(-1)


def plain_alone(hidden: "Tensor", head: "nn.Module", targets: "Tensor", temperatures: "Tensor") -> Statistics:
    import torch

    logprobs = torch.log_softmax(head(hidden) / temperatures[:, None], dim=-1)
    return logprobs.gather(1, targets[:, None])[:, 0], None


WAYS: dict[str, Callable[..., Statistics]] = {"tiled": tiled, "plain": plain, ALONE: plain_alone}


def run(way: str, tokens: int, vocabulary: int, width: int, wide: bool = False) -> dict[str, "Tensor"]:
    """Values and gradients of one way, on inputs that depend on the sizes alone; in float64 where `wide`."""
    import torch

    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, width, generator=generator)
    head = torch.nn.Linear(width, vocabulary, bias=False)
    with torch.no_grad():
        head.weight.normal_(0, 0.3, generator=generator)
    targets = torch.randint(vocabulary, (tokens,), generator=generator)
    temperatures = torch.full((tokens,), 0.7)
    weights = torch.randn(2, tokens, generator=generator)
    if wide:
        hidden, head, temperatures, weights = hidden.double(), head.double(), temperatures.double(), weights.double()
    hidden.requires_grad_()
    memory.reset_peak()
    before, started = memory.resident_gib(), time.perf_counter()
    logprobs, entropies = WAYS[way](hidden, head, targets, temperatures)
    loss = (weights[0] * logprobs).sum()
    if entropies is not None:
        loss = loss + (weights[1] * entropies).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    seconds = time.perf_counter() - started
    assert hidden.grad is not None and head.weight.grad is not None
    return {
        "logprobs": logprobs.detach(),
        "entropies": torch.empty(0) if entropies is None else entropies.detach(),
        "gradient of hidden": hidden.grad,
        "gradient of head": head.weight.grad,
        "peak_gib": torch.tensor(memory.peak_gib() - before),
        "seconds": torch.tensor(seconds),
    }


def measure(options: argparse.Namespace) -> dict[str, float]:
    """What this process is told to measure, after a small run that loads what is loaded late."""
    import torch

    torch.set_num_threads(options.threads)
    run(options.measure, 64, 512, options.hidden)
    found = run(options.measure, options.tokens, options.vocabulary, options.hidden)
    return {"peak_gib": found["peak_gib"].item(), "seconds": found["seconds"].item()}


def compare(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """By way, the largest difference from the plain way in float64 over its largest value, on fewer tokens."""
    import torch

    torch.set_num_threads(options.threads)
    sizes = (options.equal_tokens, options.vocabulary, options.hidden)
    exact = run("plain", *sizes, wide=True)
    differences = {}
    for way in ("tiled", "plain"):
        found = run(way, *sizes)
        differences[way] = {
            name: ((found[name].double() - exact[name]).abs().max() / exact[name].abs().max()).item()
            for name in RESULTS
        }
    return differences


def child(options: argparse.Namespace, *arguments: str) -> dict[str, Any]:
    """The result of this script in a process of its own."""
    sizes = [f"--{name}={getattr(options, name)}" for name in ("tokens", "vocabulary", "hidden", "threads")]
    sizes.append(f"--equal-tokens={options.equal_tokens}")
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(
        [sys.executable, __file__, *sizes, *arguments], check=False, stdout=subprocess.PIPE, env=environment
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} ended with exit code {done.returncode}; -9 is want of memory: lower --tokens")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    options = _options()
    if options.measure or options.compare:
        print(json.dumps(measure(options) if options.measure else compare(options)))
        return
    matrix = options.tokens * options.vocabulary * 4 / 2**30
    other = "plain" if memory.available_gib() > PLAIN_MATRICES * matrix + 1 else ALONE
    errors = child(options, "--compare")
    found = {way: child(options, f"--measure={way}") for way in ("tiled", other)}
    share = found["tiled"]["peak_gib"] / found[other]["peak_gib"]
    sizes: dict[str, Any] = {
        "tokens": options.tokens, "vocabulary": options.vocabulary, "hidden": options.hidden
    }  # fmt: skip
    rows = []
    for way, facts in found.items():
        off = {f"error_{n.replace(' ', '_')}": value for n, value in errors[way.split(",")[0]].items()}
        rows.append({**sizes, "way": way, **facts, "share_of_plain": share, **off})
    machine.write(options.out, rows, machine.describe(options.threads))
    _report(found, errors, share, matrix, options)
    sys.exit(share > LARGEST_SHARE or max(errors["tiled"].values()) > TOLERANCE)


def _report(
    found: dict[str, Any], errors: dict[str, Any], share: float, matrix: float, options: argparse.Namespace
) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title=f"{options.tokens} tokens, V = {options.vocabulary}")
    for column in ("way", "peak GiB", "seconds"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for way, facts in found.items():
        table.add_row(way, f"{facts['peak_gib']:.2f}", f"{facts['seconds']:.1f}")
    console.print(table)
    off = {way: ", ".join(f"{name} {value:.1e}" for name, value in of.items()) for way, of in errors.items()}
    console.print(
        f"One [N, V] matrix in float32 is {matrix:.2f} GiB. In tiles it takes {share:.1%} of the plain way's memory "
        f"(wanted: at most {LARGEST_SHARE:.0%}).\n"
        f"Off the float64 result at {options.equal_tokens} tokens, relative to its largest value:\n"
        f"  tiled (wanted: at most {TOLERANCE:g}): {off['tiled']}\n"
        f"  plain in float32: {off['plain']}\n"
        f"Results in {options.out}",
        highlight=False,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--vocabulary", type=int, default=151936, help="Qwen2.5's by default")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--equal-tokens", type=int, default=512, help="tokens on which the results are compared")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=machine.RESULTS / "logprobs.parquet")
    parser.add_argument("--measure", choices=tuple(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--compare", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
