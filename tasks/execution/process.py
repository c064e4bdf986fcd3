"""Runs a worker program: its log goes to files, its events to the caller, and nothing of it outlives the caller.

A program of several processes is started by a launcher, by default torchrun on this machine. Its processes share one
standard output and one log; tasks/supervisor.py ends them all, although torchrun gives each a session of its own.
"""

import contextlib
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel

from hpt_core import errors, worker
from hpt_core.artifacts import Cost
from hpt_core.errors import ConfigError, HPTError, WorkerError, WorkerStopped, WorkerTimeout
from hpt_core.files import write_text
from tasks.execution import supervisor

LOG = logging.getLogger("hpt.worker")

Event = dict[str, Any]
GRACE_S = 5.0
"""Seconds that a worker's processes have to end before they are killed."""
LAST_LINES = 200
"""Lines of the log kept for the message of a worker that ended badly; a launcher's own report may be long."""
EVENT = '{"event": '
"""How the line of an event begins, after what a launcher may put before each line (`[rank0]:`)."""
RAISED = re.compile(r"^(?:\[[^\]]*\]:)?\s*((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Exit|Interrupt): .+)")
"""The last line of a traceback."""
OF_LAUNCHER = "torch.distributed.elastic."
"""Exceptions of torchrun itself say that a process failed, not why."""
KILLED = re.compile(r"Signal \d+ \((SIG\w+)\) received by PID")
"""How torchrun reports a process that a signal ended."""
VARIABLE = re.compile(r"\$(\w+|\{[^}]*\})")


@dataclass
class WorkerRun:
    """One run of a worker program."""

    stage: str
    """Key of the stage, for messages."""
    module: str
    """Module to run with `python -m`."""
    spec: BaseModel
    """Written as JSON to `spec_file`, the program's one argument."""
    spec_file: Path
    logs: Sequence[Path]
    """Files that the worker's log is appended to."""
    timeout_s: float | None = None
    environment: dict[str, str] = field(default_factory=dict)
    launcher: tuple[str, ...] = ()
    """Command that runs `-m MODULE SPEC` in several processes; this Python, alone, where empty."""


def launcher(processes: int, command: str | None = None) -> tuple[str, ...]:
    """What starts `processes` processes of a program on this machine; empty for one.

    `command` replaces it where given. Raises ConfigError where that cannot be read, names a variable that is not set,
    or is not installed.
    """
    if command is None:
        if processes == 1:
            return ()
        return (
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--standalone", "--nproc-per-node", str(processes)),
        )
    where = f"resources.launcher = {command!r}"
    expanded = os.path.expandvars(command)
    if left := VARIABLE.search(expanded):
        raise ConfigError(f"{where}: {left.group()} is not set", "set it in the environment, or write its value")
    try:
        words = tuple(shlex.split(expanded))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}", "close the quotation") from error
    if not words:
        raise ConfigError(f"{where} names no command", "leave it out, or give one such as torchrun")
    if shutil.which(words[0]) is None:
        raise ConfigError(f"{where}: there is no command {words[0]!r}", "install it, or give its path")
    return words


def run(job: WorkerRun, on_event: Callable[[Event], None], cancelled: threading.Event | None = None) -> Cost:
    """Run the worker to its end and return its cost (without the wall clock).

    Raises the worker's own HPTError where it ended with one, WorkerTimeout past the limit, WorkerError otherwise. On
    any exception in the caller, KeyboardInterrupt among them, every process of the worker is ended first.
    `cancelled`, once set by another thread, ends the worker too.
    """
    write_text(job.spec_file, job.spec.model_dump_json(indent=2, by_alias=True) + "\n")
    command = [sys.executable, "-I", "-S", str(Path(supervisor.__file__)), "--grace", str(GRACE_S)]
    command += ["--timeout", str(job.timeout_s or 0), "--", *_program(job)]
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context(_append(path)) for path in job.logs]
        _header(logs, job)
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            bufsize=1,
            env=worker.ENVIRONMENT | os.environ | job.environment,
            # Its own session: Ctrl-C in the terminal reaches this process alone, which then ends the worker in order.
            start_new_session=True,
        )
        reader = _Reader(process, logs, on_event)
        try:
            while process.poll() is None:
                if cancelled and cancelled.is_set():
                    raise WorkerStopped(f"{job.stage}: stopped, because the run is ending", "run it again to go on")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
        finally:
            _end(process)
            reader.join()
    if process.returncode:
        raise _error(job, process.returncode, reader)
    return reader.cost


