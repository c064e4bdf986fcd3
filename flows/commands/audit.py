"""`hpt audit`: the samples on which graders differ."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Set, StoreOption
from flows.commands.samples import stored
from hpt_core.evaluation.audit import Audited, audit, counts
from hpt_core.verifiers.base import Outcome
from hpt_core.verifiers.pool import VerifierPool

app = typer.Typer()
TITLES = {"ours": "ours", "string": "string", "math_verify": "Math-Verify"}

Disputed = tuple[str, str, Audited]
"""Model, benchmark, sample."""


@app.command(name="audit")
def audit_command(
    config: ConfigFile,
    model: Annotated[str | None, typer.Option("--model", help="NAME of an evaluated model; all of them.")] = None,
    benchmark: Annotated[str | None, typer.Option("--benchmark", help="One benchmark; all of them.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Samples shown at most; JSON holds all of them.")] = 20,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that grade.")] = 2,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that one comparison may take.")] = 5.0,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Hold the stored samples' verdicts against a plain string comparison and Math-Verify, and show where they differ.

    The store stays as it is.
    """
    resolved = common.read_config(config, overrides, store, data_dir)
    units = list(stored(resolved, model, benchmark))
    by_unit: list[tuple[str, str, list[Audited]]] = []
    with VerifierPool(workers, timeout_s) as pool, common.ERR.status("grading") as status:
        for unit in units:
            what = f"{unit.model}, {unit.benchmark}"

            def show(done: int, total: int, what: str = what) -> None:
                status.update(f"{escape(what)}: {done:,} of {total:,} samples")

            show(0, unit.samples.num_rows)
            audited = audit(pool, unit.questions, unit.samples, unit.verdicts, show)
            by_unit.append((unit.model, unit.benchmark, audited))
    disputed = [(name, suite, a) for name, suite, audited in by_unit for a in audited if a.disputed]
    if as_json:
        tallies = [
            {"model": m, "benchmark": b, "samples": len(audited), "passed_by": counts(audited)}
            for m, b, audited in by_unit
        ]
        differences = [{"model": m, "benchmark": b, **asdict(a)} for m, b, a in disputed]
        common.print_json({"counts": tallies, "differences": differences})
        return
    common.OUT.print(_counts(by_unit))
    if disputed:
        common.OUT.print(_differences(disputed[:limit]))
    more = f"; --limit shows more than {limit}" if len(disputed) > limit else ""
    total = sum(len(audited) for *_, audited in by_unit)
    common.ERR.print(f"[dim]{len(disputed)} of {total} samples are in dispute{more}[/]")


def _counts(by_unit: list[tuple[str, str, list[Audited]]]) -> Table:
    """One row a benchmark of a model, one column a set of graders that alone takes an answer for correct."""
    table = Table(title="Samples by the graders that take them for correct")
    for name in ("model", "benchmark", "samples"):
        table.add_column(name, justify="right" if name == "samples" else "left")
    for name in counts([]):
        alone = " + ".join(TITLES.get(part, part) for part in name.split("+"))
        table.add_column(alone if name == "agree" else f"{alone} only", justify="right")
    for model, benchmark, audited in by_unit:
        table.add_row(escape(model), benchmark, str(len(audited)), *map(str, counts(audited).values()))
    return table


def _differences(disputed: list[Disputed]) -> Table:
    table = Table(title="Where they differ")
    for name in ("model", "benchmark", "question", "sample", "gold", "extracted", *TITLES.values()):
        table.add_column(name, justify="right" if name == "sample" else "left", overflow="fold")
    for model, benchmark, a in disputed:
        extracted = "" if a.extracted is None else escape(a.extracted)
        outcomes = [_styled(getattr(a, name)) for name in TITLES]
        table.add_row(
            escape(model), benchmark, escape(a.question_id), str(a.sample_index), escape(a.gold), extracted, *outcomes
        )
    return table


def _styled(outcome: str | None) -> str:
    if outcome is None:
        return "[dim]does not apply[/]"
    return f"[green]{outcome}[/]" if outcome == Outcome.CORRECT else f"[red]{outcome}[/]"
