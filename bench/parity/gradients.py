"""Gradients of our losses against TRL's own code, on the same weights, tokens, rewards and old log-probabilities.

It makes TRL's environment where it is missing and compares there (bench/parity/compare.py). For each case TRL's
GRPOTrainer, on a tiny random model, draws responses and computes advantages from imposed rewards with its own code; the
weights are then moved, so that the responses are off-policy with ratios on both sides of every clip, and

  "model": GRPOTrainer._compute_loss (SFTTrainer.compute_loss) in float32, backward to every weight, against the
           estimator on the same weights in float64;
  "loss":  the same method in float64, backward to the log-probabilities that the model's forward pass would hand it,
           against the estimator on those: the loss code alone, without TRL's float32 head.

Exit code 1: a gradient differs by more than 1e-5 of its largest element.
"""

from typing import Any

import typer

from bench import child, machine, options, records
from bench._peers.environments import TRL, make, variables, version
from bench.parity.cases import CASES, SFT
from bench.records import Record

TOLERANCE = 1e-5


OUT = records.latest("gradients")


def main(trl_python: options.TrlPython = None, out: options.Out = OUT) -> None:
    """Is our gradient TRL's, for each loss that both have (a minute, and TRL's environment)."""
    python = trl_python or make(TRL)
    rows: list[dict[str, Any]] = child.call("bench.parity.compare", {}, variables(), python)
    largest = {case.name: {r["what"]: r["relative"] for r in rows if r["case"] == case.name} for case in (*CASES, SFT)}
    facts = {"trl": version(python, TRL), "tolerance": TOLERANCE}
    records.finish(out, Record("gradients", machine.describe(1), facts, largest, rows), table)
    if any(row["relative"] > TOLERANCE for row in rows):
        raise typer.Exit(1)


def table(record: Record) -> str:
    """The cases, what is bridged, and the largest differences relative to the largest element."""
    rows = []
    for case in (*CASES, SFT):
        found = record.summary.get(case.name, {})
        numbers = (records.tiny(found[what]) if what in found else "" for what in ("model", "loss"))
        rows.append((case.theirs, case.mine, case.bridged, *numbers))
    return records.markdown(("TRL", "ours", "bridged", "all weights, float32", "loss alone, float64"), rows, left=3)
