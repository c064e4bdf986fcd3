"""`hpt samples`: show the models' responses with their questions and verdicts."""

from typing import Annotated, Any

import typer
from rich.markup import escape

from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Model, Set, StoreOption
from flows.results import Results
from flows.stored import Key, Unit, choose, side_by_side, solved_by_one, units
from hpt_core.errors import ConfigError
from hpt_core.texts import harmless
from hpt_core.verifiers.base import Outcome
from hpt_core.verifiers.grading import gold_fault

app = typer.Typer()
CUT = {"length": ", cut at the token limit", "repetition": ", ended because it repeated itself"}
STYLES = {str(Outcome.CORRECT): "green", str(Outcome.INCORRECT): "red"}


SHOWN = (
    *("model", "benchmark", "question_id", "sample_index", "question", "gold", "response", "tokens"),
    *("finish_reason", "outcome", "extracted", "reason"),
)
"""Columns that --json prints; `outcome` and `extracted` are null if not graded yet. `reason` says why a gold answer
cannot be read."""


Side = Annotated[str | None, typer.Option("--against", metavar="MODEL", help="Show this model's responses, too.")]
Solved = Annotated[
    str | None, typer.Option("--solved-by", metavar="MODEL", help="Only questions that this model solves.")
]
Unsolved = Annotated[
    str | None, typer.Option("--not-by", metavar="MODEL", help="Of these, those that this model does not solve.")
]


@app.command()
def samples(
    config: ConfigFile,
    model: Model = None,
    against: Side = None,
    solved_by: Solved = None,
    not_by: Unsolved = None,
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
    """Show samples with their questions and verdicts, even while an evaluation is running. Runs nothing.

    A question is solved if more than half of its samples are correct.
    """
    resolved = common.read_config(config, overrides, store, data_dir)
    named = {name: common.evaluated(resolved, [name])[0].name for name in (model, against, solved_by, not_by) if name}
    if bool(solved_by) != bool(not_by):
        raise ConfigError("--solved-by and --not-by go together", "for example --solved-by hpt --not-by sft")
    results = Results.of_config(resolved)
    first, other = model or (solved_by if solved_by else None), against or not_by
    if other and not first:
        raise ConfigError("--against compares two models", "name the other one: --model hpt")
    alone: dict[str, list[str]] | None = None
    if solved_by and not_by:
        pair = [units(results, named[name], benchmark) for name in (solved_by, not_by)]
        alone = {name: list(ids) for name, ids in solved_by_one(*pair).items()}

    def wanted(unit: Unit, key: Key) -> bool:
        return (
            question in (None, key.question_id)
            and outcome in (None, key.outcome)
            and not (wrong and key.outcome in (None, Outcome.CORRECT))
            and (alone is None or key.question_id in alone.get(unit.benchmark, ()))
        )

    ours = units(results, first and named[first], benchmark)
    theirs = units(results, named[other], benchmark) if other else None
    found = list(choose(ours, wanted) if theirs is None else side_by_side(ours, theirs, wanted))
    rows = (_with_reason(unit.row(key)) for unit, key in found[:limit])
    if as_json:
        common.print_json([{name: row.get(name) for name in SHOWN} for row in rows])
        return
    for name, ids in (alone or {}).items():
        told = f"{name}: {first_only(len(ids), solved_by, not_by)}: {' '.join(ids)}"
        common.OUT.print(harmless(told), markup=False)
    for row in rows:
        _print(row)
    more = f"; --limit shows more than {limit}" if len(found) > limit else ""
    common.ERR.print(f"[dim]{min(limit, len(found))} of {len(found)} matching samples{more}[/]")


def first_only(count: int, model: str | None, other: str | None) -> str:
    """How many questions one model solves and another does not."""
    questions = "question" if count == 1 else "questions"
    return f"{count} {questions} solved by {model} and not by {other}"


def _with_reason(row: dict[str, Any]) -> dict[str, Any]:
    faulty = row["outcome"] == Outcome.GOLD_ERROR
    return {**row, "reason": gold_fault(row["kind"], row["gold"], row["question"]) if faulty else None}


def _print(row: dict[str, Any]) -> None:
    verdict = row["outcome"] or "not graded"
    style = STYLES.get(row["outcome"], "yellow") if row["outcome"] else "dim"
    answer = "no answer" if row["extracted"] is None else f"answer {escape(harmless(row['extracted']))}"
    cut = CUT.get(row["finish_reason"], "")
    common.OUT.rule(
        f"[bold]{escape(row['model'])}[/]  {row['benchmark']}  {escape(harmless(row['question_id']))}  sample "
        f"{row['sample_index']}  [{style}]{verdict}[/]",
        align="left",
    )
    common.OUT.print(harmless(row["question"]), style="dim", markup=False)
    common.OUT.print()
    common.OUT.print(harmless(row["response"]), markup=False)
    why = f" (cannot be read: {escape(harmless(row['reason']))})" if row["reason"] else ""
    common.OUT.print(
        f"\n[{style}]{answer}[/], gold {escape(harmless(row['gold']))}{why}; {row['tokens']:,} tokens{cut}\n"
    )
