"""From a config and options to a run: its graph, its context, its plan, and the checks before anything heavy starts.

Needs no Prefect, so that a run with nothing to do answers at once.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from flows import graph as graphs
from hpt_core.artifacts import KnownFiles, Store
from hpt_core.base import Frozen
from hpt_core.errors import PreflightError, StoreError
from tasks.execution.artifact import Artifacts
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context, data_folder
from tasks.execution.keys import StageKey

GIB = 2**30
SPARE_BYTES = GIB // 2
"""Disk that must be free beside what the stages are estimated to write."""


class RunOptions(Frozen):
    """What a run is asked for, beside its config."""

    goals: tuple[str, ...] = ()
    """Stages ("train.hpt"), kinds ("train") or globs to make, with what they depend on; the whole pipeline if empty."""
    force: bool = False
    """Make the goals again although the store holds them."""
    from_stage: str | None = None
    """Make this stage, and all that follows from it, again."""
    remake: str | None = None
    """Make artifacts of this kind ("verdicts") of the goals again; anything else that is missing is an error."""
    verify: bool = False
    """Hash every stored file again before it is reused."""
    strict: bool = False
    """Stop at the first malformed row of training data."""
    only_ready: bool = False
    """Fail where something that the goals depend on is not made yet, unless it is cheap to make."""


@dataclass(frozen=True)
class Run:
    """A run that can start."""

    config: PipelineConfig
    options: RunOptions
    graph: graphs.Graph
    context: Context
    plan: graphs.Plan


def context_of(config: PipelineConfig) -> Context:
    """What the stages of a run share."""
    return Context(
        store=Store(config.store),
        known=KnownFiles(),
        data_dir=data_folder(config.data_dir),
        pipeline=config.name,
        workers=config.resources.workers,
        threads=config.resources.threads,
        processes=config.resources.processes,
        launcher=config.resources.launcher,
        slices=config.resources.slices,
        ray=config.resources.ray,
        trackers=config.trackers,
        timeout_s=config.resources.stage_timeout_s,
    )


def plan_run(config: PipelineConfig, options: RunOptions = RunOptions(), since: datetime | None = None) -> Run:  # noqa: B008  (immutable)
    """The graph, the context and the plan of a run. Raises ConfigError for a stage that does not exist.

    `since`: when the run was first started. What was made after that is not made again.
    """
    graph = graphs.build(config, options.goals)
    goals = [key for goal in options.goals for key in graphs.match(graph, goal)] or list(graph)
    redo = {str(key) for key in goals} if options.force else set()
    if options.remake:
        redo |= {f"{key}/{options.remake}" for key in goals}
    if options.from_stage:
        redo |= {str(key) for key in graphs.following(graph, graphs.match(graph, options.from_stage))}
    context = replace(
        context_of(config),
        strict=options.strict,
        verify=options.verify,
        redo=frozenset(redo),
        since=since or datetime.now(UTC),
    )
    return Run(config, options, graph, context, graphs.plan(graph, context))


def preflight(run: Run) -> None:
    """Raise the first problem: what the options ask for and is not there (StoreError), what a source said (ConfigError,
    DataError, ModelError), or a lack of disk, memory or context length (PreflightError)."""
    plan, context = run.plan, run.context
    if run.options.only_ready:
        _require_ready(run)
    for error in plan.problems.values():
        raise error
    if run.options.remake:
        _require_all_but(plan, run.options.remake)
    context.store.check_writable()
    todo = [key for key in plan.graph if plan.standing(key) != "done"]
    disk = SPARE_BYTES if todo else 0
    for key in todo:
        for step in plan.graph[key].steps:
            disk += step.preflight(plan.artifacts, context)
    free = context.store.free_bytes()
    if disk > free:
        raise PreflightError(
            f"the stages need about {disk / GIB:.1f} GiB of disk and {context.store.root} has {free / GIB:.1f} free",
            "free some, or give another store with --store",
        )


def reuse(run: Run) -> Artifacts:
    """The artifacts of a run that has nothing to do. Names lead to them from now on, as after any other run."""
    for artifact in run.plan.artifacts.values():
        run.context.store.link(run.context.pipeline, str(artifact.key), artifact.folder)
    return run.plan.artifacts


def _require_ready(run: Run) -> None:
    goals = {key for goal in run.options.goals for key in graphs.match(run.graph, goal)}
    missing = [key for key in run.graph if key not in goals and not _is_cheap(run, key)]
    missing = [key for key in missing if run.plan.standing(key) != "done"]
    if missing:
        names = ", ".join(map(str, missing))
        raise StoreError(f"not made yet: {names}", "run the pipeline first, or leave only_ready out")


def _is_cheap(run: Run, key: StageKey) -> bool:
    return run.config.kind_of(key).is_cheap


def _require_all_but(plan: graphs.Plan, kind: str) -> None:
    missing = [str(p.target.key) for p in plan.planned if p.target.kind != kind and p.check.standing != "done"]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise StoreError(
            f"there is nothing to make {kind} of, not made yet: {', '.join(missing[:3])}{more}",
            "run the pipeline first, or the stages that are named",
        )
