"""Pipelines on S3, run by one machine after another. A machine is a folder with a cache of its own."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from hpt_core.artifacts.remote import Remote
from tests.measured import MEASURED
from tests.s3 import S3

# A lease expires after a minute, and a machine that is shared may be slow.
pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.xdist_group("s3"), pytest.mark.timeout(1500)]

PACED = '''
"""The mean over tokens. While a file `slow` is beside this one, a step takes two seconds, on every machine."""

import time
from pathlib import Path

from hpt_core.upge.aggregation.token_mean import TokenMean


class Paced(TokenMean):
    def weights(self, rows):
        if Path(__file__).with_name("slow").exists():
            time.sleep(2)
        return super().weights(rows)
'''


def test_a_pipeline_is_reused_by_another_machine_without_fetching_outputs(s3: S3, machine: Any, finished: Any) -> None:
    url = s3.bucket()
    one, two = machine("one", s3.environment), machine("two", s3.environment)
    two.published = one.published
    two.write(finished.config.read_text().replace(str(finished.published), str(one.published)))
    done = one("run", "tiny.toml", "--store", url)
    assert done.stdout.startswith("# HPT leaderboard")
    mark = s3.mark()
    again = two("run", "tiny.toml", "--store", url)
    assert again.stdout.splitlines()[:5] == done.stdout.splitlines()[:5]
    fetched = {p for method, p in s3.requests(mark) if method == "GET" and "/output/" in p}
    assert {path.rsplit("/output/")[1] for path in fetched} == {
        "leaderboard.md", "tables/scores.parquet", "receipt.json",
    }  # fmt: skip
    assert not [p for method, p in s3.requests(mark) if method == "PUT" and "/output/" in p]
    # What it reads is fetched, and equal to that of a run on a local store.
    script = "import sys, hpt_core as hpt; print(hpt.open_run(sys.argv[1]).scores().to_pylist())"
    assert two.python(script, url).stdout == finished.python(script, str(finished.store)).stdout
    look_after(two, url)


def look_after(hpt: Any, url: str) -> None:
    """The commands on a store."""
    runs = json.loads(hpt("runs", "--store", url, "--json").stdout)
    assert [run["outcome"] for run in runs] == ["done", "done"]
    held = json.loads(hpt("store", "--store", url, "--json").stdout)
    assert (held["store"], held["kinds"]["samples"]["finished"]) == (url, 2)
    assert "0 artifacts are damaged" in hpt("verify", "--store", url).stdout
    status = json.loads(hpt("status", "tiny.toml", "--store", url, "--json").stdout)
    assert {row["state"] for row in status} == {"done"}
    assert "hpt_core.evaluation" in hpt("logs", "evaluate.base", "--store", url).stdout
    hpt("pin", "model.base", "--store", url)
    hpt("export", "model.base", "exported", "--store", url)
    assert (hpt.folder / "exported" / "model.safetensors").is_file()
    hpt("rerun", "tiny.toml", "--only", "report", "--store", url)
    freed = json.loads(hpt("gc", "--store", url, "--pipeline", "tiny", "--keep-runs", "0", "--delete", "--json").stdout)
    assert freed["freed_bytes"] > 0
    left = {name.split("/")[0] for name in Remote(url).list()}
    assert left == {"model", "pins", "by-name", "by-pipeline"}


@pytest.mark.kills
def test_a_killed_training_is_resumed_by_another_machine_from_its_checkpoint(s3: S3, machine: Any) -> None:
    url = s3.bucket()
    one, two, undisturbed = (machine(name, s3.environment) for name in ("one", "two", "undisturbed"))
    for hpt in (one, two, undisturbed):
        hpt.train_too()
        paced = 'algorithm = { name = "sft", sft = { aggregation = "paced:Paced" } }'
        text = hpt.config.read_text().replace('algorithm = "sft"', paced).replace("steps = 150", "steps = 40")
        hpt.config.write_text(text)
        (hpt.folder / "paced.py").write_text(PACED)
    (one.folder / "slow").touch()
    with ended(one.start("train", "tiny.toml", "--store", url)) as process:
        until("a checkpoint is in the store", lambda: saved(url), process)
        os.kill(process.pid, signal.SIGKILL)
    # The machine is gone, with its folder.
    done = two("train", "tiny.toml", "--store", url)
    (log,) = two.folder.glob("cache/stores/*/train/*/log.txt")
    assert "resuming after step" in log.read_text()
    assert "taking over the lease of process" in done.stderr
    expected = undisturbed("train", "tiny.toml")
    assert expected.returncode == 0
    assert tables(two.folder / "cache" / "stores") == tables(undisturbed.store)
    names = Remote(url).list()
    assert not [name for name in names if "/work/" in name]
    assert not [name for name in names if name.startswith("leases/") and "run-" not in name]


def saved(url: str) -> bool:
    names = Remote(url).list("train")
    pointer, marker = (any(name.endswith(end) for name in names) for end in ("/work/current.json", "/state.json"))
    return pointer and marker


def tables(store: Path) -> dict[str, Any]:
    """The training log without times, and the hashes of the model's files."""
    (folder,) = [path.parent for path in store.rglob("log.parquet") if path.parent.name == "output"]
    table = pq.read_table(folder / "log.parquet")
    columns = [name for name in table.column_names if name not in MEASURED]
    model = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (folder / "model").iterdir()}
    return {"log": repr(table.select(columns).to_pylist()), "model": model}


def test_a_store_that_is_away_for_half_a_minute_fails_no_run(s3: S3, machine: Any) -> None:
    url = s3.bucket()
    hpt = machine("one", s3.environment)
    with ended(hpt.start("run", "tiny.toml", "--store", url)) as process:
        until("a stage has begun", lambda: Remote(url).list("leases"), process)
        with s3.away():
            time.sleep(35)
            assert process.poll() is None
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, f"{out}\n{err}"


@contextlib.contextmanager
def ended(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(what: str, condition: Callable[[], Any], process: "subprocess.Popen[str]", seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        assert process.poll() is None, process.communicate()
        time.sleep(0.5)
