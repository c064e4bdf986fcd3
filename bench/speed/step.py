"""One GRPO training step of ours against TRL's GRPOTrainer: seconds and peak memory, in one run.

8 questions x 8 rollouts x exactly 128 new tokens, float32, with the same threads, prompts, lengths and AdamW on both
sides. Each side is a separate process that loads once and runs one warm-up step. Then the sides take turns.
docs/benchmarks.md lists what is the same and what differs.
"""

import contextlib
import functools
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import machine, memory, options, records
from bench._peers.environments import TRL, make, version
from bench._peers.stepper import Ended, Side
from bench.records import Record, share, shown
from bench.speed._sides import QUESTIONS, Settings, starters

PHASES = ("rollout", "verify", "update", "sync")
Row = dict[str, Any]


OUT = records.latest("step")


def main(
    model: options.Model = options.MODEL,
    pairs: Annotated[int, typer.Option(help="measured steps of each side")] = 5,
    threads: options.Threads = options.THREADS,
    tokens: Annotated[int, typer.Option(help="new tokens of every response")] = 128,
    rollouts: Annotated[int, typer.Option(help="rollouts of each of the 8 questions")] = 8,
    trl_micro_batch: Annotated[int, typer.Option(help="sequences in one forward pass of TRL")] = 8,
    micro_batch_tokens: Annotated[int, typer.Option(help="tokens in one forward pass of ours")] = 1280,
    learning_rate: float = 1e-6,
    gradient_checkpointing: Annotated[bool, typer.Option(help="turn it on for both sides")] = False,
    same_environment: Annotated[bool, typer.Option(help="start TRL with our workers' variables too")] = False,
    fresh: Annotated[bool, typer.Option(help="start each side again for each pair, which needs less memory")] = False,
    trl_python: options.TrlPython = None,
    out: options.Out = OUT,
) -> None:
    """Compare seconds and memory of a GRPO step with TRL (24 GiB, a few minutes per pair)."""
    options.require_model(model)
    if len(QUESTIONS) * rollouts % trl_micro_batch or rollouts % 2:
        raise typer.BadParameter("--trl-micro-batch must divide the sequences, and --rollouts must be even")
    trl = trl_python or make(TRL)
    settings = Settings(
        model, pairs, threads, tokens, rollouts, trl_micro_batch, micro_batch_tokens, learning_rate,
        gradient_checkpointing, same_environment,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="step-") as temporary:
        try:
            rows = measure(settings, Path(temporary), trl, fresh)
        except Ended as error:
            sys.exit(f"{error}\nRemedy: lower --trl-micro-batch, or use --fresh to start the sides again for each pair")
    facts = {**settings.facts(), "fresh": fresh, "trl": version(trl, TRL)}
    records.finish(out, Record("step", machine.describe(threads), facts, summary(rows), rows), table)


def measure(settings: Settings, folder: Path, trl: Path, fresh: bool) -> list[Row]:
    """One row per pair of steps. Raises Ended."""
    rows = []
    with contextlib.ExitStack() as stack:
        steps = {}
        for name, start in starters(settings, folder, trl).items():
            steps[name] = functools.partial(_once, start) if fresh else stack.enter_context(_resident(start))
        for pair in range(1, settings.pairs + 1):
            row: Row = {"pair": pair}
            for name, step in steps.items():
                facts = step()
                _check(name, facts, settings)
                row |= {f"{name}_{key}": value for key, value in facts.items()}
            row["ratio"] = row["trl_seconds"] / row["ours_seconds"]
            print(
                f"pair {pair}/{settings.pairs}: ours {row['ours_seconds']:.1f} s, TRL {row['trl_seconds']:.1f} s, "
                f"{row['ratio']:.2f} times",
                file=sys.stderr,
            )
            rows.append(row)
    return rows


def _once(start: Callable[[], Side]) -> Row:
    """Start a process for one measured step, after its warm-up step."""
    with start() as side:
        side.warm()
        return side.step()


@contextlib.contextmanager
def _resident(start: Callable[[], Side]) -> Iterator[Callable[[], Row]]:
    """Keep one process and yield the function that runs a step in it."""
    with start() as side:
        facts = side.warm()
        print(
            f"{side.name} is ready: {facts['tree_gib']:.1f} GiB at its first step, which took "
            f"{facts['seconds']:.0f} s with loading; {memory.available_gib():.1f} GiB are left",
            file=sys.stderr,
        )
        if memory.available_gib() < 1:
            sys.exit("not enough memory for both sides at once. Remedy: --fresh, or a smaller --trl-micro-batch")
        yield side.step


def _check(name: str, facts: Row, settings: Settings) -> None:
    """Exit if a side did different work."""
    wrong = facts["response_tokens"] != settings.tokens or facts["reward"] != 0.5
    if name == "ours":
        wrong |= facts["rollout_rows"] != len(QUESTIONS) * settings.rollouts or facts["updates"] != 1
    else:
        wrong |= facts["longest"] != settings.tokens or facts["groups_without_gradient"] != 0
    if wrong:
        sys.exit(f"{name} did different work: {facts}")


def summary(rows: list[Row]) -> dict[str, Any]:
    """Medians over the pairs; for memory the maximum."""

    def median(key: str) -> float:
        return float(statistics.median(row[key] for row in rows))

    ratios = [row["ratio"] for row in rows]
    return {
        "ratio": median("ratio"),
        "ratio_least": min(ratios),
        "ratio_largest": max(ratios),
        "pairs": len(rows),
        "ours_seconds": median("ours_seconds"),
        "trl_seconds": median("trl_seconds"),
        "ours_gib": max(row["ours_tree_gib"] for row in rows),
        "trl_gib": max(row["trl_tree_gib"] for row in rows),
        "trl_seconds_rollout": median("trl_seconds_rollout"),
        **{f"ours_seconds_{phase}": median(f"ours_seconds_{phase}") for phase in ("rollout", "update")},
        **{f"{phase}_share": median(f"ours_seconds_{phase}") / median("ours_seconds") for phase in ("sync", "verify")},
    }


def table(record: Record) -> str:
    """Seconds and memory with their targets."""
    found = record.summary
    times = (
        f"{found['ratio']:.2f}, median of {found['pairs']} pairs; {found['ratio_least']:.2f} to "
        f"{found['ratio_largest']:.2f} (median {found['trl_seconds']:.1f} s / {found['ours_seconds']:.1f} s)"
    )
    gib = f"{found['ours_gib']:.2f} / {found['trl_gib']:.2f} GiB; ours includes its verifier processes"
    rollout = f"ours {shown(found['ours_seconds_rollout'], '{:.0f}')} s, TRL {found['trl_seconds_rollout']:.0f} s"
    rows = [
        ("seconds, TRL / ours", "at least 2", times),
        ("peak memory, ours / TRL", "at most 1", gib),
        ("weight sync, share of our step", "under 2 %", share(found["sync_share"])),
        ("verification outside generation, share of our step", "under 5 %", share(found["verify_share"])),
        ("seconds of rollouts", "", rollout),
        ("seconds of our update", "", f"{found['ours_seconds_update']:.0f} s"),
    ]
    return records.markdown(("", "target", "measured"), rows, left=3)
