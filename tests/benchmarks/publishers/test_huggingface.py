"""Uploads to a small server with the Hub's endpoints; the tests check the requests that it receives."""

import base64
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.publishers.huggingface import HuggingFace
from hpt_core.errors import PublishError

Make = Callable[[str], Path]
TOKEN = "hf_secretsecretsecret"


class Hub(ThreadingHTTPServer):
    """One repository whose commits are kept; every request is recorded."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str, str, Any]] = []
        self.files: dict[str, bytes] = {"site/old.js": b"old"}
        self.commits = 0
        self.forbid = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def uploading(self, path: str) -> dict[str, Any]:
        """How a file is to be uploaded; the oid of what is there lets the client leave out what did not change."""
        found: dict[str, Any] = {"path": path, "uploadMode": "regular", "shouldIgnore": False}
        if path in self.files:
            blob = b"blob %d\0" % len(self.files[path]) + self.files[path]
            found["oid"] = hashlib.sha1(blob).hexdigest()
        return found

    def commit(self, lines: list[dict[str, Any]]) -> None:
        self.commits += 1
        for line in lines:
            if line["key"] == "file":
                self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del self.files[line["value"]["path"]]


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def answer(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
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
        elif "/tree/" in path:
            entries = [{"type": "file", "path": p, "size": len(c), "oid": "0" * 40} for p, c in hub.files.items()]
            self.answer(entries)
        elif "/preupload/" in path:
            self.answer({"files": [hub.uploading(f["path"]) for f in lines[0]["files"]]})
        elif "/commit/" in path:
            hub.commit(lines)
            oid = f"{hub.commits:040d}"
            self.answer({"success": True, "commitOid": oid, "commitUrl": f"{hub.url}/spaces/lab/board/commit/{oid}"})
        else:
            siblings = [{"rfilename": p} for p in hub.files]
            self.answer({"id": "lab/board", "sha": f"{hub.commits:040d}", "siblings": siblings, "private": True})

    do_GET = do_POST = handle_request

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


@pytest.mark.parametrize("kind", ["space", "dataset"])
def test_one_commit_uploads_everything(
    make_report: Make, hub: Hub, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(logging.DEBUG)
    config = HuggingFace(repo="lab/board", kind=kind, endpoint=hub.url, token_env="HPT_TEST_TOKEN")
    receipt = config.publish(make_report("a"))
    assert receipt.changed
    assert receipt.target == f"{hub.url}/{kind}s/lab/board"
    assert hub.commits == 1
    assert sorted(hub.files) == sorted([*receipt.files, "README.md"])
    assert hub.files["site/index.html"] == b"site/index.html a"
    readme = hub.files["README.md"].decode()
    assert readme.endswith("leaderboard.md a")
    assert ("sdk: static" in readme) == (kind == "space")
    created = next(lines[0] for _, path, _, lines in hub.requests if path == "/api/repos/create")
    assert created["visibility"] == "private"
    assert created.get("type") == kind
    assert {auth for _, _, auth, _ in hub.requests if auth} == {f"Bearer {TOKEN}"}
    assert TOKEN not in caplog.text
    assert TOKEN not in receipt.model_dump_json()


def test_publishing_the_same_report_again_makes_no_commit(make_report: Make, hub: Hub) -> None:
    config, report = HuggingFace(repo="lab/board", endpoint=hub.url, token_env="HPT_TEST_TOKEN"), make_report("a")
    first = config.publish(report)
    second = config.publish(report)
    assert hub.commits == 1
    assert not second.changed
    assert second.sha256 == first.sha256


def test_an_error_does_not_show_the_token(make_report: Make, hub: Hub) -> None:
    hub.forbid = True
    with pytest.raises(PublishError) as caught:
        HuggingFace(repo="lab/board", endpoint=hub.url, token_env="HPT_TEST_TOKEN").publish(make_report("a"))
    assert "403" in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert caught.value.__suppress_context__
    assert hub.commits == 0


def test_a_missing_token_names_its_variable(make_report: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPT_NO_TOKEN", raising=False)
    with pytest.raises(PublishError, match="HPT_NO_TOKEN"):
        HuggingFace(repo="lab/board", token_env="HPT_NO_TOKEN").publish(make_report("a"))
