"""Seconds of a training step by phase: 0.8M parameters, 16 questions x 8 rollouts x at most 96 tokens.

A short SFT stage comes first, so responses end by themselves as they do in real runs. The first step of each stage is a
warm-up and does not count.
"""

import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import pyarrow.parquet as pq
import typer

from bench import machine, options, records
from bench.records import Record
from bench.speed import sums
from hpt_core.files import write_json
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


def train(folder: Path, name: str, model: Path, threads: int, **config: Any) -> Path:
    """Run the worker and return its output folder."""
    spec = {
        "config": {"sampling": {"max_tokens": 96}, **config},
        "prompt": sums.PROMPT,
        "model": str(model),
        "data": str(folder / "prepared.parquet"),
        "seed": 0,
        "threads": threads,
        "work": str(folder / name / "work"),
        "output": str(folder / name / "output"),
    }
    write_json(folder / f"{name}.json", spec)
    command = [sys.executable, "-m", "hpt_core.train", str(folder / f"{name}.json")]
    subprocess.run(command, check=True, stdout=sys.stderr, cwd=machine.ROOT)
    return folder / name / "output"


def medians(output: Path) -> dict[str, Any]:
    """Medians over the steps of a run without the first. A value is None if the stage samples no rollouts."""
    log = pq.read_table(output / "log.parquet", columns=list(COLUMNS)).slice(1)
    found = {name: statistics.median(values) for name, values in log.to_pydict().items()}
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


OUT = records.latest("phases")


def main(
    steps: Annotated[int, typer.Option(help="measured steps")] = 10,
    algorithm: Annotated[str, typer.Option(help="algorithm of the stage after SFT")] = "hpt",
    warmup: Annotated[int, typer.Option(help="SFT steps, 64 rows each")] = 40,
    threads: options.Threads = options.THREADS,
    out: options.Out = OUT,
) -> None:
    """Measure the seconds of a training step by phase, at the demo's size (a few minutes)."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ScratchModel().materialize(folder / "model", lambda done, total, text: None)
        sums.write(folder / "prepared.parquet", load_tokenizer(folder / "model"), 300)
        rate = {"learning_rate": 2e-3}
        sft = {"algorithm": "sft", "steps": warmup, "questions_per_step": 64, "optimizer": rate}
        base = train(folder, "sft", folder / "model", threads, **sft)
        rl = {"algorithm": algorithm, "steps": steps + 1, "questions_per_step": 16}
        output = train(folder, "rl", base / "model", threads, optimizer={"learning_rate": 2e-4}, **rl)
        found = {"sft": medians(base), algorithm: medians(output)}
    facts = {"steps": {"sft": warmup - 1, algorithm: steps}, "parameters": 0.8e6, "rollouts": 128, "max_tokens": 96}
    records.finish(out, Record("phases", machine.describe(threads), facts, found), table)


def table(record: Record) -> str:
    """Medians by stage."""
    columns = ("stage", *(name.replace("_", " ") for name in COLUMNS))
    rows = [(stage, *(_cell(name, found[name]) for name in COLUMNS)) for stage, found in record.summary.items()]
    return records.markdown(columns, rows)


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if column == "tokens_per_second" else f"{value:.3f}"
