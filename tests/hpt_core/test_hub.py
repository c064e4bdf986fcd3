"""Hub models and datasets, against a server on this machine that speaks the Hub's protocol."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Repositories by "models/owner/name" and "datasets/owner/name", each a dict of path to content."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.asked.append(self.path)
                status, headers, body = hub.answer(self.path.split("?")[0].strip("/"))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        parts = path.split("/")
        if parts[0] == "api":
            key, what = "/".join(parts[1:4]), parts[4]
        else:
            parts = parts if parts[0] == "datasets" else ["models", *parts]
            key, what = "/".join(parts[:3]), parts[3]
        if key not in self.repositories:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        files = self.repositories[key]
        if what == "revision":
            if parts[5] not in ("main", COMMIT):
                return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
            siblings = [{"rfilename": name} for name in files]
            body = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": siblings, "tags": []}
            return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()
        if what == "refs":
            refs = {"main": COMMIT, **self.branches}
            branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": c} for n, c in refs.items()]
            tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": c} for n, c in self.tags.items()]
            body = {"branches": branches, "tags": tags, "converts": []}
            return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()
        if what == "tree":
            listing = [
                {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for n, c in files.items()
            ]
            return 200, {"Content-Type": "application/json"}, json.dumps(listing).encode()
        content = files["/".join(parts[5:])]
        return 200, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}, content


@pytest.fixture
def hub() -> Iterator[Hub]:
    found = Hub()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def run(code_or_module: list[str], endpoint: str, cache: Path) -> "subprocess.CompletedProcess[str]":
    env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and k != "HF_HUB_OFFLINE"}
    env |= {"HF_ENDPOINT": endpoint, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
    env |= {"HPT_CACHE": str(cache / "hpt")}
    return subprocess.run([sys.executable, *code_or_module], capture_output=True, text=True, env=env)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def model_spec(path: Path, output: Path, **source: Any) -> str:
    spec = {"config": {"source": {"name": "hub", "repo": "owner/tiny", **source}}, "output": str(output)}
    path.write_text(json.dumps(spec))
    return str(path)


@pytest.mark.slow
def test_a_hub_model_is_downloaded_once_and_known_by_its_commit(hub: Hub, tiny_model: Path, tmp_path: Path) -> None:
    hub.repositories["models/owner/tiny"] = {**files_of(tiny_model), "README.md": b"x", "flax_model.msgpack": b"x"}
    spec = model_spec(tmp_path / "spec.json", tmp_path / "first")
    done = run(["-m", "hpt_core.models.materialize", spec], hub.endpoint, tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "first" / "model.json").read_text())
    assert facts["origin"] == {"repo": "owner/tiny", "commit": COMMIT}
    made = tmp_path / "first" / "model"
    assert files_of(made) == {**files_of(tiny_model), "README.md": b"x"}
    assert not any("msgpack" in path for path in hub.asked)
    assert '"unit": "files"' in done.stdout

    # Without the Hub, the cache gives the same model with the same identity.
    spec = model_spec(tmp_path / "spec.json", tmp_path / "second")
    done = run(["-m", "hpt_core.models.materialize", spec], "http://127.0.0.1:9", tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "second" / "model.json").read_text()) == facts


@pytest.mark.slow
def test_hub_failures_are_one_line_errors(hub: Hub, tiny_model: Path, tmp_path: Path) -> None:
    hub.repositories["models/owner/tiny"] = {k: v for k, v in files_of(tiny_model).items() if "tokenizer" not in k}

    def error(endpoint: str, **source: Any) -> str:
        spec = model_spec(tmp_path / "spec.json", tmp_path / "out", **source)
        done = run(["-m", "hpt_core.models.materialize", spec], endpoint, tmp_path / "cache")
        assert done.returncode == 2, done.stderr
        assert not (tmp_path / "out" / "model").exists()
        event = json.loads(done.stdout.splitlines()[-1])
        assert event["type"] == "ModelError"
        assert "\n" not in event["cause"]
        return f"{event['cause']} | {event['remedy']}"

    assert "the Hub has no model owner/other" in error(hub.endpoint, repo="owner/other")
    assert "owner/tiny has no revision 'v2'" in error(hub.endpoint, revision="v2")
    assert "tokenizer.json is missing" in error(hub.endpoint)
    told = error("http://127.0.0.1:9", repo="owner/unseen", local="unseen")
    assert "cannot download owner/unseen at main" in told
    assert "put the model into models/unseen" in told


_READ = """
import json, sys
from hpt_core.data.sources.base import SourceConfig
config = SourceConfig.from_value(sys.argv[1])
rows = list(config.read(None))
print(json.dumps({"rows": rows, "count": config.count(None), "needs": config.needs(None)}))
"""


@pytest.mark.slow
def test_gsm8k_and_openr1_are_read_from_the_hub(hub: Hub, tmp_path: Path) -> None:
    asked = pa.table({"question": ["How many?"], "answer": ["2*3=<<2*3=6>>6 each.\n#### 1,006"]})
    pq.write_table(asked, tmp_path / "asked.parquet")
    row = {
        "prompt": [{"role": "system", "content": "Think."}, {"role": "user", "content": "What?"}],
        "target": [{"role": "assistant", "content": "<think>\nhm</think> \\boxed{1}"}],
        "reward_model": {"style": "rule", "ground_truth": "1"},
    }
    pq.write_table(pa.Table.from_pylist([row, row]), tmp_path / "row.parquet")
    content = {name: (tmp_path / f"{name}.parquet").read_bytes() for name in ("asked", "row")}
    hub.repositories["datasets/openai/gsm8k"] = {
        "main/train-00000-of-00001.parquet": content["asked"],
        "main/test-00000-of-00001.parquet": content["row"],
        "socratic/train-00000-of-00001.parquet": content["row"],
    }
    hub.repositories["datasets/Elliott/Openr1-Math-46k-8192"] = {"data/train-00000-of-00001.parquet": content["row"]}

    done = run(["-c", _READ, "gsm8k"], hub.endpoint, tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["count"] == 1
    assert found["needs"] == "network: openai/gsm8k from the Hub"
    [[where, _, question, gold, kind, demonstration, _]] = found["rows"]
    assert where.endswith("main/train-00000-of-00001.parquet row 1")
    assert (question, gold, kind) == ("How many?", "1006", "math")
    assert demonstration == "2*3=6 each.\nThe answer is \\boxed{1006}."

    done = run(["-c", _READ, "openr1"], hub.endpoint, tmp_path / "cache")
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["count"] == 2
    assert found["rows"][0][2:6] == ["What?", "1", "math", "<think>\nhm</think> \\boxed{1}"]

    done = run(["-c", _READ, "gsm8k"], "http://127.0.0.1:9", tmp_path / "empty")
    assert "DataError: cannot download openai/gsm8k at main" in done.stderr.splitlines()[-1]
    assert "put the rows into train/gsm8k_demos.parquet of data_dir" in done.stderr.splitlines()[-1]


CHECKPOINTS = """
name = "watched"
[model.checkpoint]
source = { name = "hub", repo = "owner/tiny" }
grid.source.revision = { hub = "owner/tiny", glob = "GLOB" }
"""
_SHOW = """
import json, sys
from pathlib import Path
from flows.load import load_config
config = load_config(Path(sys.argv[1]))
print(json.dumps({name: model.source.revision for name, model in config.model.items()}))
"""


@pytest.mark.slow
def test_each_branch_and_tag_is_a_model_at_its_commit(hub: Hub, tmp_path: Path) -> None:
    hub.repositories["models/owner/tiny"] = {}
    hub.branches, hub.tags = {"step-100": "b" * 40, "other": "d" * 40}, {"step-90": "a" * 40}
    config = tmp_path / "watched.toml"

    def look(endpoint: str, glob: str) -> "subprocess.CompletedProcess[str]":
        config.write_text(CHECKPOINTS.replace("GLOB", glob))
        return run(["-c", _SHOW, str(config)], endpoint, tmp_path / "cache")

    done = look(hub.endpoint, "step-*")
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout).items()) == [
        ("checkpoint_step-90", "a" * 40),
        ("checkpoint_step-100", "b" * 40),
    ]
    assert json.loads(look(hub.endpoint, "main").stdout) == {"checkpoint_main": COMMIT}
    assert "no branch or tag of owner/tiny matches v*" in look(hub.endpoint, "v*").stderr
    away = run(["-m", "flows.cli", "watch", str(config), "--once"], "http://127.0.0.1:9", tmp_path / "cache")
    assert away.returncode == 0, away.stderr
    assert "cannot list the branches of owner/tiny" in away.stderr.replace("\n", " ")
