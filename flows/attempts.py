"""Attempts of a flow run: one process at a time, and not for ever."""

import contextlib
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import Abort

from hpt_core.artifacts import BaseLease, Store
from hpt_core.errors import WorkerLost

LOG = logging.getLogger("hpt.flows")
MESSAGE = "the worker was lost; the run continues where it was"
"""Message of the state that starts an automatic attempt."""
MOST = 5
"""Automatic attempts of a run within HORIZON."""
HORIZON = timedelta(hours=1)


class StillRunning(Exception):
    """An earlier scheduled run of the same deployment has not ended."""


def history(context: FlowRunContext | None) -> list[State]:
    """The states of the current flow run, oldest first; none outside of a flow run."""
    if context is None or context.flow_run is None or not isinstance(context.client, SyncPrefectClient):
        return []
    return sorted(context.client.read_flow_run_states(context.flow_run.id), key=lambda state: state.timestamp)


def ended_before(states: list[State]) -> State | None:
    """The final state that a run had, if an automatic attempt of it was not needed; else None.

    A server that was restarted may handle a crash many minutes later, when the run has ended in another way. A worker
    that is stopped while the process of a finished run exits reports that run as crashed. Raises WorkerLost if the run
    lost its worker too often, so that nobody attempts it for ever.
    """
    scheduled = [number for number, state in enumerate(states) if state.is_scheduled()]
    if not scheduled or states[scheduled[-1]].message != MESSAGE:
        return None
    before = states[: scheduled[-1]]
    began = max((number for number, state in enumerate(before) if state.is_running()), default=0)
    ended = next((state for state in before[began:] if state.is_final() and not state.is_crashed()), None)
    if ended is not None:
        return State(type=ended.type, name=ended.name, message=f"unchanged: {ended.message or ended.name}")
    since = datetime.now(UTC) - HORIZON
    # A worker reports a crash twice, so an attempt may be scheduled twice; it counts once a worker takes it.
    count = sum(
        state.message == MESSAGE and state.timestamp > since and then.is_pending() for state, then in pairwise(states)
    )
    if count > MOST:
        raise WorkerLost(
            f"the run lost its worker {count} times within {HORIZON.total_seconds() / 3600:g} h",
            "see the log of each attempt (memory?), then retry the run",
        )
    return None


@contextlib.contextmanager
def sole(context: FlowRunContext | None, store: Store) -> Iterator[None]:
    """Hold the lease of this flow run, and that of its deployment if a schedule started it.

    Raises Abort, which leaves the run's state alone, if another process is at this run: the server believed it lost
    while the server itself was away. Raises StillRunning if another scheduled run of the deployment has not ended.
    """
    run = context.flow_run if context else None
    with contextlib.ExitStack() as stack:
        if run is not None and run.deployment_id:
            if holder := _held(store.named_lease(f"run-{run.id}"), stack):
                LOG.warning("this run is in progress already: %s", holder)
                raise Abort(f"in progress already: {holder}")
            if run.auto_scheduled and (holder := _held(store.named_lease(f"deployment-{run.deployment_id}"), stack)):
                raise StillRunning(f"an earlier scheduled run has not ended: {holder}")
        yield


def _held(lease: BaseLease, stack: contextlib.ExitStack) -> str | None:
    """Take a lease and release it with the stack. Returns who has it, if that process is alive.

    The lease of a process that died on another machine can be taken after its length; a living one renews it before.
    """
    first = None
    while not lease.try_take():
        holder = lease.holder()
        first = first or holder
        if holder is not None and holder != first:
            return holder
        time.sleep(1)
    stack.callback(lease.release)
    return None
