"""Shared code of the worker programs: reading the spec, logging, progress events and error events.

A worker is `python -m MODULE SPEC.json`. It logs to standard error. On standard output it writes events, one JSON
object per line: {"event": "progress", "done": 3, "total": 10, "unit": "steps", "text": "reward 0.31"} and, before it
ends with an HPTError, {"event": "error", "type": ..., "cause": ..., "remedy": ...}.

With `--stay` before SPEC.json it does not end when it has finished. It writes {"event": "finished", "cpu_seconds": ...,
"peak_memory_bytes": ...} and waits for the path of another spec on standard input, until end-of-file. It may refuse a
spec that needs another process: {"event": "declined"}, and ends.

Under a launcher such as torchrun, all ranks share one standard output. Rank 0 uses it. Other ranks write only error
events to it; everything else they print goes to standard error.
"""

import json
import logging
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TextIO, TypeVar

from pydantic import BaseModel, ValidationError

from hpt_core import collector, logs, redact
from hpt_core.errors import ConfigError, HPTError, WorkerError, disk_error

Spec = TypeVar("Spec", bound=BaseModel)
Progress = Callable[[int, int, str], None]
"""Called with (done, total, text)."""
ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    "GOMP_SPINCOUNT": "10000",
    "GLIBC_TUNABLES": ":".join(
        f"glibc.malloc.{name}"
        for name in ("hugetlb=1", f"mmap_threshold={2**30}", f"trim_threshold={2**31}", f"top_pad={2**26}")
    ),
}
"""Environment of a worker. Values in the caller's environment take precedence.

GOMP_SPINCOUNT makes waiting threads spin for some microseconds. Long spinning costs a worker 90 % of its speed on a
busy machine, and no spinning costs 10 % on an idle one. The allocator keeps freed memory and requests huge pages;
without this, page faults take 10 % of a training step on CPUs."""

STAY = "--stay"
"""Argument of a worker that waits for further specs."""
END_OF_LOG = "--- end of this spec's log"
"""The last line of the log of a worker that waits for further specs."""

_RANK = int(os.environ.get("RANK") or 0)
"""Read once, because an engine may change the environment."""


def rank() -> int:
    """This process's rank under a launcher; 0 without one."""
    return _RANK


def emit(event: str, **fields: object) -> None:
    """Write one event line to standard output and flush it. Ranks other than 0 write only errors."""
    if rank() and event != "error":
        return
    stream = _events or sys.stdout
    stream.write(json.dumps({"event": event, **fields}, ensure_ascii=False) + "\n")
    stream.flush()


_events: TextIO | None = None
"""Stream for events; None means standard output."""


def leave_standard_output() -> None:
    """Redirect standard output to standard error, including the output of native code. Events are not redirected."""
    global _events
    _events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)


def progress(unit: str) -> Progress:
    """A progress callback for a loop over `unit`s."""

    def report(done: int, total: int, text: str = "") -> None:
        emit("progress", done=done, total=total, unit=unit, text=text)

    return report


def read_spec(spec_type: type[Spec], path: Path) -> Spec:
    """Parse a spec file. Raises ConfigError with the file and the first wrong field."""
    try:
        return spec_type.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "give the path of a spec file") from error
    except ValidationError as error:
        first = error.errors()[0]
        fields = (*first["loc"], first["ctx"]["field"]) if first["type"] == "unknown_field" else first["loc"]
        where = ".".join(map(str, fields))
        raise ConfigError(f"{path}: {where}: {first['msg']}", "correct the field") from error


class Declined(Exception):
    """The worker, kept from an earlier stage, cannot run this spec with what it has loaded."""


def main(spec_type: type[Spec], run: Callable[[Spec], None]) -> None:
    """Entry point of a worker program. The exit code is 0, or that of the HPTError that ended it."""
    collector.spare()
    redact.install()
    sys.excepthook = redact.show
    # For workers started by hand. Torch reads the thread settings when it is imported, which is later.
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    where = "%(asctime)s %(levelname)s %(name)s"
    if "RANK" in os.environ:
        where += f" (rank {rank()})"
    if rank():
        leave_standard_output()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logs.formatter(f"{where}: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        stays = sys.argv[1:2] == [STAY]
        if len(sys.argv) != 2 + stays:
            raise ConfigError("expected one argument: the spec file", f"python -m {spec_type.__module__} SPEC.json")
        run(read_spec(spec_type, Path(sys.argv[-1])))
        if stays:
            _stay(spec_type, run)
    except HPTError as error:
        _end(error)
    except OSError as error:
        found = disk_error(error, WorkerError)
        if found is None:
            raise
        logging.getLogger("hpt").exception("the disk cannot be used")
        _end(found)


def _stay(spec_type: type[Spec], run: Callable[[Spec], None]) -> None:
    """Run one spec after the other."""
    before = 0.0
    while True:
        used, peak = _usage()
        sys.stderr.write(f"{END_OF_LOG}\n")
        sys.stderr.flush()
        emit("finished", cpu_seconds=round(used - before, 3), peak_memory_bytes=peak)
        before = used
        path = sys.stdin.readline().rstrip("\n")
        if not path:
            return
        try:
            run(read_spec(spec_type, Path(path)))
        except Declined:
            emit("declined")
            return


def _usage() -> tuple[float, int]:
    """CPU seconds of this process and its ended children, and the largest resident size of one of them in bytes."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in found), max(u.ru_maxrss for u in found) * 1024


def _end(error: HPTError) -> NoReturn:
    logging.getLogger("hpt").error("%s", error)
    emit("error", type=type(error).__name__, cause=error.cause, remedy=error.remedy)
    sys.exit(error.exit_code)
