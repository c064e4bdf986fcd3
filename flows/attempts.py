"""Automatic attempts of a flow run whose worker was lost."""

from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.context import FlowRunContext

from hpt_core.errors import WorkerLost

MESSAGE = "the worker was lost; the run continues where it was"
"""Message of the state that an automation sets to start the next attempt."""
MOST = 5
"""Automatic attempts of a run within HORIZON."""
HORIZON = timedelta(hours=1)


def refuse_endless(context: FlowRunContext | None) -> None:
    """Raise WorkerLost if this run has lost its worker too often, so that nobody attempts it for ever."""
    if context is None or context.flow_run is None or not isinstance(context.client, SyncPrefectClient):
        return
    states = context.client.read_flow_run_states(context.flow_run.id)
    since = datetime.now(UTC) - HORIZON
    count = sum(state.message == MESSAGE and state.timestamp > since for state in states)
    if count > MOST:
        raise WorkerLost(
            f"the run lost its worker {count} times within {HORIZON.total_seconds() / 3600:g} h",
            "see the log of each attempt (memory?), then retry the run",
        )
