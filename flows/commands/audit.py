"""`hpt audit`: the samples on which graders differ."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Model, Set, StoreOption
from flows.results import Results
from hpt_core.evaluation.audit import AGREE, Audited, audit, counts
from hpt_core.verifiers.base import Outcome
from hpt_core.verifiers.pool import VerifierPool

app = typer.Typer()
TITLES = {"ours": "ours", "string": "string", "math_verify": "Math-Verify"}

Disputed = tuple[str, str, Audited]
"""Model, benchmark, sample."""


@app.command(name="audit")
def audit_command(
    config: ConfigFile,
    model: Model = None,
    benchmark: Annotated[str | None, typer.Option("--benchmark", help="One benchmark. Default: all.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most samples to show; --json lists all.")] = 20,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Grading processes.")] = 2,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds allowed per comparison.")] = 5.0,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Compare the stored verdicts with a plain string comparison and with Math-Verify, and show where they differ.

    The store is not changed.
    """
    resolved = common.read_config(config, overrides, store, data_dir)
    name = model and common.evaluated(resolved, [model])[0].name
    units = Results.of_config(resolved).stored_samples(name, benchmark)
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
    common.ERR.print(f"[dim]graders disagree on {len(disputed)} of {total} samples{more}[/]")


def _counts(by_unit: list[tuple[str, str, list[Audited]]]) -> Table:
    """One row per model and benchmark."""
    table = Table(title="Samples graded correct")
    for name in ("model", "benchmark", "samples", "agree"):
        table.add_column(name, justify="right" if name in ("samples", "agree") else "left", no_wrap=True)
    table.add_column("correct only according to")
    for model, benchmark, audited in by_unit:
        found = counts(audited)
        agree = found.pop(AGREE)
        alone = [f"{_titles(name)}: {count}" for name, count in found.items() if count]
        table.add_row(escape(model), benchmark, f"{len(audited):,}", f"{agree:,}", ", ".join(alone))
    return table


def _titles(name: str) -> str:
    return " + ".join(TITLES[part] for part in name.split("+"))


def _differences(disputed: list[Disputed]) -> Table:
    table = Table(title="Where they differ", show_lines=True)
    for name in ("sample", "gold", "extracted"):
        table.add_column(name, overflow="fold")
    for title in TITLES.values():
        table.add_column(title, no_wrap=True)
    for model, benchmark, a in disputed:
        where = f"{escape(model)} {benchmark}\n{escape(a.question_id)} sample {a.sample_index}"
        extracted = "" if a.extracted is None else escape(a.extracted)
        table.add_row(where, escape(a.gold), extracted, *(_styled(getattr(a, name)) for name in TITLES))
    return table


def _styled(outcome: str | None) -> str:
    if outcome is None:
        return "[dim]–[/]"
    return f"[green]{outcome}[/]" if outcome == Outcome.CORRECT else f"[red]{outcome}[/]"
