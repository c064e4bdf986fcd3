"""The process of a deployment's flow run: `python -m flows.engine`, the command of every deployment.

Prefect's process worker kills its flows with SIGKILL when it is asked to end, and a worker that is killed leaves them
behind. Either way nobody tells the server, and the run stays Running. Therefore the worker's child is only a supervisor
(hpt_core/supervisor.py). It asks the flow to end when the worker is gone, and the kernel asks the flow when the
supervisor is killed. The flow ends its stages and tells the server that it is Crashed and to be attempted again. If a
signal killed the flow, a process that the supervisor starts tells it. Both exit with code 0, because the worker, if it
is there, would otherwise report the crash again, twice, and its last report may undo the scheduled attempt.
"""

import os
import runpy
import shlex
import signal
import sys
from typing import Any
from uuid import UUID

from hpt_core import redact, supervisor

GRACE_S = 25
"""Seconds that a flow has to end its stages and to report. Prefect's worker kills a cancelled run after 30."""


def command() -> list[str]:
    """The command of a deployment."""
    return [sys.executable, "-m", "flows.engine"]


def main(arguments: list[str]) -> int:
    """Become the supervisor of the flow run at PREFECT__FLOW_RUN_ID, be the flow run, or report what killed it. Returns
    the exit code."""
    match arguments:
        case []:
            guard = supervisor.command(
                *("--grace", str(GRACE_S), "--death-signal", str(int(signal.SIGTERM))),
                *("--if-killed", shlex.join([*command(), "killed"])),
            )
            os.execv(guard[0], [*guard, *command(), "flow"])
        case ["killed", number]:
            from flows.server import prepare_environment

            signal.alarm(GRACE_S)  # if the server does not answer, the worker reports
            prepare_environment()
            return _report(f"{signal.Signals(int(number)).name} killed the flow")
    return _run_flow()


def _run_flow() -> int:
    signal.signal(signal.SIGTERM, _asked_to_end)
    from flows.server import console_as_json, prepare_environment

    prepare_environment()
    sys.excepthook = redact.show
    from prefect.exceptions import TerminationSignal
    from rich.console import Console

    console_as_json()

    def stay(self: Console) -> None:
        """The worker that reads the console may be gone. rich would exit before the flow has reported."""

    Console.on_broken_pipe = stay  # type: ignore[method-assign]
    sys.argv = ["prefect.engine"]
    try:
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
    except (TerminationSignal, _Ended):
        return _report("ended before it began")
    return 0


class _Ended(BaseException):
    """SIGTERM outside the flow function, before Prefect's engine handles it."""


def _asked_to_end(number: int, frame: Any) -> None:
    """Handle SIGTERM while the engine does not: before the flow begins, and again after its function has been ended,
    when the engine sends it to the handler that it found."""
    from prefect.exceptions import TerminationSignal

    signal.signal(number, signal.SIG_IGN)
    # If the server does not answer, its automations will find out; this process must not stay.
    signal.alarm(GRACE_S)
    if not isinstance(sys.exc_info()[1], TerminationSignal):
        raise _Ended


def _report(crash: str) -> int:
    """Tell the server that this run was ended from outside. Returns the exit code.

    The engine has already reported Crashed if it could; otherwise `crash` says why.
    """
    from prefect.client.orchestration import get_client
    from prefect.states import AwaitingRetry, Cancelled, Crashed

    from flows.attempts import MESSAGE

    flow_run = UUID(os.environ["PREFECT__FLOW_RUN_ID"])
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(flow_run).state
        if state is not None and state.is_cancelling():
            client.set_flow_run_state(flow_run, Cancelled(message="its process has ended"), force=True)
        elif state is None or state.is_crashed() or not state.is_final():
            if state is None or not state.is_final():
                client.set_flow_run_state(flow_run, Crashed(message=crash))
            client.set_flow_run_state(flow_run, AwaitingRetry(message=MESSAGE))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
