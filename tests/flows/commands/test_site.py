"""`hpt site` and `hpt view` as processes, on a store that was made up."""

import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from bench.stores import MadeUp, drawn
from benchmarks.site.build import Site
from benchmarks.site.compare import PAIRED, pairs_of
from benchmarks.site.facts import short_id
from flows.view import tables_of

NOT_SERVED = (
    *("/.state.json", "/data/../.state.json", "/data/%2e%2e/.state.json"),
    *("//etc/hostname", "/%2fetc%2fhostname.json", "/../../../../../../etc/hostname.json"),
    *("/data", "/data/models/..json", "/data/responses/x/0.json", "/nothing.html"),
)


pytestmark = pytest.mark.slow  # processes with a server


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    found = MadeUp(tmp_path / "runs")
    generator = np.random.default_rng(1)
    found.run("demo", {name: {"aime24": drawn(generator, 30, 4, 0.5)} for name in ("hpt", "sft")})
    return found


def hpt(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flows.cli", *arguments]


@contextmanager
def viewed(made: MadeUp) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """`hpt view` on a free port."""
    command = hpt("view", str(made.store.root), "--port", "0")
    wide = os.environ | {"COLUMNS": "300"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=wide) as process:
        try:
            assert process.stdout
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
            assert found
            yield int(found[1]), process
        finally:
            process.send_signal(signal.SIGINT)


def answer(port: int, path: str, method: str = "GET", host: str = "") -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{port}")
    connection.endheaders()
    found = connection.getresponse()
    result = found.status, found.read(), found.headers
    connection.close()
    return result


def test_a_site_is_written_once(made: MadeUp, tmp_path: Path) -> None:
    command = hpt("site", str(made.store.root), str(tmp_path / "out"), "--json")
    first = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert "index.html" in first["written"]
    assert json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["written"] == []


def test_a_folder_of_something_else_is_left_alone(made: MadeUp, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    found = subprocess.run(hpt("site", str(made.store.root), str(tmp_path / "mine")), capture_output=True, text=True)
    left = [path.name for path in (tmp_path / "mine").iterdir()]
    assert (found.returncode, left) == (2, ["thesis.tex"])
    assert "not a site" in found.stderr


def test_view_serves_the_site_and_nothing_else(made: MadeUp) -> None:
    with viewed(made) as (port, process):
        status, body, headers = answer(port, "/")
        assert (status, b"Board" in body) == (200, True)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert answer(port, "/", "HEAD")[:2] == (200, b"")
        assert len(json.loads(answer(port, "/data/board.json")[1])["sections"][0]["lines"]) == 2
        record = tables_of(made.store).scores.column("record").to_pylist()[0]
        assert b"so the answer is 1" in answer(port, f"/data/responses/{record}/0.json")[1]
        path = json.loads(answer(port, "/data/lighteval.json")[1])[0]["paths"][0]
        status, body, headers = answer(port, f"/{path}")
        assert (status, headers["Content-Type"]) == (200, "application/vnd.apache.parquet")
        assert pq.read_table(io.BytesIO(body)).column_names == ["doc", "model_response", "metric"]
        for path in NOT_SERVED:
            assert answer(port, path)[0] == 404, path
        assert answer(port, "/", "POST")[0] == 501
        assert answer(port, "/", host="evil.example")[0] == 403, "a page of another host that resolves to this address"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_view_makes_a_comparison_that_was_not_built(made: MadeUp) -> None:
    models = {f"m{i}": {"aime24": drawn(np.random.default_rng(i), 30, 4, 0.5)} for i in range(PAIRED + 2)}
    hashes = made.run("sweep", models)
    site = Site(made.store, tables_of(made.store))
    ids = sorted(short_id(hash_) for hash_ in hashes.values())
    pairs = {(first, second) for first in ids for second in ids}
    missing = {(first, second) for first, second in pairs if first < second} - set(pairs_of(site.board, {"lines": []}))
    assert missing
    with viewed(made) as (port, _):
        for first, second in missing:
            assert answer(port, f"/data/compare/{first}-{second}.json")[0] == 200
            assert answer(port, f"/data/compare/{second}-{first}.json")[0] == 404


def test_a_store_that_cannot_be_written_is_shown(made: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tables_of(made.store)

    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("flows.view.fill", refuse)  # root may write everywhere, so permissions cannot be taken
    assert tables_of(made.store).scores == before.scores
