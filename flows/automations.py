"""Automations of a permanent Prefect server: no run stays Running without a process, and lost runs continue."""

from datetime import timedelta
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events import EventTrigger
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, Posture

from flows.attempts import MESSAGE

FLOW = "pipeline"
"""Name of the flow; runs of other flows are left alone."""
SILENCE = timedelta(seconds=80)
"""A run without a heartbeat for this long is lost. Flows send one every 30 s (flows/server.py)."""
BEGIN_WITHIN = timedelta(seconds=100)
"""A worker that has taken a run but not begun it for this long is lost."""
SILENT = "no heartbeat: the run's process is gone"
NOT_BEGUN = "the worker that took the run is gone"
KILLED = tuple(f"Flow run {what} exited with non-zero status code 13*" for what in ("process", "infrastructure"))
"""Messages of Prefect's workers if a signal ended a run's process: 137 is SIGKILL, 139 a segmentation fault. It comes
from a worker only if a flow's supervisor was killed, or could not report (flows/engine.py). A worker reports it twice,
and the second report may undo what the first one led to."""
ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")}
OF_FLOW = {"prefect.resource.role": "flow", "prefect.resource.name": FLOW}
OF_DEPLOYMENT = {"prefect.resource.role": "deployment"}


def standing() -> list[AutomationCore]:
    """The automations that every server needs once."""
    heartbeat = "prefect.flow-run.heartbeat"
    return [
        AutomationCore(
            name="hpt: a run without heartbeat is Crashed",
            description="Its process and its worker are gone.",
            trigger=EventTrigger(
                # Also after the start, because a run may be lost before its first heartbeat.
                after={heartbeat, "prefect.flow-run.Running"},
                expect={heartbeat} | ENDED,
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related=OF_FLOW,
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=SILENCE,
            ),
            actions=[ChangeFlowRunState(state=StateType.CRASHED, message=SILENT)],
        ),
        AutomationCore(
            name="hpt: a run that does not begin is Crashed",
            description="The worker that took it is gone.",
            trigger=EventTrigger(
                after={"prefect.flow-run.Pending"},
                expect={f"prefect.flow-run.{state}" for state in ("Running", "Cancelling")} | ENDED,
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related=[OF_FLOW, OF_DEPLOYMENT],
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=BEGIN_WITHIN,
            ),
            actions=[ChangeFlowRunState(state=StateType.CRASHED, message=NOT_BEGUN)],
        ),
        AutomationCore(
            name="hpt: a lost run is attempted again",
            description="It continues where it was. A run that failed by itself is not attempted again.",
            trigger=EventTrigger(
                expect={"prefect.flow-run.Crashed"},
                # Not what a flow that was asked to end reports: it schedules its next attempt itself.
                match={
                    "prefect.resource.id": "prefect.flow-run.*",
                    "prefect.state-message": [SILENT, NOT_BEGUN, *KILLED],
                },
                match_related=[OF_FLOW, OF_DEPLOYMENT],
                for_each={"prefect.resource.id"},
                posture=Posture.Reactive,
                threshold=1,
                # Every loss counts; flows/attempts.py limits the attempts. With 0, the server keeps no record of what
                # it has acted on, and acts again when its database is busy.
                within=timedelta(milliseconds=1),
            ),
            actions=[ChangeFlowRunState(state=StateType.SCHEDULED, name="AwaitingRetry", message=MESSAGE)],
        ),
    ]


def after(name: str, first: UUID, then: UUID) -> AutomationCore:
    """Run the deployment `then` whenever a run of the deployment `first` is complete."""
    return AutomationCore(
        name=name,
        trigger=EventTrigger(
            expect={"prefect.flow-run.Completed"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.role": "deployment", "prefect.resource.id": f"prefect.deployment.{first}"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[RunDeployment(source="selected", deployment_id=then)],
    )
