"""The demo's evaluation of four models of one architecture: one engine for all, against an engine for each.

The demo's four models are trained first, three of them for a few steps only. One run then evaluates all of them and
keeps its engine from model to model. Four runs evaluate one model each, so each starts an engine. Both compute every
sample anew, and both must give the same samples. The time is that of the evaluation stages alone.
"""

import subprocess
import sys
import tempfile
from typing import Annotated, Any

import typer

from bench import machine, options, records
from bench.records import Record
from hpt_core.artifacts import Store

CONFIG = machine.ROOT / "configs" / "demo.toml"
MODELS = ("base", "sft", "grpo", "hpt")
SIDES = ("shared", "own")
SHORT = [f"--set=train.{name}.steps=5" for name in MODELS[1:]]
OUT = records.latest("sharing")


def hpt(command: str, *arguments: str) -> None:
    """Run a command on the demo."""
    program = [sys.executable, "-m", "flows.cli", command, str(CONFIG), *SHORT, *arguments]
    subprocess.run(program, check=True, stdout=sys.stderr, cwd=machine.ROOT)


def seconds(store: Store, last: int) -> dict[str, float]:
    """Seconds of the evaluation of each model in the last runs."""
    runs = store.history.runs()[-last:]
    stages = (item for run in runs for item in run.stages.items())
    return {key.removeprefix("evaluate."): stage.seconds for key, stage in stages if key.startswith("evaluate.")}


def samples(store: Store) -> dict[str, str]:
    """Fingerprint of each artifact of samples -> hash of its samples."""
    return {manifest.fingerprint: manifest.outputs["samples"] for manifest in store.outputs("samples")}


def main(
    rounds: int = 3,
    steps: Annotated[int, typer.Option(help="steps of the base, which decide how long responses are")] = 400,
    threads: options.Threads = options.THREADS,
    out: options.Out = OUT,
) -> None:
    """Measure what sharing one engine saves when several models are evaluated (6 minutes)."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="sharing-") as temporary:
        store = Store(temporary)
        common = [f"--store={temporary}", f"--set=train.base.steps={steps}", f"--set=resources.threads={threads}"]
        hpt("train", *common)
        for number in range(1, rounds + 1):
            found = {}
            for side in SIDES if number % 2 else SIDES[::-1]:
                parts = ["evaluate"] if side == "shared" else [f"evaluate.{name}" for name in MODELS]
                for part in parts:
                    hpt("rerun", f"--only={part}", *common)
                found[side] = samples(store)
                rows.append({"round": number, "side": side, "seconds": seconds(store, len(parts))})
            if found["shared"] != found["own"]:
                raise SystemExit("the samples differ")
    totals = {side: [sum(row["seconds"].values()) for row in rows if row["side"] == side] for side in SIDES}
    summary = {
        "shared": min(totals["shared"]),
        "own": min(totals["own"]),
        "ratio": sorted(a / b for a, b in zip(totals["shared"], totals["own"], strict=True))[rounds // 2],
    }
    facts = {"models": len(MODELS), "rounds": rounds, "base_steps": steps}
    records.finish(out, Record("sharing", machine.describe(threads), facts, summary, rows), table)


def table(record: Record) -> str:
    """Both totals and their ratio."""
    found = record.summary
    row = (f"{found['own']:.0f} s", f"{found['shared']:.0f} s", records.share(found["ratio"]))
    columns = ("an engine for each of 4 models", "one engine for all", "median of the rounds' ratios")
    return records.markdown(columns, [row], left=0)
