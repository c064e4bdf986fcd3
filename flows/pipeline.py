"""The pipeline as a Prefect flow."""

import contextlib
import logging
import math
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import prefect.runtime.flow_run
from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext

from flows.load import load_config
from flows.run import Run, RunOptions, plan_run, preflight
from flows.walk import walk
from tasks.execution.artifact import Artifacts
from tasks.execution.config import PipelineConfig
from tasks.execution.task import Walk

LOG = logging.getLogger("hpt.flows")

_PREPARED: ContextVar[tuple[Run, Artifacts] | None] = ContextVar("prepared", default=None)
"""A run whose plan the caller has, and where its artifacts go."""


def run_name() -> str:
    """Name of a flow run: the pipeline's name, what is run, and when."""
    parameters = prefect.runtime.flow_run.parameters
    config, options = parameters.get("config"), dict(parameters.get("options") or {})
    name = Path(config).stem if isinstance(config, str) else getattr(config, "name", None) or dict(config)["name"]
    return " ".join(filter(None, [name, "+".join(options.get("goals") or ()), f"{datetime.now(UTC):%m-%d %H:%M:%S}"]))


@flow(name="pipeline", flow_run_name=run_name, persist_result=False)
def pipeline(config: PipelineConfig | str, options: RunOptions = RunOptions()) -> list[dict[str, Any]]:  # noqa: B008
    """Prepare data, train, evaluate, report, publish: what the store holds is skipped.

    Args:
        config: The pipeline, or the path of a TOML file that holds one.
        options: What to make, and what to make again.
    """
    prepared = _PREPARED.get()
    if prepared is None:
        resolved = load_config(Path(config)) if isinstance(config, str) else config
        run = plan_run(resolved, options, _begun())
        preflight(run)
        prepared = run, Artifacts()
    run, artifacts = prepared
    artifacts.update(walk(Walk(run.graph, run.context), run.config.resources.parallel_stages))
    show(run.config, artifacts)
    return [artifact.as_json() for artifact in artifacts.values()]


def run_prepared(run: Run) -> Artifacts:
    """Run the flow in this process, by the plan that there is already. Raises HPTError."""
    artifacts = Artifacts()
    with _prepared(run, artifacts):
        pipeline(run.config, run.options)
    return artifacts


@contextlib.contextmanager
def _prepared(run: Run, artifacts: Artifacts) -> Iterator[None]:
    token = _PREPARED.set((run, artifacts))
    try:
        yield
    finally:
        _PREPARED.reset(token)


def _begun() -> datetime:
    """When the flow run was first started: a retry does not redo what an earlier attempt has forced."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run and run.run_count > 1 and run.start_time:
        return run.start_time
    return datetime.now(UTC)


def show(config: PipelineConfig, artifacts: Artifacts) -> None:
    """Create the artifacts `NAME-scores` and `NAME-leaderboard` in Prefect; nothing where there is no report.

    A server that is away loses them and nothing else: the report lies in the store.
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
    """Rows of a Parquet table as plain JSON values, rounded for reading."""
    import pyarrow.parquet as pq

    return [{k: _plain(v) for k, v in row.items()} for row in pq.read_table(file).to_pylist()]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 4)
    return value if isinstance(value, str | int | bool | None) else str(value)
