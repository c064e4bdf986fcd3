"""Turn a config and options into a run (graph, context and plan), and check it before any stage starts.

This module does not import Prefect, so a run with nothing to do returns at once.
"""

import logging
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from flows import graph as graphs
from hpt_core.artifacts import KnownFiles, Store
from hpt_core.base import Frozen, idle_settings
from hpt_core.errors import PreflightError, StoreError
from tasks.execution.artifact import Artifacts
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context, Notice, data_folder

LOG = logging.getLogger("hpt.run")

GIB = 2**30
SPARE_BYTES = GIB // 2
"""Free disk required beyond what the stages are estimated to write."""


class RunOptions(Frozen):
    """Options of a run that are not part of its config."""

    goals: tuple[str, ...] = ()
    """Stages ("train.hpt"), kinds ("train") or globs to run, with their dependencies; the whole pipeline if empty."""
    rerun: bool = False
    """Rerun the goals: produce their artifacts again, although the store holds them."""
    rerun_from: str | None = None
    """Rerun this stage and every stage that depends on it."""
    rerun_only: str | None = None
    """Rerun the goals only for their artifacts of this kind ("verdicts"); any other missing artifact is an error."""
    verify: bool = False
    """Rehash every stored file before it is reused."""
    strict: bool = False
    """Stop at the first malformed row of training data."""
    only_ready: bool = False
    """Fail if a dependency of the goals is missing, unless its stage is cheap."""


@dataclass(frozen=True)
class Run:
    """A planned run."""

    config: PipelineConfig
    options: RunOptions
    graph: graphs.Graph
    context: Context
    plan: graphs.Plan


def context_of(config: PipelineConfig) -> Context:
    """The context that the stages of a run share."""
    return Context(
        store=Store(config.store),
        known=KnownFiles(),
        data_dir=data_folder(config.data_dir),
        pipeline=config.name,
        resources=config.resources,
        trackers=config.trackers,
    )


def plan_run(config: PipelineConfig, options: RunOptions = RunOptions(), since: datetime | None = None) -> Run:  # noqa: B008  (immutable)
    """Build and plan a run. Raises ConfigError for a stage that does not exist.

    `since` is when the run first started. Artifacts produced after it are not produced again.
    """
    graph = graphs.build(config, options.goals)
    goals = [key for goal in options.goals for key in graphs.match(graph, goal)] or list(graph)
    rerun = {str(key) for key in goals} if options.rerun else set()
    if options.rerun_only:
        rerun |= {f"{key}/{options.rerun_only}" for key in goals}
    if options.rerun_from:
        rerun |= {str(key) for key in graphs.following(graph, graphs.match(graph, options.rerun_from))}
    context = replace(
        context_of(config),
        strict=options.strict,
        verify=options.verify,
        rerun=frozenset(rerun),
        since=since or datetime.now(UTC),
    )
    return Run(config, options, graph, context, graphs.plan(graph, context))


def warn(run: Run) -> tuple[Notice, ...]:
    """Log the settings that change nothing, and return them as notices of their stages or kinds of stages."""
    found = []
    for text in idle_settings(run.config):
        LOG.warning("%s", text)
        stage = next((str(key) for key in run.graph if text.startswith(f"{key}.")), re.split(r"\W", text)[0])
        found.append(Notice(stage, "warned", text))
    return tuple(found)


def preflight(run: Run) -> None:
    """Check that the run can start, and raise the first problem.

    Raises StoreError for an artifact that the options require and the store lacks; ConfigError, DataError or ModelError
    from planning; PreflightError for too little disk, memory or context length.
    """
    plan, context = run.plan, run.context
    if run.options.only_ready:
        _require_ready(run)
    for error in plan.problems.values():
        raise error
    if run.options.rerun_only:
        _require_all_but(plan, run.options.rerun_only)
    context.store.check_writable()
    todo = [key for key in plan.graph if plan.state(key) != "done"]
    disk = SPARE_BYTES if todo else 0
    for key in todo:
        for step in plan.graph[key].steps:
            disk += step.preflight(plan.artifacts, context)
    free = context.store.free_bytes()
    if disk > free:
        raise PreflightError(
            f"the stages need about {disk / GIB:.1f} GiB of disk; {context.store.root} has {free / GIB:.1f} GiB free",
            "free some space, or give another store with --store",
        )


def reuse(run: Run) -> Artifacts:
    """The artifacts of a run with nothing to do. Links them and reports each stage, as any other run does."""
    for artifact in run.plan.artifacts.values():
        run.context.store.link(run.context.pipeline, str(artifact.key), artifact.folder)
    for key in run.graph:
        run.context.notify(Notice(str(key), "reused"))
    return run.plan.artifacts


def _require_ready(run: Run) -> None:
    goals = {key for goal in run.options.goals for key in graphs.match(run.graph, goal)}
    required = [key for key in run.graph if key not in goals and not run.config.kind_of(key).is_cheap]
    missing = [str(key) for key in required if run.plan.state(key) != "done"]
    if missing:
        raise StoreError(f"stages not run yet: {', '.join(missing)}", "run the pipeline first, or omit only_ready")


def _require_all_but(plan: graphs.Plan, kind: str) -> None:
    missing = [str(p.target.key) for p in plan.planned if p.target.kind != kind and p.check.state != "done"]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise StoreError(
            f"cannot rerun only {kind}: the store lacks {', '.join(missing[:3])}{more}",
            "run the pipeline or these stages first",
        )
