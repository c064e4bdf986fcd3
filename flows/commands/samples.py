"""`hpt samples`: show the models' responses with their questions and verdicts."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.markup import escape

from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Set, StoreOption
from flows.run import RunOptions, plan_run
from hpt_core.errors import ConfigError, StoreError, near
from hpt_core.evaluation.shards import read_present, read_questions
from hpt_core.verifiers.base import Outcome
from tasks import benchmark as benchmarks
from tasks import evaluate
from tasks.execution.artifact import Artifacts
from tasks.execution.config import PipelineConfig
from tasks.execution.keys import StageKey

app = typer.Typer()
CUT = {"length": ", cut at the token limit", "repetition": ", ended because it repeated itself"}
STYLES = {Outcome.CORRECT: "green", Outcome.INCORRECT: "red"}


@dataclass(frozen=True, slots=True)
class SampleView:
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
    """None if not graded yet."""
    extracted: str | None


@app.command()
def samples(
    config: ConfigFile,
    model: Annotated[str | None, typer.Option("--model", help="NAME of an evaluated model. Default: all.")] = None,
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
    found = [
        sample
        for unit in stored(resolved, model, benchmark)
        for sample in _shown(unit)
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


@dataclass(frozen=True, slots=True)
class Stored:
    """The stored samples of one model on one benchmark."""

    model: str
    benchmark: str
    questions: pa.Table
    """Schema QUESTIONS."""
    samples: pa.Table
    """Schema SAMPLES; incomplete while an evaluation runs."""
    verdicts: pa.Table | None
    """Schema VERDICTS; None if the samples are not graded yet."""


def stored(config: PipelineConfig, model: str | None, benchmark: str | None) -> Iterator[Stored]:
    """The stored samples by model and benchmark, in the config's order; of one `model` or `benchmark` if given.

    Raises ConfigError if the config has no such model or benchmark, and StoreError if there are no samples.
    """
    models = common.evaluated(config, None if model is None else [model])
    suites = tuple(suite.name for suite in evaluate.KIND.of(config).suites)
    if benchmark is not None and benchmark not in suites:
        raise ConfigError(f"the config has no benchmark {benchmark!r}", near(benchmark, suites))
    artifacts = plan_run(config, RunOptions(goals=(evaluate.KIND.name,))).plan.artifacts
    empty = True
    for key in models:
        for suite in suites if benchmark is None else (benchmark,):
            if (unit := _unit(artifacts, key, suite)) is not None:
                empty = False
                yield unit
    if empty:
        raise StoreError(
            "there are no samples yet",
            "run `hpt evaluate` first, with the same store, data folder (HPT_DATA) and overrides",
        )


def _unit(artifacts: Artifacts, model: StageKey, suite: str) -> Stored | None:
    stage = evaluate.KIND.stage_of(model)
    sampled = artifacts.of(evaluate.samples_key(stage, suite))
    graded = artifacts.of(evaluate.verdicts_key(stage, suite))
    if sampled is None or not (table := read_present(sampled.output, sampled.work)).num_rows:
        return None
    questions = read_questions(artifacts[benchmarks.KIND.key(suite)].path(benchmarks.ASKED))
    done = graded is not None and not graded.provisional
    verdicts = pq.read_table(graded.path(evaluate.VERDICTS)) if graded is not None and done else None
    return Stored(str(model), suite, questions, table, verdicts)


def _shown(unit: Stored) -> Iterator[SampleView]:
    asked = {row["question_id"]: row for row in unit.questions.to_pylist()}
    verdicts: dict[tuple[str, int], tuple[str, str | None]] = {}
    for row in [] if unit.verdicts is None else unit.verdicts.to_pylist():
        verdicts[row["question_id"], row["sample_index"]] = row["outcome"], row["extracted"]
    for row in unit.samples.to_pylist():
        question = asked[row["question_id"]]
        outcome, extracted = verdicts.get((row["question_id"], row["sample_index"]), (None, None))
        yield SampleView(
            model=unit.model,
            benchmark=unit.benchmark,
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


def _print(sample: SampleView) -> None:
    verdict = sample.outcome or "not graded"
    style = STYLES.get(Outcome(sample.outcome), "yellow") if sample.outcome else "dim"
    answer = "no answer" if sample.extracted is None else f"answer {escape(sample.extracted)}"
    cut = CUT.get(sample.finish_reason, "")
    common.OUT.rule(
        f"[bold]{escape(sample.model)}[/]  {sample.benchmark}  {escape(sample.question_id)}  sample "
        f"{sample.sample_index}  [{style}]{verdict}[/]",
        align="left",
    )
    common.OUT.print(sample.question, style="dim", markup=False)
    common.OUT.print()
    common.OUT.print(sample.response, markup=False)
    common.OUT.print(f"\n[{style}]{answer}[/], gold {escape(sample.gold)}; {sample.tokens:,} tokens{cut}\n")
