"""Processes that run one training step on request, so two of them can take turns without loading again.

Parent and child exchange JSON lines over a pair of pipes. The child reports each finished step and waits for the next
request. It runs the first step without a request; that step is a warm-up and does not count. Standard library only,
because parent and child may run in different environments.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from bench import memory

FDS = "BENCH_STEPPER_FDS"
"""Environment variable that holds the child's two file descriptors, "READ,WRITE"."""


class Ended(RuntimeError):
    """A side's process ended before its step was done."""


class Child:
    """The child's end. Call `pause` at the end of every step."""

    def __init__(self) -> None:
        read, write = map(int, os.environ.pop(FDS).split(","))
        self._requests = os.fdopen(read, "r", encoding="utf-8")
        self._replies = os.fdopen(write, "w", encoding="utf-8")
        self._resettable = memory.reset_peak()

    def pause(self, **facts: Any) -> None:
        """Report a step's `facts` and this process's peak memory, then wait. Exits if there are no more steps."""
        facts["peak_gib"] = memory.peak_gib()
        facts["peak_of_step"] = self._resettable
        self._replies.write(json.dumps(facts) + "\n")
        self._replies.flush()
        if self._requests.readline() != "step\n":
            sys.exit(0)
        memory.reset_peak()


class Side:
    """The parent's end of one child."""

    def __init__(self, name: str, command: list[str], log: Path, environment: dict[str, str]) -> None:
        """Start `command`. Its output goes to the file `log`."""
        self.name = name
        self.log = log
        child_read, parent_write = os.pipe()
        parent_read, child_write = os.pipe()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(child_read, child_write),
                env={**os.environ, **environment, FDS: f"{child_read},{child_write}"},
            )
        os.close(child_read)
        os.close(child_write)
        self._requests = os.fdopen(parent_write, "w", encoding="utf-8")
        self._replies = os.fdopen(parent_read, "r", encoding="utf-8")

    def warm(self) -> dict[str, Any]:
        """Wait for the first step, which starts with the process, and return its facts."""
        return self._reply(time.perf_counter())

    def step(self) -> dict[str, Any]:
        """Run one step and return its facts: "seconds" by this process's clock, "peak_gib" of the child, "tree_gib" of
        the child and its descendants, and everything that the child reports. Raises Ended."""
        started = time.perf_counter()
        try:
            self._requests.write("step\n")
            self._requests.flush()
        except BrokenPipeError:
            self._fail()
        return self._reply(started)

    def close(self) -> None:
        """Tell the child to exit, and wait for it."""
        for pipe in (self._requests, self._replies):
            try:
                pipe.close()
            except BrokenPipeError:
                continue
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reply(self, started: float) -> dict[str, Any]:
        line = self._replies.readline()
        seconds = time.perf_counter() - started
        if not line:
            self._fail()
        facts: dict[str, Any] = json.loads(line)
        children = memory.children(self._process.pid)
        facts["tree_gib"] = facts["peak_gib"] + sum(memory.peak_gib(pid) for pid in children)
        return {**facts, "seconds": seconds}

    def _fail(self) -> None:
        code = self._process.wait()
        tail = "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
        hint = " (killed, probably because memory ran out)" if code == -9 else ""
        raise Ended(f"{self.name} ended with exit code {code}{hint}; the end of its log {self.log}:\n{tail}")
