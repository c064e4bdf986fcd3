"""The pipeline as a Prefect flow."""

import contextlib
import logging
import math
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import prefect.runtime.flow_run
import pyarrow.parquet as pq
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled

from flows import attempts
from flows.load import load_config, overridden, read_table
from flows.record import recorded
from flows.reporter import Reporter
from flows.run import Run, RunOptions, StagesFailed, plan_run, preflight
from flows.secrets import provide
from flows.server import FORWARDED
from flows.walk import walk
from hpt_core.artifacts.known import cache_folder
from hpt_core.base import idle_settings
from hpt_core.errors import HPTError
from hpt_core.redact import redact, redacted
from tasks.execution.artifact import Artifacts
from tasks.execution.config import PipelineConfig
from tasks.execution.task import Walk

LOG = logging.getLogger("hpt.flows")

SHOWN = ("label", "title", "score", "interval_low", "interval_high", "questions", "k", "truncated_share", "source")
"""Columns of the scores that Prefect shows; scores and intervals in percent. The report has them all."""

_PREPARED: ContextVar[tuple[Run, Artifacts] | None] = ContextVar("prepared", default=None)
"""A run that the caller has already planned, and where to put its artifacts."""


def run_name() -> str:
    """Name of a flow run: the pipeline's name, what it runs and the time of its first attempt."""
    now = prefect.runtime.flow_run
    if now.run_count:
        return str(now.name)
    config, options = now.parameters.get("config"), dict(now.parameters.get("options") or {})
    name = _name_in(Path(config)) if isinstance(config, str) else getattr(config, "name", None) or dict(config)["name"]
    names = "+".join([*(now.parameters.get("only") or ()), *(options.get("only") or ())])
    return " ".join(filter(None, [name, names, f"{datetime.now(UTC):%m-%d %H:%M:%S}"]))


def _name_in(path: Path) -> str:
    """Name of the pipeline in a config file; the file's own if that cannot be read, which the run reports."""
    try:
        return str(read_table(path)["name"])
    except (HPTError, KeyError):
        return path.stem


@flow(name="pipeline", flow_run_name=run_name, persist_result=False)
def pipeline(
    config: PipelineConfig | str,
    set: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
    options: RunOptions = RunOptions(),  # noqa: B008  (immutable)
) -> Any:
    """Prepare data, train, evaluate, report and publish; artifacts that the store holds are reused.

    Args:
        config: The pipeline's config, or the path of its TOML file.
        set: Fields to override, as on the command line: "train.hpt.steps=10".
        only: Stages ("train.hpt"), kinds ("train") or globs to run, with their dependencies; the whole pipeline if
            empty.
        options: What to rerun, and how to check.

    Returns the artifacts as JSON data, or a state: Cancelled for a scheduled run that came too
    early, the former state for an attempt that was not needed.
    """
    context = FlowRunContext.get()
    prepared = _PREPARED.get()
    if prepared:
        run, artifacts = prepared
    else:
        if ended := attempts.ended_before(attempts.history(context)):
            return ended
        if isinstance(config, str):
            # Before the config is loaded, because its addresses may name the variables.
            provide(read_table(Path(config)).get("secrets") or {})
            resolved = load_config(Path(config), set)
        else:
            resolved = overridden(config, set)
        provide(resolved.secrets)
        changes = {"only": (*only, *options.only), "overrides": (*options.overrides, *set)}
        options = options.model_copy(update=changes)
        run, artifacts = plan_run(resolved, options, _begun()), Artifacts()
        if context and context.flow_run and context.flow_run.deployment_id:
            run = replace(run, context=replace(run.context, turns=cache_folder() / "turns"))
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(Reporter(run).observing())
            stack.enter_context(attempts.sole(context, run.context.store))
            for text in idle_settings(run.config):
                get_run_logger().warning("%s", text, extra={FORWARDED: True})
            if prepared is None:
                preflight(run)
                run = stack.enter_context(recorded(run, prefect.runtime.flow_run.id))
            state = Walk(run.graph, run.context, run.options.complete)
            failed: StagesFailed | None = None
            try:
                walk(state, run.config.resources.parallel_stages)
            except StagesFailed as error:
                failed = error  # the report on what was measured is shown first
            artifacts.update(state.artifacts)
            show(run.config, artifacts)
            if failed is not None:
                raise failed
    except attempts.StillRunning as error:
        return Cancelled(message=str(error))
    return [artifact.as_json() for artifact in artifacts.values()]


def run_prepared(run: Run) -> Artifacts:
    """Run the flow in this process with an existing plan. Raises HPTError, and SystemExit after SIGTERM."""
    artifacts = Artifacts()
    token = _PREPARED.set((run, artifacts))
    try:
        pipeline(_parameter(run.config), options=run.options)
    except TerminationSignal as error:
        raise SystemExit(128 + error.signal) from error
    finally:
        _PREPARED.reset(token)
    return artifacts


def _parameter(config: PipelineConfig) -> Any:
    """The config as Prefect stores it: with `${NAME}` instead of a secret."""
    plain = config.model_dump(mode="json", by_alias=True)
    hidden = redacted(plain)
    return config if hidden == plain else hidden


def _begun() -> datetime:
    """When the flow run first started, so that a retry does not rerun what an earlier attempt has rerun."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run and run.run_count > 1 and run.start_time:
        return run.start_time
    return datetime.now(UTC)


def show(config: PipelineConfig, artifacts: Artifacts) -> None:
    """Log each stage's result, and create the artifacts `NAME-scores` and `NAME-leaderboard` if there is a report.

    A failure is only logged, because the report itself is in the store.
    """
    key = "".join(c if c.isalnum() else "-" for c in config.name.lower())
    for artifact in artifacts.values():
        shown = config.kind_of(artifact.key.stage).show(artifact)
        if shown is None:
            continue
        get_run_logger().info("%s", shown.line)
        if shown.report is None:
            continue
        try:
            table = redacted(score_rows(shown.report / "tables" / "scores.parquet"))
            create_table_artifact(key=f"{key}-scores", table=table)
            text = redact((shown.report / "leaderboard.md").read_text(encoding="utf-8"))
            create_markdown_artifact(
                key=f"{key}-leaderboard", markdown=text, description=f"Leaderboard of {config.name}"
            )
        except Exception as error:
            LOG.warning("the leaderboard could not be shown in Prefect: %s", error)


def score_rows(file: Path) -> list[dict[str, Any]]:
    """The scores of a report as plain JSON values: the columns in SHOWN, measured models first."""
    rows = pq.read_table(file).to_pylist()
    rows.sort(key=lambda row: row["source"] != "measured")
    return [{name: _shown(row, name) for name in SHOWN} for row in rows]


def _shown(row: dict[str, Any], name: str) -> Any:
    value = row["avg_at_k" if name == "score" else name]
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else round(100 * value, 2)
