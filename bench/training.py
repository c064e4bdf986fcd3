"""Seconds of a training step by phase: 0.8M parameters, 16 questions x 8 rollouts x at most 96 tokens, on this machine.

    python bench/training.py [--steps 10] [--threads N] [--algorithm hpt] [--warmup 40] [--out FILE.parquet]

A short SFT stage comes first, so that responses end by themselves as they do in real runs. The first step of each
stage, which loads what is loaded late, is not counted.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import machine
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from hpt_core import schemas
from hpt_core.files import write_json, write_parquet
from hpt_core.model_folder import load_tokenizer
from hpt_core.models.scratch import ScratchModel

COLUMNS = (
    "seconds_rollout",
    "seconds_verify",
    "seconds_update",
    "seconds_sync",
    "tokens_per_second",
    "response_tokens",
    "peak_memory_gib",
)
"""Columns of the training log."""


def chains(count: int) -> list[tuple[str, int, str]]:
    """(question, answer, worked solution) of sums of two to four digits."""
    made = []
    generator = random.Random(0)
    for i in range(count):
        digits = [generator.randrange(10) for _ in range(2 + i % 3)]
        total, lines = digits[0], []
        for digit in digits[1:]:
            lines.append(f"{total}+{digit}={total + digit}")
            total += digit
        made.append(("+".join(map(str, digits)), total, "; ".join(lines) + f" \\boxed{{{total}}}"))
    return list({question: (question, total, text) for question, total, text in made}.values())


def prepare(folder: Path) -> None:
    """Model and prepared.parquet."""
    ScratchModel().materialize(folder / "model", lambda done, total, text: None)
    tokenizer = load_tokenizer(folder / "model")
    rows = [
        {
            "question_id": question,
            "question": question,
            "gold": str(total),
            "kind": "math",
            "family": "sum",
            "prompt_tokens": len(tokenizer(f"{question} ").input_ids),
            "demonstration": text,
            "demonstration_tokens": len(text) + 1,
            "demonstration_verdict": "correct",
        }
        for question, total, text in chains(300)
    ]
    write_parquet(folder / "prepared.parquet", pa.Table.from_pylist(rows, schema=schemas.PREPARED))


def train(folder: Path, name: str, model: Path, threads: int, **config: Any) -> Path:
    """Run the worker; its output folder."""
    spec = {
        "config": {"from": "model.base", "data": "data.sums", "sampling": {"max_tokens": 96}, **config},
        "prompt": {"name": "plain", "template": "{question} ", "instruction": None},
        "model": str(model),
        "data": str(folder / "prepared.parquet"),
        "seed": 0,
        "threads": threads,
        "work": str(folder / name / "work"),
        "output": str(folder / name / "output"),
    }
    write_json(folder / f"{name}.json", spec)
    subprocess.run(
        [sys.executable, "-m", "hpt_core.train", str(folder / f"{name}.json")], check=True, stdout=sys.stderr
    )
    return folder / name / "output"


def medians(output: Path) -> dict[str, Any]:
    """Medians over the steps of a run, but for the first."""
    log = pq.read_table(output / "log.parquet", columns=list(COLUMNS)).slice(1)
    return {name: statistics.median(values) for name, values in log.to_pydict().items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--algorithm", default="hpt")
    parser.add_argument("--warmup", type=int, default=40, help="SFT steps of 64 rows")
    parser.add_argument("--out", type=Path, default=machine.RESULTS / "training.parquet")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        rate = {"learning_rate": 2e-3}
        sft = {"algorithm": "sft", "steps": options.warmup, "questions_per_step": 64, "optimizer": rate}
        base = train(folder, "sft", folder / "model", options.threads, **sft)
        rl = {"algorithm": options.algorithm, "steps": options.steps + 1, "questions_per_step": 16}
        output = train(folder, "rl", base / "model", options.threads, optimizer={"learning_rate": 2e-4}, **rl)
        rows = [
            {"algorithm": "sft", "steps": options.warmup - 1, **medians(base)},
            {"algorithm": options.algorithm, "steps": options.steps, **medians(output)},
        ]
    machine.write(options.out, rows, machine.describe(options.threads))
    table = Table(title=f"Medians over the steps, {options.threads} threads")
    for column in ("algorithm", *COLUMNS):
        table.add_column(column.replace("_", " "), justify="left" if column == "algorithm" else "right")
    for row in rows:
        table.add_row(row["algorithm"], *(f"{row[name]:.3f}" for name in COLUMNS))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
