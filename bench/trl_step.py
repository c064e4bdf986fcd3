"""One GRPO training step of ours against TRL's GRPOTrainer: seconds and peak memory, on this machine, in this run.

    python bench/trl_step.py --model models/smollm2-135m [--pairs 5] [--trl-micro-batch 8] [--out FILE.parquet]

8 questions x 8 rollouts x exactly 128 new tokens, float32, the same threads, prompts, lengths and AdamW in both. The
two sides live in processes of their own, load once, do one uncounted step each, and then take turns.
docs/benchmarks.md says what is fair about it and what is not measured.
"""

import argparse
import contextlib
import functools
import itertools
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import machine
import memory
import pyarrow as pa
import trl_env
from rich.console import Console
from rich.table import Table
from stepper import Ended, Side

from hpt_core import schemas, worker
from hpt_core.files import write_json, write_parquet
from hpt_core.model_folder import load_tokenizer
from hpt_core.prompts.chat import ChatTemplate as Chat

QUESTIONS = (
    ("A baker makes 14 trays of rolls with 12 on each. She sells 95 rolls in the morning and half of what is left "
     "in the afternoon, and gives 7 to a neighbor. How many rolls does she have left, rounded down?", "29"),
    ("A train covers 180 km in 2.5 hours and then slows down by 12 km/h for the next 95 minutes. How many whole "
     "kilometres has it covered altogether?", "275"),
    ("Maya saves 15 dollars a week for 12 weeks, spends a third of it on a present and 18 dollars on books, and then "
     "doubles what is left by working in the holidays. How many dollars does she have?", "204"),
    ("A garden is 18 m long and 11 m wide. A path 1 m wide runs all around it on the outside. How many square metres "
     "does the path cover?", "62"),
    ("Three pumps fill a tank in 6 hours. After 2 hours one of them fails. How many hours does filling the tank take "
     "altogether?", "8"),
    ("A school has 23 classes of 27 pupils. On Monday 48 pupils are ill, and a quarter of the others are on an "
     "excursion. How many whole pupils are in school, rounded up?", "430"),
    ("A shop buys 40 lamps at 17 dollars each, sells 28 of them at 31 dollars and the rest at 12 dollars. How many "
     "dollars is its profit?", "332"),
    ("Tom reads 24 pages a day from Monday to Friday and 41 pages on each day of the weekend. After how many full "
     "weeks has he finished a book of 1,010 pages?", "5"),
)  # fmt: skip
"""(question, answer): answers differ, and the outcomes are imposed anyway."""
PHASES = ("rollout", "verify", "update", "sync")


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="trl-step-") as temporary:
        try:
            rows = measure(options, Path(temporary))
        except Ended as error:
            sys.exit(f"{error}\nRemedy: lower --trl-micro-batch, or start the sides anew for each pair with --fresh")
    found = machine.describe(options.threads)
    machine.write(options.out, rows, found)
    report(rows, found, options)


