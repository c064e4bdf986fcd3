"""A permanent server with its database in PostgreSQL: two workers in two pools, two pipelines at once."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from bench.scale import postgres
from tests.flows.pipelines import TINY, Hpt
from tests.ports import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.xdist_group("postgresql"),
    pytest.mark.skipif(postgres.programs() is None, reason="needs PostgreSQL: apt-get install postgresql"),
]
POOLS = ("one", "two")
DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"


@pytest.fixture
def database() -> Iterator[str]:
    with postgres.server(free_port()) as url:
        yield url


def config(hpt: Hpt, pool: str) -> None:
    """A pipeline with a store, a site and a pool of its own."""
    # A verdict must not depend on the machine's load.
    text = TINY.replace("[evaluate]", "[evaluate]\ngrade_timeout_s = 300")
    text = text.replace('name = "tiny"', f'name = "tiny-{pool}"\nstore = "runs-{pool}"', 1)
    text = text.replace("PUBLISHED", str(hpt.folder / pool)) + f'[schedule]\npool = "{pool}"\n'
    (hpt.folder / f"{pool}.toml").write_text(text)


def scores(store: Path) -> Any:
    (file,) = store.glob(f"report/{'?' * 64}/output/tables/scores.parquet")
    return pq.read_table(file)


def test_two_workers_run_two_pipelines_at_once(tmp_path: Path, database: str) -> None:
    home = tmp_path / "home"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= {"HPT_HOME": str(home), "HPT_METRICS_PORT": str(free_port()), "HPT_LOG": "json"}
    hpt = Hpt(tmp_path, environment | {"OMP_NUM_THREADS": "1", "COLUMNS": "160"})
    for pool in POOLS:
        config(hpt, pool)
    password = database.split(":")[2].partition("@")[0]
    files = [f"{pool}.toml" for pool in POOLS]
    port = str(free_port())
    try:
        hpt.environment[DATABASE] = database
        first = hpt("up", *files, "--port", port)
        assert f"created  database ${{{DATABASE}}}" in first.stdout
        del hpt.environment[DATABASE]
        assert "database" not in hpt("up", *files).stdout, "the address is stored"
        assert not list((home / "prefect").glob("*.db")), "no SQLite"

        settings = dict(line.split("=", 1) for line in (home / "environment").read_text().splitlines())
        hpt.environment |= {name: value.strip("'") for name, value in settings.items()}
        for pool in POOLS:
            hpt.prefect("deployment", "run", f"pipeline/tiny-{pool}")
        wait_until_all_are_completed(hpt, len(POOLS))
        tables = [scores(hpt.folder / f"runs-{pool}") for pool in POOLS]
        assert tables[0].num_rows
        differing = [name for name in tables[0].column_names if tables[0][name] != tables[1][name]]
        assert differing == ["source_note"], "the name of the pipeline"

        other = {DATABASE: "sqlite+aiosqlite:////tmp/other.db"}
        hpt.environment |= other
        assert "the running server uses another database" in hpt("up", code=1).stderr
        del hpt.environment[DATABASE]
        for process in psutil.process_iter(["cmdline"]):
            assert password not in " ".join(process.info["cmdline"] or ())
    finally:
        said = hpt("down").stdout
    assert said.count("stopped") == len(POOLS) + 2
    logs = {path.name: path.read_text(errors="replace") for path in home.glob("*.log")}
    assert {"server.log", "worker-of-one.log", "worker-of-two.log"} <= logs.keys()
    assert not [name for name, text in logs.items() if "database is locked" in text]
    assert (home / "database").stat().st_mode & 0o077 == 0
    holders = [path for path in tmp_path.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
    assert holders == [home / "database"]


def wait_until_all_are_completed(hpt: Hpt, count: int) -> None:
    from base64 import b64encode
    from json import dumps, load
    from urllib.request import Request, urlopen

    login = b64encode(hpt.environment["PREFECT_API_AUTH_STRING"].encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {login}"}
    until = time.monotonic() + 400
    states: list[str] = []
    while states != ["COMPLETED"] * count:
        assert time.monotonic() < until and not {"FAILED", "CRASHED"} & set(states), states
        time.sleep(1)
        request = Request(f"{hpt.environment['PREFECT_API_URL']}/flow_runs/filter", dumps({}).encode(), headers)
        with urlopen(request, timeout=60) as answer:
            states = [run["state_type"] for run in load(answer)]
