"""Gradients of our losses against TRL's own code, on the same weights, tokens, rewards and old log-probabilities.

The command creates TRL's environment if it is missing, and compares there (bench/parity/compare.py). For each case,
TRL's GRPOTrainer samples responses from a tiny random model and computes advantages from fixed rewards. Then noise is
added to the weights, so the responses are off-policy and the ratios exceed the clip range on both sides. Two gradients
are compared:

  "model": the gradient of every weight: GRPOTrainer._compute_loss (SFTTrainer.compute_loss) in float32 against the
           estimator on the same weights in float64.
  "loss":  the gradient of the log-probabilities: the same method in float64 against the estimator. This compares the
           loss code without TRL's float32 head.

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
    """Compare our gradient with TRL's for each loss that both have (1 minute; needs TRL's environment)."""
    python = trl_python or make(TRL)
    rows: list[dict[str, Any]] = child.call("bench.parity.compare", {}, variables(), python)
    largest = {case.name: {r["what"]: r["relative"] for r in rows if r["case"] == case.name} for case in (*CASES, SFT)}
    facts = {"trl": version(python, TRL), "tolerance": TOLERANCE}
    records.finish(out, Record("gradients", machine.describe(1), facts, largest, rows), table)
    if any(row["relative"] > TOLERANCE for row in rows):
        raise typer.Exit(1)


def table(record: Record) -> str:
    """One row per case: settings, the difference that they remove, and the largest relative differences."""
    rows = []
    for case in (*CASES, SFT):
        found = record.summary.get(case.name, {})
        numbers = (records.tiny(found[what]) if what in found else "" for what in ("model", "loss"))
        rows.append((case.theirs, case.mine, case.bridged, *numbers))
    return records.markdown(
        ("TRL", "ours", "difference that the settings remove", "all weights, float32", "loss alone, float64"),
        rows,
        left=3,
    )
