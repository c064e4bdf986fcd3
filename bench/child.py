"""Measurements in separate processes: `python -m MODULE SPEC` prints its result as JSON on the last line."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.machine import ROOT


class Failed(SystemExit):
    """The process failed or took too long. If nobody catches it, the command exits."""


def call(
    module: str,
    spec: Mapping[str, Any],
    environment: Mapping[str, str],
    python: str | Path = sys.executable,
    timeout_s: float | None = None,
) -> Any:
    """Run `module` with `spec` in a new process and return its result. Raises Failed."""
    command = [str(python), "-m", module, json.dumps(spec)]
    try:
        done = subprocess.run(
            command, check=False, stdout=subprocess.PIPE, env=dict(environment), cwd=ROOT, text=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{module} took longer than {timeout_s:.0f} s") from error
    if done.returncode:
        hint = ": killed, probably because memory ran out" if done.returncode == -9 else ""
        raise Failed(f"{module} ended with exit code {done.returncode}{hint}; {command[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def answer(measure: Callable[..., Any]) -> None:
    """In the child process: call `measure` with the fields of the spec and print the result."""
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
