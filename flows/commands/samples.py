"""`hpt samples`: show the models' responses with their questions and verdicts."""

from typing import Annotated, Any

import typer
from rich.markup import escape

from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Model, Set, StoreOption
from flows.results import Results
from hpt_core.verifiers.base import Outcome

app = typer.Typer()
CUT = {"length": ", cut at the token limit", "repetition": ", ended because it repeated itself"}
STYLES = {str(Outcome.CORRECT): "green", str(Outcome.INCORRECT): "red"}


SHOWN = (
    *("model", "benchmark", "question_id", "sample_index", "question", "gold", "response", "tokens"),
    *("finish_reason", "outcome", "extracted"),
)
"""Columns that --json prints; `outcome` and `extracted` are null if not graded yet."""


@app.command()
def samples(
    config: ConfigFile,
    model: Model = None,
    benchmark: Annotated[str | None, typer.Option("--benchmark", help="One benchmark. Default: all.")] = None,
    question: Annotated[str | None, typer.Option("--question", metavar="ID", help="One question.")] = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="Only graded samples that are not correct.")] = False,
    outcome: Annotated[Outcome | None, typer.Option("--outcome", help="Only samples with this verdict.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most samples to show.")] = 10,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show samples with their questions and verdicts, even while an evaluation is running. Runs nothing."""
    resolved = common.read_config(config, overrides, store, data_dir)
    name = model and common.evaluated(resolved, [model])[0].name
    rows = Results.of_config(resolved).samples(name, benchmark).select(SHOWN).to_pylist()
    found = [
        row
        for row in rows
        if question in (None, row["question_id"])
        and outcome in (None, row["outcome"])
        and not (wrong and row["outcome"] in (None, Outcome.CORRECT))
    ]
    if as_json:
        common.print_json(found[:limit])
        return
    for row in found[:limit]:
        _print(row)
    more = f"; --limit shows more than {limit}" if len(found) > limit else ""
    common.ERR.print(f"[dim]{min(limit, len(found))} of {len(found)} matching samples{more}[/]")


def _print(row: dict[str, Any]) -> None:
    verdict = row["outcome"] or "not graded"
    style = STYLES.get(row["outcome"], "yellow") if row["outcome"] else "dim"
    answer = "no answer" if row["extracted"] is None else f"answer {escape(row['extracted'])}"
    cut = CUT.get(row["finish_reason"], "")
    common.OUT.rule(
        f"[bold]{escape(row['model'])}[/]  {row['benchmark']}  {escape(row['question_id'])}  sample "
        f"{row['sample_index']}  [{style}]{verdict}[/]",
        align="left",
    )
    common.OUT.print(row["question"], style="dim", markup=False)
    common.OUT.print()
    common.OUT.print(row["response"], markup=False)
    common.OUT.print(f"\n[{style}]{answer}[/], gold {escape(row['gold'])}; {row['tokens']:,} tokens{cut}\n")
