"""Logs as JSON: with HPT_LOG=json, one object per line, without secrets.

    {"time": "2026-11-27T02:41:50.123Z", "level": "INFO", "logger": "hpt.stage", "pipeline": "demo",
     "run": "20261127-024100-demo-3f2a", "stage": "train.hpt", "message": "..."}

An exception is in "error". Fields that are unknown are left out.
"""

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

from hpt_core.redact import redact

SETTING = "HPT_LOG"
JSON = "json"
START = '{"time": '
"""Start of a line."""
_fields: ContextVar[Mapping[str, str]] = ContextVar("log_fields", default=MappingProxyType({}))


def as_json() -> bool:
    """Whether logs are JSON."""
    return os.environ.get(SETTING) == JSON


@contextlib.contextmanager
def about(**fields: str) -> Iterator[None]:
    """Add fields (pipeline, stage, run) to every record of this thread while the block runs."""
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


def fields() -> dict[str, str]:
    """The fields of this thread's records, for another thread."""
    return dict(_fields.get())


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        error = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        return _line(record.created, record.levelname, record.name, record.getMessage(), error, _fields.get())


def formatter(plain: str) -> logging.Formatter:
    """A formatter: of JSON if logs are JSON, else with the format `plain`."""
    return JsonFormatter() if as_json() else logging.Formatter(plain)


def parsed(line: str) -> dict[str, str] | None:
    """A line of JSON, also after the prefix that a launcher adds; None for any other line."""
    begin = line.find(START)
    if begin < 0:
        return None
    with contextlib.suppress(ValueError):
        found = json.loads(line[begin:])
        return found if isinstance(found, dict) else None
    return None


def told(line: str) -> str:
    """A line of a worker's log as it is written: JSON with this thread's fields if logs are JSON. What the worker or a
    library printed becomes a message of the logger "output"."""
    if not as_json():
        return redact(line)
    found = parsed(line)
    if found is None:
        return _line(time.time(), "INFO", "output", redact(line), "", _fields.get())
    head = {key: found.pop(key) for key in ("time", "level", "logger") if key in found}
    return redact(json.dumps({**head, **_fields.get(), **found}, ensure_ascii=False))


def _line(seconds: float, level: str, logger: str, message: str, error: str, fields: Mapping[str, str]) -> str:
    at = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    found = {"time": at, "level": level, "logger": logger, **fields, "message": message}
    return json.dumps(found | ({"error": error} if error else {}), ensure_ascii=False)
