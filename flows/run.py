"""What every flow does: config -> context -> preflight -> graph -> walk -> artifacts."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import prefect.runtime.flow_run
from prefect.context import FlowRunContext

from flows import graph as graphs
from flows.artifacts import show_leaderboard
from flows.config import PipelineConfig
from flows.load import load_config
from flows.preflight import preflight
from flows.walk import walk
from hpt_core.artifacts import KnownFiles, Store
from tasks.context import Context, data_folder
from tasks.task import Walk

Config = PipelineConfig | str
"""A config, or the path of a TOML file that holds one (for deployments)."""


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
        workers=config.resources.workers,
        threads=config.resources.threads,
        timeout_s=config.resources.stage_timeout_s,
        strict=strict,
        verify=verify,
        redo=redo,
        since=since or datetime.now(UTC),
    )
