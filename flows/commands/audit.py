"""`hpt audit`: the samples on which graders differ."""

from contextlib import nullcontext
from dataclasses import asdict
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Model, Set, StoreOption
from flows.results import Results, StoredSamples
from hpt_core.errors import ConfigError, EngineError
from hpt_core.evaluation.audit import AGREE, GRADERS, JUDGE, Audited, audit, counts, judgments
from hpt_core.evaluation.judge import Judge
from hpt_core.rollout.endpoint import Endpoint
from hpt_core.verifiers.base import Outcome
from hpt_core.verifiers.pool import VerifierPool

app = typer.Typer()
TITLES = {"ours": "ours", "string": "string", "math_verify": "Math-Verify", JUDGE: "judge"}

JUDGE_CONCURRENCY = 16
"""Concurrent requests to the judge."""

Unit = tuple[str, str, list[Audited]]
"""Model, benchmark, samples."""
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
    judge: Annotated[
        str | None,
        typer.Option("--judge", metavar="MODEL", help="Also ask this model, as the server at --judge-url names it."),
    ] = None,
    judge_url: Annotated[
        str, typer.Option("--judge-url", help="OpenAI-compatible API of the judge.")
    ] = "http://127.0.0.1:8000/v1",
    judge_key_env: Annotated[
        str, typer.Option("--judge-key-env", help="Environment variable with the key for --judge-url.")
    ] = "OPENAI_API_KEY",
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Compare the stored verdicts with a plain string comparison, with Math-Verify and on request with a model that
    judges, and show where they differ.

    The store is not changed, and no score.
    """
    with nullcontext() if judge is None else _judge(judge, judge_url, judge_key_env) as asked:
        resolved = common.read_config(config, overrides, store, data_dir)
        name = model and common.evaluated(resolved, [model])[0].name
        units = Results.of_config(resolved).stored_samples(name, benchmark)
        by_unit = _audited(units, workers, timeout_s, asked)
    judged_by = None if asked is None else asked.identity
    disputed = [(name, suite, a) for name, suite, audited in by_unit for a in audited if a.disputed]
    if as_json:
        tallies = [
            {"model": m, "benchmark": b, "samples": len(audited), "passed_by": counts(audited)}
            | ({} if judged_by is None else {"judged": judgments(audited)})
            for m, b, audited in by_unit
        ]
        differences = [{"model": m, "benchmark": b, **asdict(a)} for m, b, a in disputed]
        common.print_json({"judge": judged_by, "counts": tallies, "differences": differences})
        return
    common.OUT.print(_counts(by_unit))
    if judged_by is not None:
        common.OUT.print(_judgments(by_unit, judged_by))
    if disputed:
        common.OUT.print(_differences(disputed[:limit], [name for name in TITLES if name != JUDGE or asked]))
    more = f"; --limit shows more than {limit}" if len(disputed) > limit else ""
    total = sum(len(audited) for *_, audited in by_unit)
    common.ERR.print(f"[dim]graders disagree on {len(disputed)} of {total} samples{more}[/]")


def _judge(model: str, url: str, key_env: str) -> Judge:
    """A connected judge. Raises ConfigError and EngineError, which name the options of this command."""
    try:
        config = Endpoint(url=url, served_model=model, api_key_env=key_env, concurrency=JUDGE_CONCURRENCY, retries=3)
    except ValidationError as error:
        cause = error.errors()[0]["msg"].removeprefix("Value error, ")
        option = "--judge-key-env" if cause.startswith("api_key_env") else "--judge-url"
        raise ConfigError(f"{option}: {cause}", "see `hpt audit --help`") from None
    try:
        return Judge(config)
    except EngineError as error:
        raise EngineError(f"the judge: {error.cause}", error.remedy.replace("served_model", "--judge")) from None


def _audited(units: list[StoredSamples], workers: int, timeout_s: float, judge: Judge | None) -> list[Unit]:
    """The samples of every unit with all outcomes. Shows progress."""
    found: list[Unit] = []
    with VerifierPool(workers, timeout_s) as pool, common.ERR.status("grading") as status:
        for unit in units:
            what = f"{unit.model}, {unit.benchmark}"

            def show(done: int, total: int, what: str = what) -> None:
                status.update(f"{escape(what)}: {done:,} of {total:,} samples")

            show(0, unit.samples.num_rows)
            audited = audit(pool, unit.questions, unit.samples, unit.verdicts, show, judge)
            found.append((unit.model, unit.benchmark, audited))
    return found


def _counts(by_unit: list[Unit]) -> Table:
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


def _judgments(by_unit: list[Unit], judge: dict[str, str]) -> Table:
    """One row per model and benchmark: the judge's outcomes, and how often the other graders share them."""
    caption = f"{judge['model']} at {judge['url']} (server: {judge['server']}; prompt: {judge['prompt']})"
    table = Table(title="Verdicts of the judge", caption=escape(caption))
    columns = ("correct", "incorrect", "unparseable", "failed")
    for name in ("model", "benchmark", *columns, *(f"agrees with {TITLES[grader]}" for grader in GRADERS)):
        table.add_column(name, justify="left" if name in ("model", "benchmark") else "right", no_wrap=True)
    for model, benchmark, audited in by_unit:
        found = judgments(audited)
        shared = [f"{found[f'agrees_with_{g}']:,} of {found[f'compared_with_{g}']:,}" for g in GRADERS]
        table.add_row(escape(model), benchmark, *(f"{found[name]:,}" for name in columns), *shared)
    return table


def _titles(name: str) -> str:
    return " + ".join(TITLES[part] for part in name.split("+"))


def _differences(disputed: list[Disputed], graders: list[str]) -> Table:
    table = Table(title="Where they differ", show_lines=True)
    for name in ("sample", "gold", "extracted"):
        table.add_column(name, overflow="fold")
    for name in graders:
        table.add_column(TITLES[name], no_wrap=True)
    for model, benchmark, a in disputed:
        where = f"{escape(model)} {benchmark}\n{escape(a.question_id)} sample {a.sample_index}"
        extracted = "" if a.extracted is None else escape(a.extracted)
        table.add_row(where, escape(a.gold), extracted, *(_styled(getattr(a, name)) for name in graders))
    return table


def _styled(outcome: str | None) -> str:
    if outcome is None:
        return "[dim]–[/]"
    return f"[green]{outcome}[/]" if outcome == Outcome.CORRECT else f"[red]{outcome}[/]"
