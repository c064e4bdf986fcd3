"""Publishes as often as it is asked to, each time in a process of its own, which ends itself with SIGKILL on the way.

Arguments: the publisher's config as JSON. Each line of standard input is a JSON list: a report's folder, and before
which write to kill the process (0 for never). The answer is a line: the writes that were begun, or "killed".
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from benchmarks.publishers.base import Occasion, PublisherConfig

WRITES = ("open", "os.rename", "os.remove", "os.mkdir")
"""Audited calls that change a folder, or lead to it."""
begun = 0
last = 0


def count() -> None:
    global begun
    begun += 1
    if begun == last:
        os.kill(os.getpid(), signal.SIGKILL)


def watch_folder(path: str) -> None:
    """Count what changes files below a folder."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        is_write = event in WRITES and (event != "open" or "w" in str(arguments[1]))
        if is_write and str(arguments[0]).startswith(path):
            count()

    sys.addaudithook(hook)


def watch_s3() -> None:
    """Count the requests of s3fs that write, before they are sent."""
    import s3fs

    call = s3fs.S3FileSystem._call_s3

    async def counted(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
        if method.startswith(("put", "delete", "create", "upload", "complete")):
            count()
        return await call(self, method, *arguments, **options)

    s3fs.S3FileSystem._call_s3 = counted


def answer(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    global last
    config: Any = PublisherConfig.from_value(json.loads(sys.argv[1]))
    if "path" in type(config).model_fields:
        watch_folder(str(config.path))
    else:
        watch_s3()
    for line in sys.stdin:
        report, last = json.loads(line)
        if pid := os.fork():
            _, status = os.waitpid(pid, 0)
            if os.WIFSIGNALED(status):
                answer("killed")
            elif status:
                sys.exit(1)
        else:
            config.publish(Path(report), Occasion(site=Path(report) / "all"))
            answer(str(begun))
            os._exit(0)


if __name__ == "__main__":
    main()
