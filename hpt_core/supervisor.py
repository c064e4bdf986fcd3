"""A small process above a worker or an engine's server. It ends all their processes when its own parent is gone.

`python -I -S supervisor.py [OPTIONS] -- COMMAND...`, with a pipe from the parent as standard input. It is a subreaper,
so all processes that the command starts remain its descendants, even in new sessions. It ends every descendant when the
command ends or at the time limit. On SIGTERM, SIGINT or end-of-file on standard input it first asks the command alone
to end, which may have to report why, and ends the rest afterwards. Its exit code is the command's (128 + signal if a
signal killed it), 124 at the time limit, or 143 if the command did not end when asked. With --if-killed, another
command reports what signal killed the first; if it succeeds, the exit code is 0. It uses only the standard library, so
it starts in milliseconds and needs little memory.
"""

import argparse
import contextlib
import ctypes
import json
import os
import resource
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

SET_CHILD_SUBREAPER = 36
SET_DEATH_SIGNAL = 1
TIMED_OUT = 124
STOPPED = 143


def command(*options: str) -> list[str]:
    """The command of a supervisor, up to the command that it runs."""
    return [sys.executable, "-I", "-S", __file__, *options, "--"]


def prctl(option: int, value: int) -> None:
    """The system call `prctl`. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def end_with(parent: int, number: int) -> None:
    """Let the kernel send signal `number` to this process when `parent` ends. Exits now if it has already ended."""
    prctl(SET_DEATH_SIGNAL, number)
    if os.getppid() != parent:
        os._exit(128 + number)


def descendants() -> list[int]:
    """Process ids of all descendants that are not zombies."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            # The command's name is in parentheses and may itself contain spaces and parentheses.
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state not in "ZX":
                children.setdefault(int(parent), []).append(int(stat.parent.name))
    found, level = [], [os.getpid()]
    while level:
        level = [child for parent in level for child in children.get(parent, [])]
        found += level
    return found


def reap() -> dict[int, int]:
    """Reap the children that have ended: process id -> exit code."""
    ended = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended


def end_all(grace: float) -> None:
    """End every descendant: SIGTERM first, SIGKILL after `grace` seconds."""
    give_up = time.monotonic() + grace
    signalled: set[int] = set()
    while left := descendants():
        late = time.monotonic() > give_up
        for pid in left:
            if late or pid not in signalled:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
                signalled.add(pid)
        time.sleep(0.02)
        reap()
    reap()


def watch(child: "subprocess.Popen[bytes]", deadline: float | None, wake: int) -> int:
    """Wait until the child ends, a stop is requested or the time limit passes. Returns the code to exit with; STOPPED
    for a request."""
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([0, wake], [], [], left)
        if not ready:
            return TIMED_OUT
        if 0 in ready:
            data = os.read(0, 4096)
            if not data:
                return STOPPED
            if child.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    os.write(child.stdin.fileno(), data)
        if wake in ready:
            signals = os.read(wake, 4096)
            if signal.SIGTERM in signals or signal.SIGINT in signals:
                return STOPPED
            ended = reap()
            if child.pid in ended:
                child.returncode = ended[child.pid]
                return child.returncode if child.returncode >= 0 else 128 - child.returncode


def ask(child: "subprocess.Popen[bytes]", grace: float) -> int:
    """Ask the child to end and wait `grace` seconds for it. Returns the code to exit with."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGTERM)
    give_up = time.monotonic() + grace
    while time.monotonic() < give_up:
        ended = reap()
        if child.pid in ended:
            child.returncode = ended[child.pid]
            return child.returncode if child.returncode >= 0 else 128 - child.returncode
        time.sleep(0.02)
    return STOPPED


def main() -> int:
    """Run the command under supervision."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--timeout", type=float, default=0.0, help="time limit in seconds; 0 for none")
    parser.add_argument("--grace", type=float, default=5.0, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("--orphans-grace", type=float, default=5.0, help="the same if the command ended by itself")
    parser.add_argument("--death-signal", type=int, default=signal.SIGKILL, help="sent if the supervisor is killed")
    parser.add_argument("--if-killed", type=shlex.split, default=[], help="run if a signal ended COMMAND")
    parser.add_argument("--usage", action="store_true", help="print an event with CPU time and memory at the end")
    parser.add_argument("--forward", action="store_true", help="hand standard input on to the command")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    prctl(SET_CHILD_SUBREAPER, 1)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    supervisor = os.getpid()
    child = subprocess.Popen(
        options.command,
        stdin=subprocess.PIPE if options.forward else subprocess.DEVNULL,
        preexec_fn=lambda: end_with(supervisor, options.death_signal),
    )
    deadline = time.monotonic() + options.timeout if options.timeout > 0 else None
    code = watch(child, deadline, wake_read)
    grace = options.grace if child.returncode is None else options.orphans_grace
    if code == STOPPED and child.returncode is None:
        code = ask(child, grace)
        if child.returncode is None:
            # It has had its time.
            grace = 0.0
    end_all(grace)
    if options.usage:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        event = {
            "event": "usage",
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
            "peak_memory_bytes": usage.ru_maxrss * 1024,
        }
        with contextlib.suppress(OSError):
            os.write(1, (json.dumps(event) + "\n").encode())
    if options.if_killed and (child.returncode or 0) < 0:
        report = subprocess.run([*options.if_killed, str(-child.returncode)], stdin=subprocess.DEVNULL, check=False)
        code = report.returncode and code
    # reap() has already reaped the child; without a return code, Popen would warn about it.
    child.returncode = code
    return code


if __name__ == "__main__":
    sys.exit(main())
