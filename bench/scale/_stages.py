"""In a process of its own: run a chain of idle stages, and count what it asks of the store and of Prefect."""

import json
import logging
import os
import stat
import statistics
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench import child

_stat = os.stat
KIND = "bench.scale.idle:IDLE"


class Counted:
    """Counts file operations below a folder, as the requests that they would be on an object store."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.found: Counter[str] = Counter()
        sys.addaudithook(self._audit)
        for name in ("stat", "lstat"):  # the only calls that audit hooks do not see
            setattr(os, name, self._wrapped(getattr(os, name)))

    def _ours(self, path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self.root)

    def _wrapped(self, function: Any) -> Any:
        def called(path: Any, *arguments: Any, **options: Any) -> Any:
            if self._ours(path):
                self.found["head"] += 1
            return function(path, *arguments, **options)

        return called

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and self._ours(arguments[0]):
            mode, flags = arguments[1] or "", arguments[2] or 0
            writes = any(letter in mode for letter in "wax+") or flags & (os.O_WRONLY | os.O_RDWR)
            # A folder that is flushed is no request.
            if writes or not stat.S_ISDIR(_stat(arguments[0]).st_mode):
                self.found["put" if writes else "get"] += 1
        elif event in ("os.listdir", "os.scandir") and self._ours(arguments[0]):
            self.found["list"] += 1
        elif event == "os.remove" and self._ours(arguments[0]):
            self.found["delete"] += 1
        elif (event == "os.symlink" and self._ours(arguments[1])) or (event == "os.utime" and self._ours(arguments[0])):
            self.found["put"] += 1


class Asked(logging.Filter):
    """Counts requests and events that go to Prefect's server, as httpx and Prefect log them."""

    def __init__(self) -> None:
        import prefect.main  # noqa: F401  (later it would reset the level of its loggers)

        super().__init__()
        self.requests: Counter[str] = Counter()
        self.events = 0
        for name in ("httpx", "prefect.events.clients"):
            logger = logging.getLogger(name)
            logger.setLevel(logging.DEBUG)
            logger.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Count a record. Only warnings are shown."""
        if record.msg.startswith("HTTP Request:"):
            method, url, *_ = record.args
            parts = [part for part in url.path.split("/") if part and len(part) < 30]
            self.requests[f"{method} {'/'.join(parts)}"] += 1
        elif "Emitting event" in record.msg:
            self.events += 1
        return record.levelno >= logging.WARNING


def measure(folder: str, stages: int, in_worker: bool) -> dict[str, Any]:
    """Seconds and requests per stage of a chain."""
    from prefect.events.worker import EventsWorker

    from flows.api import make
    from flows.load import validated
    from flows.run import RunOptions
    from flows.server import prepare_environment

    prepare_environment()
    tables = {
        f"s{number}": {"number": number, "in_worker": in_worker}
        | ({"after": [f"{KIND}.s{number - 1}"]} if number else {})
        for number in range(stages)
    }
    head = {"name": "chain", "store": f"{folder}/runs", "trackers": [], "model": {"base": {"source": "scratch"}}}
    config = validated(head | {KIND: tables}, "the chain")
    asked, counted = Asked(), Counted(Path(folder) / "runs")
    begun: dict[str, float] = {}
    ended: dict[str, float] = {}
    marks: list[tuple[Counter[str], int, int]] = []

    def note(notice: Any) -> None:
        now = time.perf_counter()
        if notice.what == "made":
            ended[notice.stage] = now
            marks.append((Counter(counted.found), asked.requests.total(), asked.events))
        begun.setdefault(notice.stage, now)

    make(config, RunOptions(), note)
    EventsWorker.drain_all(timeout=30)
    keys = list(tables)
    times = [ended[f"{KIND}.{key}"] for key in keys]
    own = 0.0
    if in_worker:
        results = [json.loads(file.read_text()) for file in Path(folder).glob(f"runs/idle/{'?' * 64}/output/*.json")]
        own = statistics.mean(result["seconds"] for result in results)
    # From the end of the first stage to the end of the last one.
    (first, requests, events), (last, requests_then, events_then) = marks[0], marks[-1]
    count = stages - 1
    return {
        "per_stage": (times[-1] - times[0]) / count,
        "own": own,
        "gaps": [round(after - before, 4) for before, after in pairwise(times)],
        "store": {name: (last[name] - first[name]) / count for name in ("get", "put", "head", "list", "delete")},
        "prefect_requests": (requests_then - requests) / count,
        "prefect_events": (events_then - events) / count,  # a thread sends them, so those of few stages may come later
        "events": asked.events,
        "asked": dict(asked.requests.most_common()),
        "whole": max(ended.values()) - min(begun.values()),
    }


if __name__ == "__main__":
    child.answer(measure)
