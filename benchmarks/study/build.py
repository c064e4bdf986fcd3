"""`python -m benchmarks.study.build SPEC.json`: build a study's tables, figures, study.md and index.html."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt

from benchmarks.figures import ChartLine, line_chart
from benchmarks.study import markdown
from benchmarks.study.inputs import StudyInputs
from benchmarks.study.models import BUDGETS, Facts, Trained, write_models
from benchmarks.study.readings import Measured, Reading, measure, read_claims
from benchmarks.suite import GROUPS
from hpt_core.files import write_parquet, write_text
from hpt_core.worker import main, progress

POINTS = 25
"""Most points of a line."""
FIGURES = {
    "demonstration_share": ("gate", "Questions gated to their demonstration", True),
    "entropy": ("entropy", "Policy entropy, nats", False),
    "response_tokens": ("length", "Response length, tokens", False),
    "truncated_share": ("truncated", "Truncated rollouts", True),
}
"""Column of the training log -> (name of its figure, title, whether it is a share)."""


def build(inputs: StudyInputs) -> None:
    """Write tables/, figures/, study.md and index.html into `inputs.output`. Equal inputs give equal bytes.

    Raises DataError if verdicts are damaged.
    """
    report = progress("parts")
    report(0, 3, "reading the scores")
    measured = measure(inputs)
    readings = read_claims(measured)
    report(1, 3, "figures")
    figures = write_figures(measured, inputs.output / "figures")
    write_parquet(inputs.output / "tables" / "claims.parquet", claims_table(measured, readings))
    models = [model for seeds in measured.trained.values() for model in seeds.values()]
    write_models(inputs.output / "tables", models, Facts(declared=measured.declared, trials=dict(measured.trials)))
    text = markdown.study(measured, readings, figures)
    report(2, 3, "page")
    write_text(inputs.output / "study.md", text)
    body = MarkdownIt("js-default").render(text)
    page = _templates().get_template("page.html.j2").render(title=inputs.title, body=body)
    write_text(inputs.output / "index.html", page)
    report(3, 3, "")


def write_figures(measured: Measured, folder: Path) -> dict[str, str]:
    """The figures that have anything to show: title -> file name."""
    found: dict[str, tuple[str, str, list[ChartLine], bool]] = {}
    for budget, words in BUDGETS.items():
        title = f"Reward on held-out questions against {words}"
        found[title] = f"validation-{budget}.svg", words, _lines(measured, "validation_reward", budget), True
    for column, (name, title, is_share) in FIGURES.items():
        found[title] = f"{name}.svg", "steps", _lines(measured, column, "steps"), is_share
    for group in GROUPS:
        found[f"pass@k, {GROUPS[group]}"] = f"pass-at-k-{group}.svg", "k", pass_curves(measured, group), True
    written = {}
    for title, (name, x_label, lines, is_share) in found.items():
        if lines:
            write_text(folder / name, line_chart(title, x_label, lines, is_share))
            written[title] = name
    return written


def _lines(measured: Measured, column: str, budget: str) -> list[ChartLine]:
    """A column against a budget, as the mean over a method's seeds; only methods that logged anything."""
    found = []
    for color, (method, seeds) in enumerate(measured.trained.items()):
        lines = [_points(model, column, budget) for model in seeds.values()]
        length = min(map(len, lines))
        if length:
            xs, ys = np.mean([line[:length] for line in lines], axis=0).T
            found.append(ChartLine(method, _thinned(xs, ys), color))
    return found


def _points(model: Trained, column: str, budget: str) -> npt.NDArray[np.float64]:
    """[T, 2]"""
    known = np.isfinite(model.curves[column])
    return np.stack([model.spent[budget][known], model.curves[column][known]], axis=1)


def _thinned(xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    """At most POINTS points, each the mean of several."""
    parts = np.array_split(np.arange(len(xs)), min(POINTS, len(xs)))
    return [(float(xs[part].mean()), float(ys[part].mean())) for part in parts]


def pass_curves(measured: Measured, group: str) -> list[ChartLine]:
    """pass@k of each method at powers of two up to the fewest samples of the group's benchmarks, mean over seeds.

    Empty if those have one sample per question.
    """
    benchmarks = measured.benchmarks(group)
    most = min((b.k for b in benchmarks), default=1)
    if most == 1:
        return []
    ks = [2**n for n in range(most.bit_length())]
    found = []
    for color, (method, seeds) in enumerate(measured.trained.items()):
        passed = {k: [_passed(m, b.name, b.k, k) for m in seeds.values() for b in benchmarks] for k in ks}
        found.append(ChartLine(method, [(float(k), float(np.mean(values))) for k, values in passed.items()], color))
    return found


def _passed(model: Trained, benchmark: str, n: int, k: int) -> float:
    from hpt_core.evaluation.metrics import pass_at_k

    counts = np.bincount(model.correct[benchmark], minlength=n + 1)
    return sum(int(count) * pass_at_k(n, c, k) for c, count in enumerate(counts) if count) / int(counts.sum())


def claims_table(measured: Measured, readings: Sequence[Mapping[str, Reading]]) -> pa.Table:
    """One row per claim and reading."""
    rows: list[dict[str, Any]] = []
    for claim, by_budget in zip(measured.inputs.claims, readings, strict=True):
        for reading in by_budget.values():
            found = reading.found
            low, high = (None, None) if found is None or found.seeds < 2 else found.interval()
            rows.append(
                {
                    **claim.model_dump(),
                    "budget": reading.budget or "as trained",
                    "difference": found and found.mean,
                    "low": low,
                    "high": high,
                    "p_holm": reading.p_holm,
                    "verdict": reading.verdict,
                    "seeds": found.seeds if found else 0,
                    "seeds_needed": reading.needs[0],
                    "questions_factor_needed": reading.needs[1],
                }
            )
    return pa.Table.from_pylist(rows, CLAIMS)


_TEXT, _I32, _F64 = pa.string(), pa.int32(), pa.float64()
CLAIMS = pa.schema(
    [
        ("method", _TEXT), ("than", _TEXT), ("metric", _TEXT), ("direction", _TEXT), ("effect", _F64),
        ("budget", _TEXT), ("difference", _F64), ("low", _F64), ("high", _F64), ("p_holm", _F64), ("verdict", _TEXT),
        ("seeds", _I32), ("seeds_needed", _I32), ("questions_factor_needed", _F64),
    ]
)  # fmt: skip
"""tables/claims.parquet. Differences are fractions of 1."""


@cache
def _templates() -> Environment:
    return Environment(loader=PackageLoader("benchmarks.study"), autoescape=True, undefined=StrictUndefined)


if __name__ == "__main__":
    main(StudyInputs, build)
