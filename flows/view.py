"""Serves the site of a store on the loopback address, and builds it again when the store changes."""

import logging
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from benchmarks.catalog.records import Records
from benchmarks.catalog.tables import Tables, read
from benchmarks.site.build import POLICY, Site
from hpt_core.artifacts import Store
from hpt_core.errors import HPTError, StoreError, explain
from tasks.execution.catalog import fill

LOG = logging.getLogger("hpt.view")
HOST = "127.0.0.1"
EVERY_S = 2.0
"""Seconds between two looks at the store."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".gz": "application/gzip",
    ".parquet": "application/vnd.apache.parquet",
}
"""Only files with these endings are served."""


def tables_of(store: Store) -> Tables:
    """The catalog's tables, brought up to date; those that are stored if the store cannot be written.

    Raises StoreError if it cannot be written and has none.
    """
    try:
        return fill(store)
    except OSError as error:
        stored = read(Records(store.root))
        if stored is None:
            raise StoreError(f"cannot write the catalog of {store.root}: {error}", "make it writable once") from error
        LOG.warning("the catalog cannot be written (%s); it is shown as it is stored", error)
        return stored


class View:
    """The site of a store in a folder, kept up to date until `close`."""

    def __init__(self, store: Store, folder: Path, port: int = 0) -> None:
        """Build the site, and listen on a port; 0 takes a free one. Raises StoreError and OSError."""
        self._store = store
        self._folder = folder
        self._seen = self._state()
        self.site = Site(store, tables_of(store))
        self.site.build(folder, live=True)
        self._server = _Server((HOST, port), _Handler, self)
        self._closed = threading.Event()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self._server.server_port}/"

    def serve(self) -> None:
        """Answer requests until `close` is called from another thread, or the process is interrupted."""
        watcher = threading.Thread(target=self._watch, name="hpt-view", daemon=True)
        watcher.start()
        try:
            self._server.serve_forever()
        finally:
            self._closed.set()
            self._server.server_close()
            watcher.join()

    def close(self) -> None:
        """Stop `serve`."""
        self._server.shutdown()

    def content(self, path: str) -> bytes | None:
        """What a path of the site holds; None if there is nothing. Raises StoreError and OSError."""
        parts = PurePosixPath(path).parts
        if any(part.startswith(".") or "\\" in part or "\0" in part for part in parts):
            return None
        file = self._folder.joinpath(*parts)
        return file.read_bytes() if file.is_file() else self.site.on_demand(path)

    def _watch(self) -> None:
        while not self._closed.wait(EVERY_S):
            state = self._state()
            if state == self._seen:
                continue
            try:
                site = Site(self._store, tables_of(self._store))
                site.build(self._folder, live=True)
            except (HPTError, OSError) as error:
                LOG.warning("the site is not up to date: %s", explain(error))
            else:
                self.site = site
            self._seen = state

    def _state(self) -> tuple[object, ...]:
        """Changes with every finished artifact and every run."""
        records = Records(self._store.root).times()
        history = self._store.history.folder
        times = (path.stat().st_mtime_ns for path in [history, *history.glob("*")] if path.exists())
        return len(records), max(records.values(), default=0.0), max(times, default=0)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], view: View) -> None:
        super().__init__(address, handler)
        self.view = view


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        # Another host name could be one of a web page that makes the browser read this server for it.
        own = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        if self.headers.get("Host") not in own:
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"unknown host\n", with_body)
            return
        path = unquote(urlsplit(self.path).path).lstrip("/") or "index.html"
        kind = TYPES.get(PurePosixPath(path).suffix)
        try:
            content = self.server.view.content(path) if kind else None
        except (HPTError, OSError) as error:
            LOG.warning("%s: %s", path, explain(error))
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", f"{explain(error)}\n".encode(), with_body)
            return
        if content is None or kind is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"not found\n", with_body)
        else:
            self._send(HTTPStatus.OK, kind, content, with_body)

    def _send(self, status: HTTPStatus, kind: str, content: bytes, with_body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Content-Security-Policy", f"{POLICY}; frame-ancestors 'none'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        LOG.debug(format, *args)