def measure(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One row a pair."""
    rows = []
    with contextlib.ExitStack() as stack:
        steps = {}
        for name, start in starters(options, folder).items():
            steps[name] = functools.partial(_once, start) if options.fresh else stack.enter_context(_resident(start))
        for pair in range(1, options.pairs + 1):
            row: dict[str, Any] = {
                "pair": pair,
                "trl_micro_batch": options.trl_micro_batch,
                "ours_micro_batch_tokens": options.micro_batch_tokens,
            }
            for name, step in steps.items():
                facts = step()
                _check(name, facts, options)
                row |= {f"{name}_{key}": value for key, value in facts.items()}
            row["ratio"] = row["trl_seconds"] / row["ours_seconds"]
            print(
                f"pair {pair}/{options.pairs}: ours {row['ours_seconds']:.1f} s, TRL {row['trl_seconds']:.1f} s, "
                f"{row['ratio']:.2f} times",
                file=sys.stderr,
            )
            rows.append(row)
    return rows


def starters(options: argparse.Namespace, folder: Path) -> dict[str, Callable[[], Side]]:
    """By side, a function that starts its process."""
    environment = {"OMP_NUM_THREADS": str(options.threads), "MKL_NUM_THREADS": str(options.threads)}
    here = Path(__file__).resolve().parent
    prompt = Chat().bind(load_tokenizer(options.model))
    prompts = {
        "prompts": [prompt.render(question) for question, _ in QUESTIONS],
        "prompt_ids": [prompt.encode(question) for question, _ in QUESTIONS],
    }
    _prepare(folder, prompts["prompt_ids"])
    trl_python = trl_env.python(options)
    runs = itertools.count(1)

    def start(name: str, python: str, script: str, spec: dict[str, Any]) -> Side:
        run = folder / f"{name}-{next(runs)}"
        write_json(run / "spec.json", {**spec, "output": str(run / "output")})
        own = worker.ENVIRONMENT if name == "ours" or options.same_environment else {}
        return Side(name, [python, str(here / script), str(run / "spec.json")], run / "log", {**own, **environment})

    def ours() -> Side:
        work = folder / f"work-{next(runs)}"
        return start("ours", sys.executable, "trl_step_ours.py", {**_our_spec(options, folder), "work": str(work)})

    def trl() -> Side:
        return start("trl", str(trl_python), "trl_step_trl.py", {**_trl_spec(options), **prompts})

    return {"ours": ours, "trl": trl}


def _once(start: Callable[[], Side]) -> dict[str, Any]:
    """One step of a process started for it, after the one that is not counted."""
    with start() as side:
        side.warm()
        return side.step()


@contextlib.contextmanager
def _resident(start: Callable[[], Side]) -> Iterator[Callable[[], dict[str, Any]]]:
    """Steps of one process that stays."""
    with start() as side:
        facts = side.warm()
        print(
            f"{side.name} is ready: {facts['tree_gib']:.1f} GiB at its first step, which took "
            f"{facts['seconds']:.0f} s with loading; {memory.available_gib():.1f} GiB are left",
            file=sys.stderr,
        )
        if memory.available_gib() < 1:
            sys.exit("memory is too short for both sides at once. Remedy: --fresh, or lower --trl-micro-batch")
        yield side.step


def _prepare(folder: Path, prompt_ids: list[list[int]]) -> None:
    rows = [
        {
            "question_id": f"q{i}",
            "question": question,
            "gold": gold,
            "kind": "math",
            "family": "",
            "prompt_tokens": len(prompt_ids[i]),
        }
        for i, (question, gold) in enumerate(QUESTIONS)
    ]
    write_parquet(folder / "prepared.parquet", pa.Table.from_pylist(rows, schema=schemas.PREPARED))


def _our_spec(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A TrainSpec. It has a step more than is asked for: the last one would be followed by a checkpoint."""
    config = {
        "from": "model.base",
        "data": "data.bench",
        "algorithm": "grpo",
        "steps": options.pairs + 2,
        "questions_per_step": len(QUESTIONS),
        "rollouts_per_question": options.rollouts,
        "sampling": {"temperature": 1.0, "top_p": 1.0, "max_tokens": options.tokens},
        "optimizer": {"learning_rate": options.learning_rate},
        "dtype": "float32",
        "micro_batch_tokens": options.micro_batch_tokens,
        "gradient_checkpointing": options.gradient_checkpointing,
        "checkpoint_every": options.pairs + 2,
    }
    return {
        "config": config,
        "prompt": {"name": "chat"},
        "model": str(options.model.resolve()),
        "data": str(folder / "prepared.parquet"),
        "seed": 0,
        "threads": options.threads,
    }


def _trl_spec(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "model": str(options.model.resolve()),
        "rollouts": options.rollouts,
        "tokens": options.tokens,
        "micro_batch": options.trl_micro_batch,
        "learning_rate": options.learning_rate,
        "gradient_checkpointing": options.gradient_checkpointing,
        "steps": options.pairs + 2,
        "threads": options.threads,
        "seed": 0,
    }


def _check(name: str, facts: dict[str, Any], options: argparse.Namespace) -> None:
    """End the run where a side did not do the work that is compared."""
    wrong = facts["response_tokens"] != options.tokens or facts["reward"] != 0.5
    if name == "ours":
        wrong |= facts["rows_rl"] != len(QUESTIONS) * options.rollouts or facts["updates"] != 1
    else:
        wrong |= facts["longest"] != options.tokens or facts["groups_without_gradient"] != 0
    if wrong:
        sys.exit(f"{name} did other work than was asked for: {facts}")


def report(rows: list[dict[str, Any]], found: dict[str, Any], options: argparse.Namespace) -> None:
    """The table, and what is wanted."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    sequences = f"{len(QUESTIONS)} x {options.rollouts} x {options.tokens} tokens"
    table = Table(title=f"A GRPO step, {sequences}, {options.threads} threads, float32")
    for column in ("pair", "ours s", "TRL s", "ratio", "ours GiB", "TRL GiB", *PHASES, "TRL rollout"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(str(row["pair"]), *_cells(row))
    for label, pick in (("min", min), ("median", statistics.median), ("max", max)):
        table.add_row(label, *_cells({key: pick([r[key] for r in rows]) for key in NUMBERS}), style="bold")
    console.print(table)
    share = {phase: _median(rows, f"ours_seconds_{phase}") / _median(rows, "ours_seconds") for phase in PHASES}
    console.print(
        f"TRL's step takes {_median(rows, 'ratio'):.2f} times ours (median of {len(rows)} pairs; "
        f"{min(r['ratio'] for r in rows):.2f} to {max(r['ratio'] for r in rows):.2f}); wanted: 2.\n"
        f"Peak memory of a step: ours {max(r['ours_tree_gib'] for r in rows):.2f} GiB with its verifiers, "
        f"TRL {max(r['trl_tree_gib'] for r in rows):.2f} GiB (micro-batch {options.trl_micro_batch}); "
        "wanted: at most TRL's.\n"
        f"Of our step: sync {share['sync']:.2%} (wanted: under 2 %), verification {share['verify']:.2%} (under 5 %), "
        f"rollouts {share['rollout']:.0%}, update {share['update']:.0%}.\n"
        f"{found['machine_cpu']}, {found['machine_cores']} cores, {found['machine_memory_gib']} GiB; "
        f"{found['machine_packages']}; results in {options.out}",
        highlight=False,
    )


NUMBERS = (
    "ours_seconds", "trl_seconds", "ratio", "ours_tree_gib", "trl_tree_gib",
    *(f"ours_seconds_{phase}" for phase in PHASES), "trl_seconds_rollout",
)  # fmt: skip


def _cells(row: dict[str, Any]) -> list[str]:
    return [f"{row[key]:.3f}" if key.endswith(("_verify", "_sync")) else f"{row[key]:.2f}" for key in NUMBERS]


def _median(rows: list[dict[str, Any]], key: str) -> float:
    return statistics.median(row[key] for row in rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder that `hpt models fetch smollm2-135m` makes")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tokens", type=int, default=128, help="new tokens of every response")
    parser.add_argument("--rollouts", type=int, default=8, help="rollouts of each of the 8 questions")
    parser.add_argument("--trl-micro-batch", type=int, default=8, help="sequences of one forward pass of TRL's")
    parser.add_argument("--micro-batch-tokens", type=int, default=1280, help="tokens of one forward pass of ours")
    parser.add_argument("--learning-rate", type=float, default=1e-6)
    parser.add_argument("--gradient-checkpointing", action="store_true", help="in both")
    parser.add_argument("--same-environment", action="store_true", help="start TRL's with our workers' variables")
    parser.add_argument("--fresh", action="store_true", help="start each side anew for each pair: needs less memory")
    parser.add_argument("--out", type=Path, default=machine.RESULTS / "trl_step.parquet")
    trl_env.add_options(parser)
    options = parser.parse_args()
    if len(QUESTIONS) * options.rollouts % options.trl_micro_batch or options.rollouts % 2:
        parser.error("--trl-micro-batch must divide the sequences, and --rollouts must be even")
    if not (options.model / "config.json").exists():
        parser.error(f"there is no model in {options.model}; make it: hpt models fetch smollm2-135m")
    return options


if __name__ == "__main__":
    main()
