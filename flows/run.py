"""What every flow does: config -> context -> preflight -> graph -> walk -> artifacts."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import prefect.runtime.flow_run
from prefect.context import FlowRunContext

from flows import graph as graphs
from flows.artifacts import show_leaderboard
from flows.config import PipelineConfig
from flows.context import context_of, redone
from flows.load import load_config
from flows.preflight import preflight, require_sampled
from flows.walk import walk
from hpt_core.errors import StoreError
from tasks.task import Walk

CHEAP = ("contamination", "report")
"""Kinds of stages that are made where they are missing, also with `only_ready`: they take no engine."""
Config = PipelineConfig | str
"""A config, or the path of a TOML file that holds one (for deployments)."""


def read(config: Config) -> PipelineConfig:
    """The config itself, or the one in the file that is named."""
    return load_config(Path(config)) if isinstance(config, str) else config


def run_stages(
    config: Config,
    goals: tuple[str, ...] = (),
    force: bool = False,
    from_stage: str | None = None,
    verify: bool = False,
    strict: bool = False,
    only_ready: bool = False,
    regrade: bool = False,
) -> list[dict[str, Any]]:
    """Run the goals ("train.hpt", or a kind such as "train") with what they depend on; the whole pipeline without any.

    With `only_ready`, anything that the goals depend on and that is not there is an error in place of work to do. With
    `regrade` the goals' verdicts are made again, from samples that must be there.
    Returns the outputs as small JSON. Raises HPTError.
    """
    resolved = read(config)
    graph = graphs.select(resolved, goals) if goals else graphs.build(resolved)
    wanted = [key for goal in goals for key in graphs.match(graph, goal)] if goals else list(graph)
    context = context_of(resolved, redone(graph, wanted, force, from_stage, regrade), verify, strict, _begun())
    plan = graphs.plan(graph, context)
    if only_ready:
        _require_ready(plan, wanted)
    if regrade:
        require_sampled(plan)
    preflight(resolved, plan, context)
    made = walk(Walk(dict(graph), context), resolved.resources.parallel_stages)
    show_leaderboard(resolved.name, made)
    return [m.as_json() for m in made.values()]


def _require_ready(plan: graphs.Plan, goals: list[str]) -> None:
    missing = [
        key
        for key in plan.graph
        if key not in goals and key.split(".")[0] not in CHEAP and plan.standing(key) != "done"
    ]
    if missing:
        raise StoreError(f"not made yet: {', '.join(missing)}", "run the pipeline first, or leave only_ready out")


def run_name() -> str:
    """Name of a flow run: the pipeline's name, what is run, and when."""
    parameters = prefect.runtime.flow_run.parameters
    config = parameters.get("config")
    name = Path(config).stem if isinstance(config, str) else getattr(config, "name", None) or dict(config)["name"]
    only = "+".join(parameters.get("names") or ())
    flow = prefect.runtime.flow_run.flow_name
    parts = [
        name,
        *([] if flow == "pipeline" else [flow]),
        *([only] if only else []),
        f"{datetime.now(UTC):%m-%d %H:%M:%S}",
    ]
    return " ".join(parts)


def _begun() -> datetime:
    """When the flow run was first started: a retry does not redo what an earlier attempt has forced."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run and run.run_count > 1 and run.start_time:
        return run.start_time
    return datetime.now(UTC)
