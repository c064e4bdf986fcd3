"""An S3-compatible server (moto's) for tests."""

import contextlib
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.ports import free_port

SERVER = """
import sys, threading
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

app, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

def atomic(environ, start_response):
    # moto looks whether an object exists, and then writes it. S3 does both in one step.
    if "HTTP_IF_NONE_MATCH" in environ:
        with lock:
            return app(environ, start_response)
    return app(environ, start_response)

run_simple("127.0.0.1", int(sys.argv[1]), atomic, threaded=True)
"""

LINE = re.compile(r'"([A-Z]+) /([^ ?]+)\??(\S*) HTTP')
"""A request in the server's log: method, path, query."""


class S3:
    """A running server."""

    def __init__(self, url: str, log: Path, process: "subprocess.Popen[bytes]") -> None:
        self.url = url
        self.log = log
        self.process = process
        self.environment = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def bucket(self) -> str:
        """Make a bucket, and return the URL of a folder in it."""
        name = f"b-{uuid.uuid4().hex[:12]}"
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/{name}", method="PUT"), timeout=30).close()
        return f"s3://{name}/store"

    def requests(self, since: int = 0) -> list[tuple[str, str]]:
        """(Method, path in the bucket) of the requests after so many bytes of the log. Listings have no path."""
        text = self.log.read_bytes()[since:].decode(errors="replace")
        found = [(method, path.partition("/")[2]) for method, path, _ in LINE.findall(text)]
        return [(method, path) for method, path in found if path]

    def mark(self) -> int:
        """Bytes of the log so far."""
        return self.log.stat().st_size

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """The server answers nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def started(folder: Path) -> Iterator[S3]:
    """A server, which is ended at the end. Its log is in `folder`."""
    port, log = free_port(), folder / "server.log"
    url = f"http://127.0.0.1:{port}"
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], stdout=file, stderr=file)
    try:
        end = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{url}/moto-api/", timeout=5).close()
                break
            except (OSError, urllib.error.URLError) as error:
                if process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"the S3 server did not start:\n{log.read_text()}") from error
                time.sleep(0.1)
        yield S3(url, log, process)
    finally:
        process.kill()
        process.wait()
