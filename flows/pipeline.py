"""The pipeline as a Prefect flow."""

import contextlib
import logging
import math
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import prefect.runtime.flow_run
import pyarrow.parquet as pq
from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext

from flows.load import load_config
from flows.record import recorded
from flows.run import Run, RunOptions, plan_run, preflight, warn
from flows.walk import walk
from tasks.execution.artifact import Artifacts
from tasks.execution.config import PipelineConfig
from tasks.execution.task import Walk

LOG = logging.getLogger("hpt.flows")

_PREPARED: ContextVar[tuple[Run, Artifacts] | None] = ContextVar("prepared", default=None)
"""A run that the caller has already planned, and where to put its artifacts."""


def run_name() -> str:
    """Name of a flow run: the pipeline's name, what it runs and the time."""
    parameters = prefect.runtime.flow_run.parameters
    config, options = parameters.get("config"), dict(parameters.get("options") or {})
    name = Path(config).stem if isinstance(config, str) else getattr(config, "name", None) or dict(config)["name"]
    return " ".join(filter(None, [name, "+".join(options.get("only") or ()), f"{datetime.now(UTC):%m-%d %H:%M:%S}"]))


@flow(name="pipeline", flow_run_name=run_name, persist_result=False)
def pipeline(config: PipelineConfig | str, options: RunOptions = RunOptions()) -> list[dict[str, Any]]:  # noqa: B008
    """Prepare data, train, evaluate, report and publish; artifacts that the store holds are reused.

    Args:
        config: The pipeline's config, or the path of its TOML file.
        options: Which stages to run, and which to rerun.
    """
    with contextlib.ExitStack() as stack:
        prepared = _PREPARED.get()
        if prepared is None:
            resolved = load_config(Path(config)) if isinstance(config, str) else config
            run = plan_run(resolved, options, _begun())
            warn(run)
            preflight(run)
            run = stack.enter_context(recorded(run, prefect.runtime.flow_run.id))
            prepared = run, Artifacts()
        run, artifacts = prepared
        artifacts.update(walk(Walk(run.graph, run.context), run.config.resources.parallel_stages))
    show(run.config, artifacts)
    return [artifact.as_json() for artifact in artifacts.values()]


def run_prepared(run: Run) -> Artifacts:
    """Run the flow in this process with an existing plan. Raises HPTError."""
    artifacts = Artifacts()
    token = _PREPARED.set((run, artifacts))
    try:
        pipeline(run.config, run.options)
    finally:
        _PREPARED.reset(token)
    return artifacts


def _begun() -> datetime:
    """When the flow run first started, so that a retry does not rerun what an earlier attempt has rerun."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run and run.run_count > 1 and run.start_time:
        return run.start_time
    return datetime.now(UTC)


def show(config: PipelineConfig, artifacts: Artifacts) -> None:
    """Create the artifacts `NAME-scores` and `NAME-leaderboard` in Prefect, if there is a report.

    A failure is only logged, because the report itself is in the store.
    """
    key = "".join(c if c.isalnum() else "-" for c in config.name.lower())
    for artifact in artifacts.values():
        shown = config.kind_of(artifact.key.stage).show(artifact)
        if shown is None or shown.report is None:
            continue
        try:
            table = score_rows(shown.report / "tables" / "scores.parquet")
            create_table_artifact(key=f"{key}-scores", table=table)
            text = (shown.report / "leaderboard.md").read_text(encoding="utf-8")
            create_markdown_artifact(
                key=f"{key}-leaderboard", markdown=text, description=f"Leaderboard of {config.name}"
            )
        except Exception as error:
            LOG.warning("the leaderboard could not be shown in Prefect: %s", error)


def score_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet table as plain JSON values, rounded."""
    return [{k: _plain(v) for k, v in row.items()} for row in pq.read_table(file).to_pylist()]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 4)
    return value if isinstance(value, str | int | bool | None) else str(value)
