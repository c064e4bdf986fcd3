"""Between an engine and the server that it started: when the engine's process is gone, nothing of the server stays.

`python -I _keeper.py GRACE COMMAND...` with a pipe from the engine's process as standard input. At the pipe's end (the
engine closed it, or its process is gone, however it ended) and on SIGTERM the server's whole process group is asked to
end, and killed after GRACE seconds; what is left of the group ends too once the server has ended by itself. It exits
with the server's code, 128 + signal where one killed it. Only the standard library: it starts in milliseconds.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

ORPHANS_S = 1.0
"""Seconds that are left to processes whose server has ended by itself."""
SET_DEATH_SIGNAL = 1
SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """The system call; raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def end_with(parent: int) -> None:
    """Let the kernel end this process when `parent` ends, also where it has ended already."""
    prctl(SET_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGTERM)


def reap(codes: dict[int, int]) -> bool:
    """Note the exit codes of processes that have ended; whether any process is left below this one."""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return True
            codes[pid] = os.waitstatus_to_exitcode(status)
    except ChildProcessError:
        return False


def end(group: int, codes: dict[int, int], grace: float) -> None:
    """End a process group; returns once none of it is left."""
    kill_at = time.monotonic() + grace
    give_up = kill_at + grace
    number = signal.SIGTERM
    while time.monotonic() < give_up:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)
        wait_until = kill_at if number == signal.SIGTERM else give_up
        while time.monotonic() < wait_until:
            if not reap(codes):
                return
            time.sleep(0.02)
        number = signal.SIGKILL


def main() -> int:
    """Run the command and keep it."""
    grace, command = float(sys.argv[1]), sys.argv[2:]
    # What the server leaves behind becomes a child of this process, which can then tell that it has ended.
    prctl(SET_CHILD_SUBREAPER, 1)
    wake, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    keeper = os.getpid()
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=lambda: end_with(keeper))
    codes: dict[int, int] = {}
    while server.pid not in codes:
        ready, _, _ = select.select([0, wake], [], [])
        if 0 in ready and not os.read(0, 4096):
            break
        if wake in ready and signal.SIGTERM in os.read(wake, 4096):
            break
        reap(codes)
    end(server.pid, codes, min(grace, ORPHANS_S) if server.pid in codes else grace)
    code = codes.get(server.pid, -signal.SIGKILL)
    # Popen would warn about the child that reap() has taken from it.
    server.returncode = code
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
