"""Turn a config and options into a run (graph, context and plan), and check it before any stage starts.

This module does not import Prefect, so a run with nothing to do returns at once.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from flows import graph as graphs
from hpt_core.artifacts import KnownFiles, Store
from hpt_core.base import Frozen, idle_settings
from hpt_core.errors import ConfigError, HPTError, PreflightError, StoreError, near
from tasks.execution.artifact import Artifacts
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context, Notice, data_folder

LOG = logging.getLogger("hpt.run")

GIB = 2**30
SPARE_BYTES = GIB // 2
"""Free disk required beyond what the stages are estimated to write."""


class RunOptions(Frozen):
    """Options of a run that are not part of its config."""

    only: tuple[str, ...] = ()
    """What to run, with its dependencies; the whole pipeline if empty. Stages ("train.hpt"), kinds ("train"), models
    ("hpt"), artifacts of a stage ("evaluate.hpt/aime24") or globs."""
    rerun: tuple[str, ...] = ()
    """What to produce again although the store holds it, named as in `only`. What depends on it is produced again only
    if the new artifact has another content."""
    rerun_from: tuple[str, ...] = ()
    """What to produce again together with everything that depends on it."""
    verify: bool = False
    """Rehash every stored file before it is reused."""
    strict: bool = False
    """Stop at the first malformed row of training data."""
    only_ready: bool = False
    """Fail if a dependency of `only` is missing, unless its stage is cheap."""
    as_is: bool = False
    """Run what `only` names with the dependencies that are finished, and none of the others. What needs one of those is
    skipped, or does without it as it does without a failed one."""
    complete: bool = False
    """Report and publish only if every model was measured. By default what is measured is published, and what is
    missing is named."""
    overrides: tuple[str, ...] = ()
    """The overrides that the config contains, as "train.hpt.steps=10". They are recorded, and applied by whoever loads
    the config."""


class StagesFailed(HPTError):
    """Some stages failed; all stages that can do without them are done."""

    def __init__(self, failures: dict[str, HPTError], artifacts: Artifacts) -> None:
        first = next(iter(failures.values()))
        self.failures = failures
        self.artifacts = artifacts
        """Of the stages that are done."""
        self.exit_code = first.exit_code
        more = f" ({len(failures) - 1} more failed: {', '.join(list(failures)[1:])})" if len(failures) > 1 else ""
        super().__init__(first.cause + more, first.remedy)


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
    graph = graphs.build(config, options.only)
    only, rerun, rerun_from = (graphs.select(graph, t) for t in (options.only, options.rerun, options.rerun_from))
    needed = {key for stage in graph.values() for key in stage.after}
    context = replace(
        context_of(config),
        strict=options.strict,
        verify=options.verify,
        rerun=rerun,
        rerun_from=rerun_from,
        since=since or datetime.now(UTC),
    )
    context.store.refresh()
    unfinished = only.stages if options.as_is else None
    plan = graphs.plan(graph, context, only.in_part(but=needed), unfinished)
    _require_artifacts(plan, (*options.only, *options.rerun, *options.rerun_from))
    return Run(config, options, plan.graph, replace(context, skipped=frozenset(plan.skipped)), plan)


def _require_artifacts(plan: graphs.Plan, texts: Iterable[str]) -> None:
    """Raise ConfigError for a text that names no artifact. Stages that cannot be planned have none yet."""
    keys = [*(p.target.key for p in plan.planned), *plan.skipped]
    for text in texts:
        selection = graphs.select(plan.graph, [text])
        known = tuple(str(key) for key in keys if key.stage in selection.stages)
        if known and not any(key in selection for key in keys):
            raise ConfigError(f"unknown artifact {text!r}", near(text, known))


def warn(run: Run) -> tuple[Notice, ...]:
    """Log the settings that change nothing, and return them as notices of their stages or kinds of stages."""
    found = []
    for text in idle_settings(run.config):
        LOG.warning("%s", text)
        stage = next((str(key) for key in run.graph if text.startswith(f"{key}.")), re.split(r"\W", text)[0])
        found.append(Notice(stage, "warned", text))
    return tuple(found)


def preflight(run: Run) -> None:
    """Check that the run can start. Raises the first of its `problems`, and StoreError for a store that is not
    writable."""
    for error in _planning_problems(run):
        raise error
    run.context.store.check_writable()
    for error in _stage_problems(run):
        raise error


def problems(run: Run) -> Iterator[HPTError]:
    """What keeps a run from starting; changes nothing.

    StoreError for an artifact that the options require and the store lacks; ConfigError, DataError or ModelError from
    planning; what the checks of the stages raise; PreflightError for too little disk.
    """
    yield from _planning_problems(run)
    yield from _stage_problems(run)


def _planning_problems(run: Run) -> Iterator[HPTError]:
    if run.options.only_ready and (missing := _missing(run)):
        yield StoreError(f"the store lacks {', '.join(missing)}", "run these stages first, or omit only_ready")
    yield from run.plan.problems.values()


def _stage_problems(run: Run) -> Iterator[HPTError]:
    plan, context = run.plan, run.context
    todo = [key for key in plan.graph if plan.state(key) not in ("done", "blocked")]
    disk = SPARE_BYTES if todo else 0
    for step in (step for key in todo for step in plan.graph[key].steps):
        try:
            disk += step.preflight(plan.artifacts, context)
        except HPTError as error:
            yield error
    free = context.store.free_bytes()
    if disk > free:
        yield PreflightError(
            f"the stages need about {disk / GIB:.1f} GiB of disk; {context.store.root} has {free / GIB:.1f} GiB free",
            "free some space with `hpt gc`, or give another store with --store"
            if context.store.mirror is None
            else "free some space there, or set HPT_CACHE to a folder on another disk",
        )


def reuse(run: Run) -> Artifacts:
    """The artifacts of a run with nothing to do. Links them and reports each stage, as any other run does."""
    # Those that the run leaves out may be missing.
    found = Artifacts({key: artifact for key, artifact in run.plan.artifacts.items() if not artifact.provisional})
    for artifact in found.values():
        run.context.store.link(run.context.pipeline, str(artifact.key), artifact.folder)
    for key in run.graph:
        run.context.notify(Notice(str(key), "reused"))
    return found


def _missing(run: Run) -> list[str]:
    """Stages and artifacts that `only` does not name, that are not cheap, and that the store lacks."""
    only = graphs.select(run.graph, run.options.only)
    found: dict[str, None] = {}
    for key in run.graph:
        if run.config.kind_of(key).is_cheap:
            continue
        required = [p for p in run.plan.of(key) if p.target.key not in only]
        lacking = [str(p.target.key) for p in required if p.check.state != "done"]
        found |= dict.fromkeys([str(key)] if lacking and len(lacking) == len(run.plan.of(key)) else lacking)
    return list(found)
