"""A small server with the Hub's endpoints, which keeps one repository and every request."""

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

TOKEN = "hf_secretsecretsecret"


class Hub(ThreadingHTTPServer):
    """One repository. A commit whose parent is not the latest commit is refused, as by the Hub."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str, str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.commits = 0
        self.forbid = False
        self.before_commit: Callable[[], None] = lambda: None
        """Called once, when the next commit arrives."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def latest(self) -> str:
        return f"{self.commits:040d}"

    def uploading(self, path: str) -> dict[str, Any]:
        """How a file is to be uploaded; the oid of what is there lets the client leave out what did not change."""
        found: dict[str, Any] = {"path": path, "uploadMode": "regular", "shouldIgnore": False}
        if path in self.files:
            found["oid"] = oid(self.files[path])
        return found

    def commit(self, lines: list[dict[str, Any]]) -> bool:
        interfere, self.before_commit = self.before_commit, lambda: None
        interfere()
        (header,) = (line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit") not in (None, self.latest):
            return False
        self.commits += 1
        for line in lines:
            if line["key"] == "file":
                self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del self.files[line["value"]["path"]]
        return True


def oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def answer(self, value: Any, status: int = 200, **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, header in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), header)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        lines = [json.loads(line) for line in body.splitlines()] if body else []
        hub = self.server
        hub.requests.append((self.command, self.path, self.headers.get("Authorization", ""), lines))
        path = self.path.split("?")[0]
        if hub.forbid:
            self.answer({"error": f"token {TOKEN} has no write access"}, 403)
        elif path == "/api/repos/create":
            self.answer({"url": f"{hub.url}/spaces/lab/board", "name": "lab/board"})
        elif path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            self.answer({"files": [hub.uploading(f["path"]) for f in lines[0]["files"]]})
        elif "/commit/" in path:
            if hub.commit(lines):
                url = f"{hub.url}/spaces/lab/board/commit/{hub.latest}"
                self.answer({"success": True, "commitOid": hub.latest, "commitUrl": url})
            else:
                self.answer({"error": "A commit has happened since"}, 412)
        elif "/resolve/" in path:
            name = path.partition("/resolve/")[2].partition("/")[2]
            etag = f'"{oid(hub.files[name])}"'
            self.answer(hub.files[name], ETag=etag, X_Repo_Commit=path.partition("/resolve/")[2].partition("/")[0])
        else:
            siblings = [{"rfilename": p} for p in hub.files]
            self.answer({"id": "lab/board", "sha": hub.latest, "siblings": siblings, "private": True})

    do_GET = do_POST = do_HEAD = handle_request

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HPT_TEST_TOKEN", TOKEN)
    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
