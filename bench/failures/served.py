"""Cases of a deployment's run on a permanent Prefect server: lost processes, a lost server, a cancellation."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil

from bench.failures.bed import STEPS, Bed, Row
from bench.failures.by_hand import TRAIN
from flows import automations
from tests.flows.pipelines import own, until

SECOND_S = 0.5
"""Seconds between two signals to one process."""


class Served:
    """A run of the pipeline's deployment that has begun to train."""

    def __init__(self, bed: Bed, trains: bool = True) -> None:
        self.bed = bed
        bed.runs.deploy(automations.SILENCE.total_seconds(), automations.BEGIN_WITHIN.total_seconds())
        self.worker = bed.runs.worker()
        self.id = bed.runs.start()
        if trains:
            until("it trains", lambda: bed.process(TRAIN), 300)
            bed.runs.checkpoint()

    @property
    def flow(self) -> psutil.Process:
        """The process of the flow."""
        return own(self.bed.runs.find("flows.engine flow"))

    def is_lost(self) -> bool:
        """Whether the server knows that the run has lost its process."""
        return "Crashed" in self.bed.runs.history(self.id)

    def watch(self) -> dict[str, float]:
        """Seconds until the loss was noticed, its slot was free, and another process trained."""
        return self.bed.watch(
            noticed_s=self.is_lost,
            free_s=self.bed.is_free,
            resumed_s=lambda: self.bed.process(TRAIN, new=True),
        )

    def end(self, case: str, state: str = "Completed", **fields: object) -> Row:
        """Let the run end. Returns its row."""
        runs = self.bed.runs
        self.bed.hurry()
        until("it is complete", lambda: runs.state(self.id) == "Completed", 900)
        until("its process has ended", lambda: not runs.find("flows.engine"), 300)
        for process in runs.processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in runs.processes:
            process.wait(90)
        row = self.bed.row(case, state, **fields)
        states = runs.history(self.id)
        row.note = row.note or f"states: {', '.join(states[1:])}"
        return row


def flow(bed: Bed, case: str, *signals: int) -> Iterator[Row]:
    """Signals to the process of the flow."""
    run = Served(bed)
    process = run.flow
    bed.fail()
    for number in signals:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
        time.sleep(SECOND_S if len(signals) > 1 else 0)
    yield run.end(case, **run.watch())


def worker(bed: Bed, case: str, number: int) -> Iterator[Row]:
    """A signal to Prefect's worker. A service manager starts another one."""
    run = Served(bed)
    bed.fail()
    os.kill(run.worker.pid, number)
    run.worker.wait(60)
    bed.runs.worker()
    yield run.end(case, **run.watch())


def pending(bed: Bed) -> Iterator[Row]:
    """SIGKILL of Prefect's worker once it has taken a run, before the run begins."""
    run = Served(bed, trains=False)
    while "Pending" not in bed.runs.history(run.id):
        time.sleep(0.02)
    bed.fail()
    run.worker.kill()
    states = bed.runs.history(run.id)
    run.worker.wait(60)
    bed.runs.worker()
    found = run.watch()
    row = run.end("SIGKILL of Prefect's worker while the run is Pending", **found)
    if "Running" in states:
        row.wrong.append("the run had begun")
    yield row


def finished(bed: Bed) -> Iterator[Row]:
    """SIGTERM of Prefect's worker while the process of a complete run exits, which the worker reports as a crash."""
    run = Served(bed)
    bed.hurry()
    until("it is complete", lambda: bed.runs.state(run.id) == "Completed", 900)
    bed.fail()
    run.worker.terminate()
    run.worker.wait(300)
    bed.runs.worker()
    found = bed.watch(noticed_s=lambda: bed.runs.state(run.id) == "Completed")
    yield run.end("SIGTERM of Prefect's worker right after the run is complete", **found)


def machine(bed: Bed) -> Iterator[Row]:
    """SIGKILL of everything at once, as when a machine loses its power."""
    run = Served(bed)
    everything = [psutil.Process(run.worker.pid), *bed.runs.find("")]
    bed.fail()
    for process in everything:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    run.worker.wait(60)
    bed.runs.worker()
    yield run.end("SIGKILL of all processes at once", **run.watch())


def server(bed: Bed, away_s: float) -> Iterator[Row]:
    """SIGKILL of the server, which comes back later."""
    bed.pace(max(1.0, 2 * away_s / STEPS))
    run = Served(bed)
    step = bed.runs.checkpoint()
    bed.fail()
    bed.server.kill()
    time.sleep(away_s)
    later = bed.runs.checkpoint(step)
    bed.server.start()
    row = run.end(
        f"SIGKILL of the server, away for {away_s:g} s", note=f"trained from step {step} to {later} meanwhile"
    )
    if row.again:
        row.wrong.append("training was disturbed")
    yield row


def server_at_end(bed: Bed) -> Iterator[Row]:
    """The server is away when the run ends."""
    run = Served(bed)
    bed.fail()
    bed.server.kill()
    bed.hurry()
    until("the site is published", bed.hpt.published.exists, 200)
    time.sleep(10)
    bed.server.start()
    found = bed.watch(noticed_s=lambda: bed.runs.state(run.id) == "Completed")
    yield run.end("SIGKILL of the server, away when the run ends", **found)


def cancellation(bed: Bed) -> Iterator[Row]:
    """`prefect flow-run cancel`, then another run."""
    run = Served(bed)
    command = [sys.executable, "-m", "prefect", "flow-run", "cancel", run.id]
    with subprocess.Popen(command, env=bed.hpt.environment, stdout=subprocess.DEVNULL):
        # The command itself takes seconds to start.
        until("it is being cancelled", lambda: "Cancelling" in bed.runs.history(run.id), 300)
        bed.fail()
        times = bed.watch(
            noticed_s=lambda: bed.runs.state(run.id) == "Cancelled",
            gone=lambda: not bed.process(TRAIN),
            free_s=bed.is_free,
        )
    gone = times.pop("gone")
    cancelled, run.id = run.id, bed.runs.start()
    bed.fail()
    times |= bed.watch(resumed_s=lambda: bed.process(TRAIN, new=True))
    row = run.end("cancellation", "Cancelled, then Completed", note=f"no training process after {gone:g} s", **times)
    if bed.runs.state(cancelled) != "Cancelled":
        row.wrong.append(f"the cancelled run is {bed.runs.state(cancelled)}")
    if times["noticed_s"] > 15:
        row.wrong.append("not cancelled within 15 s")
    yield row


CASES: dict[str, Callable[[Bed], Iterator[Row]]] = {
    "flow-term": lambda bed: flow(bed, "SIGTERM of the flow", signal.SIGTERM),
    "flow-kill": lambda bed: flow(bed, "SIGKILL of the flow", signal.SIGKILL),
    "flow-twice": lambda bed: flow(bed, "second SIGTERM to an ending flow", signal.SIGTERM, signal.SIGTERM),
    "worker-term": lambda bed: worker(bed, "SIGTERM of Prefect's worker", signal.SIGTERM),
    "worker-kill": lambda bed: worker(bed, "SIGKILL of Prefect's worker", signal.SIGKILL),
    "worker-end": finished,
    "pending": pending,
    "machine": machine,
    "server-10": lambda bed: server(bed, 10),
    "server-120": lambda bed: server(bed, 120),
    "server-end": server_at_end,
    "cancel": cancellation,
}
