"""Every exception that this product raises on purpose.

HPTError
├── ConfigError        a config, a command line or a plug-in name is wrong
├── DataError          a row, a file or a benchmark is invalid
├── ModelError         a model folder is missing, incomplete or unsuitable
├── StoreError         the store cannot be read or written, or an artifact is damaged
│   └── LockedError    another run holds the lease of the same artifact
├── EngineError        a rollout engine failed
│   └── WeightSyncError    the engine's log-probabilities disagree with the trainer's
├── TrainingError      training cannot continue
│   └── NonFiniteError     a loss or a gradient is NaN or infinite
├── VerifierError      the verifier itself failed (a wrong answer is a verdict, not an error)
├── WorkerError        a worker process failed
│   ├── WorkerLost         a signal ended a worker process, perhaps for lack of memory
│   ├── WorkerTimeout      a worker process exceeded its time limit
│   └── WorkerStopped      a worker process was ended with the run
├── PreflightError     disk, memory or context length do not suffice
├── ServerError        the Prefect server cannot be reached or started
├── BudgetError        an evaluation has reached its budget
├── PublishError       a publisher failed
└── NotifyError        a notification could not be sent; it never ends a run
"""

import difflib
import errno
import re
import traceback
from collections.abc import Sequence
from itertools import takewhile

from hpt_core.redact import redact

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers for a full disk or an exceeded quota."""
DISK = FULL | {errno.EROFS, errno.EIO, errno.ESTALE, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR}
"""Error numbers for a disk that cannot be used, or has something else at a file's place."""
LONGEST_CAUSE = 2000
"""Most characters of a cause that another library's error gives."""

RAISED = re.compile(r"\b\w*(Error|Exception): .+")
"""Matches the last line of a traceback in a log."""
LOGGED_BY = re.compile(r"^\s*\(\w+ pid=\d+\)\s*")
"""The process's name, with which vLLM begins the lines of its log."""
PYDANTIC_LINK = "For further information visit https://errors.pydantic.dev"
"""The last line of a pydantic error."""


def near(name: str, known: tuple[str, ...]) -> str:
    """A remedy for an unknown name: near matches, then all known names."""
    return f"{near_matches(name, known)}known: {', '.join(known)}"


def near_matches(name: str, known: tuple[str, ...]) -> str:
    """A question for near matches, whatever their case, that ends with a space; "" if there are none."""
    lower = difflib.get_close_matches(name.lower(), {k.lower(): None for k in known}, n=3, cutoff=0.5)
    close = [k for match in lower for k in known if k.lower() == match][:3]
    return f"did you mean {' or '.join(repr(c) for c in close)}? " if close else ""


def explain(error: BaseException) -> str:
    """Another library's error with all its causes, on one line: "TYPE: MESSAGE (because of TYPE: MESSAGE)"."""
    found: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        told = " ".join(_message(cause).split())
        # An error that only repeats its cause adds nothing.
        if not any(told in shown for shown in found):
            found.append(f"{type(cause).__name__}: {told or _place(cause)}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    text = " (because of ".join(found) + ")" * (len(found) - 1)
    return text if len(text) <= LONGEST_CAUSE else f"{text[:LONGEST_CAUSE]}…"


def last_error(lines: Sequence[str]) -> str:
    """The last error in a log, on one line; "" if there is none. A pydantic error has its causes on the lines below."""
    found = [(n, match.group()) for n, line in enumerate(lines) if (match := RAISED.search(line))]
    causes = [(n, text) for n, text in found if "root cause" not in text]
    if not causes:
        return ""
    number, cause = causes[-1]
    if "validation error" in cause:
        below = takewhile(lambda line: PYDANTIC_LINK not in line, lines[number + 1 :])
        cause = " ".join([cause, *(LOGGED_BY.sub("", line) for line in below)])
    return " ".join(cause.split())[:LONGEST_CAUSE]


def _place(error: BaseException) -> str:
    """Where an error without a message was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "no message"
    return f"no message, raised by `{frames[-1].line}` in {frames[-1].name} ({frames[-1].filename})"


def _message(error: BaseException) -> str:
    """The error's text. For a pydantic error the fields and what is wrong with each, without the values and links."""
    # Not at the top, because setup reads this module before any package is installed.
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}".lstrip(": ") for e in error.errors())
    return str(error)


def disk_error(error: OSError, kind: "type[HPTError]", where: str = "") -> "HPTError | None":
    """The error for a disk that is full, read-only, away, broken or not permitted; None for an error of another kind.

    `where` is the beginning of its cause.
    """
    if error.errno in FULL:
        return kind(f"{where}the disk is full", "free some space and rerun to continue; finished work is kept")
    if error.errno not in DISK:
        return None
    # Arrow's errors have the file in their text.
    what = f"cannot use {error.filename}" if error.filename else "the disk cannot be used"
    return kind(
        f"{where}{what}: {error.strerror or error}",
        "check the disk, its mount and its permissions, and rerun to continue; finished work is kept",
    )


class HPTError(Exception):
    """Root of the tree: a cause and, if known, a remedy.

    `str(error)` is one line: "CAUSE. Remedy: REMEDY." The command line prints that line without a traceback. Secrets
    are hidden, because errors are logged, recorded and shown by Prefect.
    """

    exit_code = 1
    """Exit code of the command line: 2 for wrong input, 1 for a failure."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        self.cause = redact(cause).rstrip(".")
        self.remedy = redact(remedy).rstrip(".")
        super().__init__(f"{self.cause}. Remedy: {self.remedy}." if self.remedy else f"{self.cause}.")


class ConfigError(HPTError):
    """A config, a command line or a plug-in name is wrong."""

    exit_code = 2


class DataError(HPTError):
    """A row, a file or a benchmark is invalid."""

    exit_code = 2


class ModelError(HPTError):
    """A model folder is missing, incomplete or unsuitable."""

    exit_code = 2


class StoreError(HPTError):
    """The store cannot be read or written, or an artifact in it is damaged."""


class LockedError(StoreError):
    """Another run holds the lease of the same artifact."""


class EngineError(HPTError):
    """A rollout engine failed."""


class WeightSyncError(EngineError):
    """The engine's log-probabilities disagree with the trainer's after a weight sync."""


class TrainingError(HPTError):
    """Training cannot continue."""


class NonFiniteError(TrainingError):
    """A loss or a gradient is NaN or infinite; the batch is on disk."""


class VerifierError(HPTError):
    """The verifier itself failed. A wrong or unparsable answer is a verdict, not an error."""


class WorkerError(HPTError):
    """A worker process failed. The message contains the last lines of its log."""


class WorkerLost(WorkerError):
    """A worker process was ended by a signal from outside. A flow runs its stage again, which continues."""


class WorkerTimeout(WorkerError):
    """A worker process exceeded its time limit and was ended with all its descendants."""


class WorkerStopped(WorkerError):
    """A worker process was ended because the run ends."""


class PreflightError(HPTError):
    """Disk, memory or context length do not suffice for a stage."""

    exit_code = 2


class ServerError(HPTError):
    """The Prefect server cannot be reached or started."""


class BudgetError(HPTError):
    """An evaluation has reached its budget. Its samples are kept."""


class PublishError(HPTError):
    """A publisher failed. The report is complete in the store."""


class NotifyError(HPTError):
    """A notification could not be sent. It is logged, and never ends a run."""
