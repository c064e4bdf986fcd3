"""`hpt samples`: what models wrote, question by question, with its verdict."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

import pyarrow.parquet as pq
import typer
from rich.markup import escape

from flows import graph as graphs
from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Set, StoreOption
from flows.config import PipelineConfig
from flows.context import context_of
from hpt_core.errors import ConfigError, StoreError
from hpt_core.evaluation.shards import read_present, read_questions
from hpt_core.plugins import near
from hpt_core.verifiers.base import Outcome
from tasks.evaluate import samples_key, verdicts_key
from tasks.part import Mades

app = typer.Typer()
STYLES = {Outcome.CORRECT: "green", Outcome.INCORRECT: "red"}


@dataclass(frozen=True, slots=True)
class Shown:
    """One sample with its question and its verdict."""

    model: str
    benchmark: str
    question_id: str
    sample_index: int
    question: str
    gold: str
    response: str
    tokens: int
    finish_reason: str
    outcome: str | None
    """None where it is not graded yet."""
    extracted: str | None


@app.command()
def samples(
    config: ConfigFile,
    model: Annotated[str | None, typer.Option("--model", help="NAME of an evaluated model; all of them.")] = None,
    benchmark: Annotated[str | None, typer.Option("--benchmark", help="One benchmark; all of them.")] = None,
    question: Annotated[str | None, typer.Option("--question", metavar="ID", help="One question.")] = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="Only graded samples that are not correct.")] = False,
    outcome: Annotated[Outcome | None, typer.Option("--outcome", help="Only samples with this verdict.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Samples at most.")] = 10,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show samples with their questions and verdicts, also of an evaluation that is still running. Starts nothing."""
    resolved = common.read_config(config, overrides, store, data_dir)
    found = [
        sample
        for sample in _samples(resolved, model, benchmark)
        if question in (None, sample.question_id)
        and outcome in (None, sample.outcome)
        and not (wrong and sample.outcome in (None, Outcome.CORRECT))
    ]
    if as_json:
        common.print_json([asdict(sample) for sample in found[:limit]])
        return
    for sample in found[:limit]:
        _print(sample)
    more = f"; --limit shows more than {limit}" if len(found) > limit else ""
    common.ERR.print(f"[dim]{min(limit, len(found))} of {len(found)} samples{more}[/]")


def _samples(config: PipelineConfig, model: str | None, benchmark: str | None) -> Iterator[Shown]:
    """Those that are there, by model and benchmark in the config's order; raises StoreError where there is none."""
    if config.evaluate is None:
        raise ConfigError("the config evaluates nothing", "give it a table [evaluate]")
    suites = config.evaluate.suites
    if benchmark is not None and benchmark not in suites:
        raise ConfigError(f"the config has no benchmark {benchmark!r}", near(benchmark, suites))
    plan = graphs.plan(graphs.select(config, ["evaluate"]), context_of(config))
    references = {reference.split(".", 1)[1]: reference for reference in config.evaluate.models}
    name = None if model is None else model.split(".", 1)[-1]
    if name is not None and name not in references:
        raise ConfigError(f"the config evaluates no model {model!r}", near(name, tuple(references)))
    empty = True
    for reference in references.values() if name is None else (references[name],):
        for suite in suites if benchmark is None else (benchmark,):
            for sample in _of(plan.made, reference, suite):
                empty = False
                yield sample
    if empty:
        raise StoreError("no sample is there yet", "run `hpt evaluate` first")


def _of(made: Mades, model: str, benchmark: str) -> Iterator[Shown]:
    drawn, graded = made.get(samples_key(model, benchmark)), made.get(verdicts_key(model, benchmark))
    if drawn is None or not (table := read_present(drawn.output / "samples")).num_rows:
        return
    asked = {
        row["question_id"]: row
        for row in read_questions(made[f"benchmark.{benchmark}"].output / "asked.parquet").to_pylist()
    }
    verdicts: dict[tuple[str, int], tuple[str, str | None]] = {}
    if graded is not None and not graded.provisional:
        for row in pq.read_table(graded.output / "verdicts.parquet").to_pylist():
            verdicts[row["question_id"], row["sample_index"]] = row["outcome"], row["extracted"]
    for row in table.to_pylist():
        question = asked[row["question_id"]]
        outcome, extracted = verdicts.get((row["question_id"], row["sample_index"]), (None, None))
        yield Shown(
            model=model,
            benchmark=benchmark,
            question_id=row["question_id"],
            sample_index=row["sample_index"],
            question=question["question"],
            gold=question["gold"],
            response=row["response"],
            tokens=row["tokens"],
            finish_reason=row["finish_reason"],
            outcome=outcome,
            extracted=extracted,
        )


def _print(sample: Shown) -> None:
    verdict = sample.outcome or "not graded"
    style = STYLES.get(Outcome(sample.outcome), "yellow") if sample.outcome else "dim"
    answer = "no answer" if sample.extracted is None else f"answer {escape(sample.extracted)}"
    cut = ", cut at the token limit" if sample.finish_reason == "length" else ""
    common.OUT.rule(
        f"[bold]{escape(sample.model)}[/]  {sample.benchmark}  {escape(sample.question_id)}  sample "
        f"{sample.sample_index}  [{style}]{verdict}[/]",
        align="left",
    )
    common.OUT.print(sample.question, style="dim", markup=False)
    common.OUT.print()
    common.OUT.print(sample.response, markup=False)
    common.OUT.print(f"\n[{style}]{answer}[/], gold {escape(sample.gold)}; {sample.tokens:,} tokens{cut}\n")
