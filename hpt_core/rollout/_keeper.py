"""A process between an engine and the server it started. It ends the whole server when the engine's process ends.

`python -I _keeper.py GRACE COMMAND...` starts the server. Its standard input is a pipe from the engine's process. When
the pipe closes (by the engine, or because its process ended in any way) or on SIGTERM, the keeper sends SIGTERM to the
server's process group and kills it after GRACE seconds. If the server ends by itself, the keeper ends the rest of its
group. It exits with the server's exit code, or 128 + signal if a signal killed the server. It uses only the standard
library, so it starts in milliseconds.
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
"""Grace period for the remaining processes when the server has ended by itself."""
SET_DEATH_SIGNAL = 1
SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """Call prctl(2). Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def end_with(parent: int) -> None:
    """Let the kernel end this process when `parent` ends. If it has already ended, exit now."""
    prctl(SET_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGTERM)


def reap(codes: dict[int, int]) -> bool:
    """Add the exit codes of ended child processes to `codes`. Returns whether any child is left."""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return True
            codes[pid] = os.waitstatus_to_exitcode(status)
    except ChildProcessError:
        return False


def end(group: int, codes: dict[int, int], grace: float) -> None:
    """End a process group: SIGTERM, then SIGKILL after `grace` seconds. Returns when no process is left."""
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
    """Run the command until it ends or has to be ended. Returns the exit code."""
    grace, command = float(sys.argv[1]), sys.argv[2:]
    # Orphans of the server become children of this process, which can then wait for them.
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
    # Popen would warn that its child is still running, because reap() has collected the exit code.
    server.returncode = code
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
