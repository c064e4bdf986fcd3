"""Start programs without their seconds of imports: a process that has done them forks for each program.

Importing torch, transformers and vLLM takes 4 to 9 s of CPU time, and Prefect 1 s. All else is as with `python -m`: a
program has a process of its own, its environment and standard streams, an exit code, and can be killed.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any


class Program:
    """A running program, with the part of subprocess.Popen that tests use."""

    def __init__(self, command: list[str], ended: IO[bytes], stdout: IO[str]) -> None:
        self.args = command
        self.pid = int(ended.readline())
        self.stdout = stdout
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None and select.select([self._ended], [], [], 0)[0]:
            self.returncode = int(self._ended.readline())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raises subprocess.TimeoutExpired."""
        if self.returncode is None and not select.select([self._ended], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self.poll()  # type: ignore[return-value]

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def communicate(self, timeout: float) -> tuple[str, None]:
        """Its output to the end. Kills it and raises subprocess.TimeoutExpired if it does not end in time."""
        end = time.monotonic() + timeout
        os.set_blocking(self.stdout.fileno(), False)
        found = b""
        while ready := select.select([self.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
            if not (part := os.read(self.stdout.fileno(), 1 << 20)):
                break
            found += part
        if not ready:
            self.kill()
            raise subprocess.TimeoutExpired(self.args, timeout, found)
        self.wait(max(0.0, end - time.monotonic()))
        return found.decode(), None

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()
        self.wait()
        self._ended.close()


WORKERS = ("transformers:AutoModelForCausalLM", "vllm:LLM", "pandas", "pyarrow.parquet")
"""What worker programs import that takes long, as MODULE or MODULE:NAME. Nothing of ours, which reads RANK when it is
imported."""
HPT = ("prefect.flow_engine", "typer", "rich.console", "pyarrow.parquet", "flows.pipeline")
"""The same of `hpt`, which runs under no launcher."""


class Warm:
    """The process that forks. It ends with the process that made it."""

    def __init__(self, imports: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
        """`environment` is that of the imports, some of which read it."""
        self._socket, theirs = socket.socketpair()
        # Read at import: the threads of OpenMP and Arrow's allocator, which no fork survives, and where vLLM logs.
        own = {
            **environment,
            "OMP_NUM_THREADS": "1",
            "JE_ARROW_MALLOC_CONF": "background_thread:false",
            "VLLM_LOGGING_LEVEL": "ERROR",
        }
        with theirs:
            self._process = subprocess.Popen([sys.executable, __file__, *imports], stdin=theirs, env=own)

    def __enter__(self) -> "Warm":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(
        self,
        module: str,
        *arguments: str,
        log: Path,
        environment: Mapping[str, str] = os.environ,
        folder: Path | None = None,
    ) -> Program:
        """Start `python -m MODULE ARGUMENTS`. Standard output can be read; standard error is appended to `log`."""
        request = {
            "module": module,
            "arguments": arguments,
            "environment": dict(environment),
            "folder": str(folder or Path.cwd()),
        }
        out, theirs_out = os.pipe()
        ended, theirs_ended = os.pipe()
        with log.open("a") as errors:
            message = json.dumps(request).encode()
            socket.send_fds(
                self._socket, [len(message).to_bytes(4, "big")], [theirs_out, errors.fileno(), theirs_ended]
            )
            self._socket.sendall(message)
        os.close(theirs_out)
        os.close(theirs_ended)
        return Program(
            ["python", "-m", module, *arguments], os.fdopen(ended, "rb", 0), os.fdopen(out, encoding="utf-8")
        )

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait()


COMMANDS: list[tuple[Mapping[str, str], Warm]] = []
"""The environment of `hpt` commands in this session, and the process that forks for them."""


def _read_at_import(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that Prefect and Python read when they are imported. A program has its own values of the others."""
    return {name: value for name, value in environment.items() if name.startswith(("PREFECT_", "PYTHON"))}


def run_hpt(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path, timeout: float
) -> tuple[int, str, str] | None:
    """(exit code, output, errors) of an `hpt` command; None if nothing is ready for its environment."""
    wanted = _read_at_import(environment)
    warm = next((warm for own, warm in COMMANDS if _read_at_import(own) == wanted), None)
    if warm is None:
        return None
    with tempfile.TemporaryDirectory() as beside:
        log = Path(beside) / "errors"
        with warm.start("flows.cli", *arguments, log=log, environment=environment, folder=folder) as program:
            out, _ = program.communicate(timeout)
        return program.wait(), out, log.read_text()


def serve(imports: Sequence[str]) -> None:
    """Fork for each request on standard input. A program's parent waits for it and reports its process id and code."""
    sys.path[0] = str(Path(__file__).parents[1])  # beside this file, `flows` is a folder of tests
    for each in imports:
        module, _, name = each.partition(":")
        found = importlib.import_module(module)
        if name:
            getattr(found, name)
    gc.freeze()  # a collection would copy what the programs share
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a thread does not survive a fork"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = socket.socket(fileno=0)
    while True:
        length, handles, *_ = socket.recv_fds(server, 4, 3)
        if not length:
            return
        out, errors, ended = handles
        request = json.loads(server.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            pid = os.fork()
            if pid == 0:
                os.close(ended)
                _become(request, out, errors)
                return
            os.close(out)
            os.write(ended, f"{pid}\n".encode())
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os.write(ended, f"{code}\n".encode())
            os._exit(0)
        for handle in (out, errors, ended):
            os.close(handle)


def _become(request: dict[str, Any], out: int, errors: int) -> None:
    """Be the program."""
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(out, 1)
    os.dup2(errors, 2)
    os.close(out)
    os.close(errors)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = [request["module"], *request["arguments"]]
    sys.path[0] = request["folder"]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve(sys.argv[1:])
