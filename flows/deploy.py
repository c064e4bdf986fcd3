"""Deployments of pipelines on a Prefect server, made equal to what their configs say."""

import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema

from flows import automations, engine
from flows.pipeline import pipeline
from flows.server import QUIET
from hpt_core.errors import ConfigError
from tasks.execution.config import PipelineConfig, pipeline_type
from tasks.execution.schedule import ScheduleConfig

ENTRYPOINT = "flows.pipeline.pipeline"
LEADERBOARD = "-leaderboard"
PROCESS = "process"
"""Type of the work pools. Their workers start runs as processes of their own machine."""
TAG = "hpt"
Told = Iterator[tuple[str, str]]
"""What was done: ("created", "deployment pipeline/demo")."""


@dataclass(frozen=True)
class Deployment:
    """A deployment as it should be."""

    name: str
    description: str
    parameters: dict[str, Any]
    folder: Path
    """The runs' working directory. The store of a config may be relative to it."""
    pool: str
    schedules: list[DeploymentScheduleCreate] = field(default_factory=list)

    @property
    def version(self) -> str:
        """Changes when anything of the deployment does."""
        schedules = [schedule.model_dump(mode="json") for schedule in self.schedules]
        told = [self.description, self.parameters, self.folder, self.pool, schedules, _job(self), _schema()]
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]


def deployments(config: PipelineConfig, file: Path, folder: Path) -> list[Deployment]:
    """The deployments of a pipeline: all of it, each kind of stage that takes long, and the leaderboard.

    Runs read the config's file when they begin, in `folder`, so an edited config needs no new deployment unless its
    schedule or its kinds of stages changed.
    """
    schedule = config.schedule

    def deployment(name: str, what: str, only: Iterable[str], **more: Any) -> Deployment:
        parameters = {"config": str(file.resolve()), "set": list(schedule.set), "only": list(only)}
        return Deployment(
            f"{config.name}{name}",
            what,
            parameters | more.pop("parameters", {}),
            folder.resolve(),
            schedule.pool,
            **more,
        )

    cron = [DeploymentScheduleCreate(schedule=_cron(schedule), slug="config")] if schedule.cron else []
    what = "The whole pipeline. Stages whose artifacts are in the store are skipped."
    found = [deployment("", what, schedule.only, schedules=cron)]
    kinds = [kind for kind in config.known_kinds if list(kind.stages(config))]
    for kind in kinds:
        if kind.command and not kind.shows_measured:
            command, what = kind.command
            found.append(deployment(f"-{command}", f"{what}. Missing dependencies run first.", [kind.name]))
    if showing := [kind for kind in kinds if kind.shows_measured]:
        last = max(showing, key=lambda kind: kind.order)
        what = "Tables, leaderboard and publication of what has been measured. Never trains."
        found.append(deployment(LEADERBOARD, what, [last.name], parameters={"options": {"only_ready": True}}))
    return found


def deploy(client: SyncPrefectClient, config: PipelineConfig, file: Path, folder: Path) -> Told:
    """Make the server's deployments of a pipeline equal to its config. Yields what was done to each."""
    yield from _pool(client, config.schedule.pool)
    wanted = deployments(config, file, folder)
    flow = client.create_flow(pipeline)
    ids: dict[str, UUID] = {}
    for deployment in wanted:
        what, ids[deployment.name] = _deploy(client, flow, deployment)
        yield what, f"deployment {pipeline.name}/{deployment.name}"
    yield from _remove_others(client, config.name, ids)
    evaluation, leaderboard = ids.get(f"{config.name}-evaluate"), ids.get(f"{config.name}{LEADERBOARD}")
    if evaluation and leaderboard:
        # The whole pipeline publishes by itself.
        name = f"hpt: leaderboard of {config.name} after its evaluation"
        yield _automate(client, automations.after(name, evaluation, leaderboard))


def prepare(client: SyncPrefectClient) -> Told:
    """Make the automations that every server needs. Yields what was done to each."""
    for automation in automations.standing():
        yield _automate(client, automation)


def _cron(schedule: ScheduleConfig) -> CronSchedule:
    try:
        return CronSchedule(cron=schedule.cron or "", timezone=schedule.timezone)
    except ValueError as error:
        cause = f"schedule.cron = {schedule.cron!r} is not a cron expression"
        raise ConfigError(cause, "see `man 5 crontab`") from error


def _schema() -> dict[str, Any]:
    return parameter_schema(pipeline).model_dump_for_openapi()


def _job(deployment: Deployment) -> dict[str, Any]:
    """Variables of a process worker's job."""
    heartbeat = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
    return {
        "command": shlex.join(engine.command()),
        "working_dir": str(deployment.folder),
        "env": {heartbeat: QUIET[heartbeat]},
    }


def _pool(client: SyncPrefectClient, name: str) -> Told:
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=name, type=PROCESS))
        yield "created", f"work pool {name}"
        return
    if pool.type != PROCESS:
        raise ConfigError(
            f"the work pool {name!r} has the type {pool.type!r}",
            'set schedule.pool to a pool of the type "process"; the guide on clusters says how to use other pools',
        )
    yield "unchanged", f"work pool {name}"


def _deploy(client: SyncPrefectClient, flow: UUID, wanted: Deployment) -> tuple[str, UUID]:
    before = _read(client, wanted.name)
    if before is not None and before.version == wanted.version:
        return "unchanged", before.id
    made = client.create_deployment(
        flow,
        wanted.name,
        version=wanted.version,
        description=wanted.description,
        entrypoint=ENTRYPOINT,
        parameters=wanted.parameters,
        parameter_openapi_schema=_schema(),
        enforce_parameter_schema=True,
        job_variables=_job(wanted),
        work_pool_name=wanted.pool,
        pull_steps=[],
        tags=[TAG],
        schedules=wanted.schedules,
    )
    return ("created" if before is None else "updated"), made


def _read(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(f"{pipeline.name}/{name}")
    except ObjectNotFound:
        return None


def _remove_others(client: SyncPrefectClient, name: str, ids: dict[str, UUID]) -> Told:
    """Remove deployments that an earlier config of this name had."""
    suffixes = {f"-{kind.command[0]}" for kind in pipeline_type({}).known_kinds if kind.command} | {LEADERBOARD}
    for former in sorted({name + suffix for suffix in suffixes} - set(ids)):
        found = _read(client, former)
        if found is not None and TAG in found.tags:
            client.delete_deployment(found.id)
            yield "removed", f"deployment {pipeline.name}/{former}"


def _automate(client: SyncPrefectClient, wanted: AutomationCore) -> tuple[str, str]:
    told = f"automation {wanted.name!r}"
    before = next(iter(client.read_automations_by_name(wanted.name)), None)
    if before is None:
        client.create_automation(wanted)
        return "created", told
    if _plain(before) == _plain(wanted):
        return "unchanged", told
    client.update_automation(before.id, wanted)
    return "updated", told


def _plain(automation: AutomationCore) -> Any:
    """What an automation does, to compare."""
    found = automation.model_dump(mode="json", include={"description", "trigger", "actions"})
    found["trigger"] = {
        k: sorted(v) if k in ("after", "expect", "for_each") else v for k, v in found["trigger"].items()
    }
    return found