def _program(job: WorkerRun) -> list[str]:
    return [*(job.launcher or (sys.executable,)), "-m", job.module, str(job.spec_file)]


def _append(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a", encoding="utf-8", buffering=1)


def _header(logs: Sequence[IO[str]], job: WorkerRun) -> None:
    for log in logs:
        command = f"{shlex.join(job.launcher) if job.launcher else 'python'} -m {job.module} {job.spec_file}"
        log.write(f"--- {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC {job.stage}: {command}\n")


class _Reader:
    """Two threads that drain the worker's pipes."""

    def __init__(
        self, process: "subprocess.Popen[str]", logs: Sequence[IO[str]], on_event: Callable[[Event], None]
    ) -> None:
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self.error: Event | None = None
        self.cost = Cost()
        self._logs = logs
        self._on_event = on_event
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._drain, args=(process.stderr, self._line), daemon=True),
            threading.Thread(target=self._drain, args=(process.stdout, self._event), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)

    @staticmethod
    def _drain(pipe: IO[str], take: Callable[[str], None]) -> None:
        with pipe:
            for line in pipe:
                take(line.rstrip("\n"))

    def _line(self, line: str) -> None:
        with self._lock:
            for log in self._logs:
                log.write(line + "\n")
            if line.strip():
                self.last.append(line)
        LOG.log(logging.WARNING if " WARNING hpt" in line else logging.DEBUG, "%s", line)

    def _event(self, line: str) -> None:
        try:
            event = json.loads(line[max(0, line.find(EVENT)) :])
            kind = event.get("event")
        except (ValueError, AttributeError):
            # A library's own print: it belongs into the log.
            self._line(line)
            return
        if kind == "error":
            # Of several ranks the first one fails for a reason, the others because it is gone.
            self.error = self.error or event
        elif kind == "usage":
            self.cost = Cost(cpu_seconds=event["cpu_seconds"], peak_memory_bytes=event["peak_memory_bytes"])
        else:
            try:
                self._on_event(event)
            except Exception:
                # A display that fails must not leave the worker writing into a pipe that nobody reads.
                LOG.exception("an event could not be shown")


def _end(process: "subprocess.Popen[str]") -> None:
    """Close the pipe and wait: the supervisor ends whatever is left. Interrupts are held off until it has."""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()  # type: ignore[union-attr]
    while True:
        try:
            process.wait(GRACE_S + 10)
            return
        except KeyboardInterrupt:
            continue
        except subprocess.TimeoutExpired:
            process.kill()


def _error(job: WorkerRun, code: int, reader: _Reader) -> HPTError:
    log = job.logs[0] if job.logs else None
    see = f"see {log}" if log else ""
    if code == supervisor.TIMED_OUT:
        return WorkerTimeout(
            f"{job.stage}: ran past its limit of {job.timeout_s:g} s and was ended",
            "raise resources.stage_timeout_s; the work so far is kept",
        )
    if reader.error:
        kind = getattr(errors, str(reader.error.get("type")), WorkerError)
        kind = kind if isinstance(kind, type) and issubclass(kind, HPTError) else WorkerError
        remedy = str(reader.error.get("remedy") or "") or see
        return kind(f"{job.stage}: {reader.error.get('cause')}", remedy)
    name = _killed_by(job, code, reader)
    if name:
        hint = "memory may have run out; " if name == "SIGKILL" else ""
        return WorkerError(f"{job.stage}: {job.module} was ended by {name}", f"{hint}{see}; run it again to go on")
    raised = (match.group(1) for line in reversed(reader.last) if (match := RAISED.match(line)))
    last = next((line for line in raised if not line.startswith(OF_LAUNCHER)), "") if job.launcher else ""
    last = last or next((line for line in reversed(reader.last) if line.strip()), "it wrote nothing")
    return WorkerError(f"{job.stage}: {job.module} ended with code {code}: {last.strip()[:300]}", see)


def _killed_by(job: WorkerRun, code: int, reader: _Reader) -> str:
    """Name of the signal that ended the program, or a process that a launcher started for it; empty where none did."""
    if code > 128:
        return signal.Signals(code - 128).name if code - 128 in set(signal.Signals) else str(code - 128)
    reports = (match.group(1) for line in reader.last if job.launcher and (match := KILLED.search(line)))
    # The processes that are left are told to stop, by SIGTERM, once one has failed.
    return next((name for name in reports if name != "SIGTERM"), "")
