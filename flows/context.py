"""The context of a run, and which stages it makes again; needs no Prefect."""

from datetime import UTC, datetime

from flows import graph as graphs
from flows.config import PipelineConfig
from hpt_core.artifacts import KnownFiles, Store
from tasks.context import Context, data_folder
from tasks.evaluate import VERDICTS


def context_of(
    config: PipelineConfig,
    redo: frozenset[str] = frozenset(),
    verify: bool = False,
    strict: bool = False,
    since: datetime | None = None,
) -> Context:
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
        strict=strict,
        verify=verify,
        redo=redo,
        since=since or datetime.now(UTC),
    )


def redone(
    graph: graphs.Graph, goals: list[str], force: bool, from_stage: str | None, regrade: bool = False
) -> frozenset[str]:
    """What is made again although it holds: the goals, or their verdicts, or a stage and all that follows from it."""
    again = frozenset(goals) if force else frozenset[str]()
    if regrade:
        again |= {f"{goal}/{VERDICTS}" for goal in goals}
    if from_stage:
        again |= graphs.following(graph, graphs.match(graph, from_stage))
    return again
