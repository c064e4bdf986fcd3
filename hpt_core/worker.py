"""What the worker programs share: reading their spec, logging, progress lines, errors that a parent can read.

A worker is `python -m MODULE SPEC.json`. It logs to standard error. On standard output it writes events, one
JSON object a line: {"event": "progress", "done": 3, "total": 10, "unit": "steps", "text": "reward 0.31"} and, before
it ends with an HPTError, {"event": "error", "type": ..., "cause": ..., "remedy": ...}.

Under a launcher such as torchrun the processes of all ranks share one standard output. It belongs to rank 0: what the
others print goes to their log, and of their events only errors are written.
"""

import errno
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TextIO, TypeVar

from pydantic import BaseModel, ValidationError

from hpt_core.errors import ConfigError, HPTError, WorkerError

Spec = TypeVar("Spec", bound=BaseModel)
Progress = Callable[[int, int, str], None]
"""Called with (done, total, text)."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says where a disk or a quota is full."""
ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    "GOMP_SPINCOUNT": "10000",
    "GLIBC_TUNABLES": ":".join(
        f"glibc.malloc.{name}"
        for name in ("hugetlb=1", f"mmap_threshold={2**30}", f"trim_threshold={2**31}", f"top_pad={2**26}")
    ),
}
"""What a worker is started with, where its caller's environment does not say otherwise.

Threads that spin for long while they wait cost a worker on a crowded machine nine tenths of its speed, and threads that
sleep at once a tenth on an idle one: these spin for some microseconds. The allocator keeps freed memory and asks for
huge pages: a training step on CPUs otherwise spends a tenth of its time in page faults."""

_RANK = int(os.environ.get("RANK") or 0)
"""Read once: an engine may change its own environment."""


def rank() -> int:
    """This process's place among those that a launcher started; 0 where none did."""
    return _RANK


def emit(event: str, **fields: object) -> None:
    """Write one event line to standard output, at once; on ranks other than 0 nothing but errors."""
    if rank() and event != "error":
        return
    stream = _events or sys.stdout
    stream.write(json.dumps({"event": event, **fields}, ensure_ascii=False) + "\n")
    stream.flush()


_events: TextIO | None = None
"""Where events go; standard output where None."""


def leave_standard_output() -> None:
    """Have everything but events go to standard error, also what is printed below Python."""
    global _events
    _events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)


def progress(unit: str) -> Progress:
    """A progress callback for a loop that counts `unit`s."""

    def report(done: int, total: int, text: str = "") -> None:
        emit("progress", done=done, total=total, unit=unit, text=text)

    return report


def read_spec(spec_type: type[Spec], path: Path) -> Spec:
    """Parse a spec file; raises ConfigError that names the file and the first wrong field."""
    try:
        return spec_type.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "give the path of a spec file") from error
    except ValidationError as error:
        first = error.errors()[0]
        fields = (*first["loc"], first["ctx"]["field"]) if first["type"] == "unknown_field" else first["loc"]
        where = ".".join(map(str, fields))
        raise ConfigError(f"{path}: {where}: {first['msg']}", "correct the field") from error


def main(spec_type: type[Spec], run: Callable[[Spec], None]) -> None:
    """Entry point of a worker program: exit code 0, or that of the HPTError it ended with."""
    # For a worker that somebody starts by hand; what concerns threads is read when torch is loaded, which is later.
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    where = "%(asctime)s %(levelname)s %(name)s"
    if "RANK" in os.environ:
        where += f" (rank {rank()})"
    if rank():
        leave_standard_output()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=f"{where}: %(message)s")
    try:
        if len(sys.argv) != 2:
            raise ConfigError("one argument is expected: the spec file", f"python -m {spec_type.__module__} SPEC.json")
        run(read_spec(spec_type, Path(sys.argv[1])))
    except HPTError as error:
        _end(error)
    except OSError as error:
        if error.errno not in FULL:
            raise
        logging.getLogger("hpt").exception("no space is left")
        _end(WorkerError("the disk is full", "free some space and run it again to go on; what was finished is kept"))


def _end(error: HPTError) -> NoReturn:
    logging.getLogger("hpt").error("%s", error)
    emit("error", type=type(error).__name__, cause=error.cause, remedy=error.remedy)
    sys.exit(error.exit_code)
