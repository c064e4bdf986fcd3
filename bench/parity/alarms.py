"""How often the History page and notifications call a model worse that is not: nights of made-up equal models.

Each night, models answer the paper's eight benchmarks. Every question has a chance of its own, which stays the same
from night to night, so each night's model is as good as the one before. What the product then tests is tested here, by
its own functions: the exact sign-flip test per model and benchmark, Holm-corrected over all tests of a night. Then one
model of each night is really weaker by some points, and the share of nights that notice it is counted.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from bench import machine, options, records
from bench.records import Record
from benchmarks.catalog.paired import ALPHA
from benchmarks.significance import holm, sign_flip_exact

SUITES = {
    "aime24": (30, 32),
    "aime25": (30, 32),
    "amc": (83, 32),
    "math500": (500, 1),
    "minerva": (272, 1),
    "olympiadbench": (674, 1),
    "arc_challenge": (1172, 1),
    "gpqa_diamond": (198, 1),
}
"""Questions and samples per question, as in the paper."""
WEAKER = (0.0, 0.01, 0.02, 0.03, 0.05)
"""By how much the chance of one model falls on every question, as a share of 1."""
OUT = records.latest("alarms")
Chances = npt.NDArray[np.float64]


def main(
    nights: Annotated[int, typer.Option(min=2, help="nights of each row")] = 1000,
    models: Annotated[int, typer.Option(min=1, help="models of a night")] = 4,
    seed: Annotated[int, typer.Option(help="seed of the answers")] = 1,
    out: options.Out = OUT,
) -> None:
    """Count the nights with a false alarm, and those that notice a weaker model (1 minute)."""
    rows = [measure(nights, models, weaker, seed) for weaker in WEAKER]
    summary = {"false_alarms": rows[0]["worse"], "family_wise": rows[0]["changed"]}
    settings = {"nights": nights, "models": models, "seed": seed, "alpha": ALPHA, "suites": SUITES}
    records.finish(out, Record("alarms", machine.describe(1), settings, summary, rows), table)


def measure(nights: int, models: int, weaker: float, seed: int) -> dict[str, float]:
    """Shares of the nights in which any score was better or worse, any was worse, and the first model's was worse."""
    generator = np.random.default_rng(seed)
    chances = {name: generator.beta(0.5, 0.5, size=(models, count)) for name, (count, _) in SUITES.items()}
    lower = {name: chance.copy() for name, chance in chances.items()}
    for chance in lower.values():
        chance[0] = np.clip(chance[0] - weaker, 0, 1)
    changed = worse = found = 0
    for _ in range(nights):
        verdicts = _night(generator, chances, lower)
        changed += bool(verdicts.any())
        worse += bool((verdicts < 0).any())
        found += bool((verdicts[0] < 0).any())
    return {"weaker": weaker, "changed": changed / nights, "worse": worse / nights, "noticed": found / nights}


def _night(
    generator: np.random.Generator, before: dict[str, Chances], after: dict[str, Chances]
) -> npt.NDArray[np.int64]:
    """[models, benchmarks] 1 for better, -1 for worse, 0 for neither."""
    differences = [
        generator.binomial(k, after[name]) - generator.binomial(k, before[name]) for name, (_, k) in SUITES.items()
    ]
    tests = [(place, row) for place, found in enumerate(differences) for row in range(len(found))]
    p_values = holm([sign_flip_exact(differences[place][row]) for place, row in tests])
    verdicts = np.zeros((len(differences[0]), len(differences)), np.int64)
    for (place, row), p in zip(tests, p_values, strict=True):
        if p < ALPHA:
            verdicts[row, place] = np.sign(differences[place][row].sum())
    return verdicts


def table(record: Record) -> str:
    """One line per size of the planted difference."""
    count = record.settings["nights"]
    rows = [
        (
            f"{100 * row['weaker']:.1f} points" if row["weaker"] else "all models equal",
            *(f"{100 * row[name]:.1f} %" for name in ("changed", "worse")),
            f"{100 * row['noticed']:.1f} %" if row["weaker"] else "-",
        )
        for row in record.rows
    ]
    columns = ("one model is weaker by", "any score changed", "any score worse", "the weaker model worse")
    return f"Shares of {count:,} nights.\n\n{records.markdown(columns, rows)}"
