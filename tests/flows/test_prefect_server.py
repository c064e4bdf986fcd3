"""The Prefect server of a run: where it cannot be reached or started, the run fails in seconds and says why."""

import contextlib
import http.server
import os
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest

from flows import prefect_server
from flows.prefect_server import require_server, usable_home, why_unreachable
from flows.server import prepare_environment
from hpt_core.errors import ServerError
from hpt_core.loopback import NAMES

NOWHERE = "127.0.0.1:9"
"""An address that nothing listens at."""
PROXIES = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), f"http://{NOWHERE}")
SOCKS = dict.fromkeys(("ALL_PROXY", "all_proxy"), f"socks5://{NOWHERE}")
STAGES = 5
"""Stages of the pipeline in conftest.py, without publication."""


@contextlib.contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Page(http.server.BaseHTTPRequestHandler):
    """Answers every request with a page, as a web server that is not Prefect's API does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html></html>")

    def log_message(self, *_: Any) -> None:
        pass


class Silent(socketserver.BaseRequestHandler):
    """Takes requests and never answers."""

    def handle(self) -> None:
        time.sleep(30)


def test_a_server_that_is_not_prefects_is_unreachable() -> None:
    with serving(Page) as url:
        assert "JSON" in why_unreachable(f"{url}/api")


def test_a_server_that_does_not_answer_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_server, "ANSWER_S", 0.3)
    with serving(Silent) as url:
        start = time.monotonic()
        assert "ReadTimeout" in why_unreachable(f"{url}/api")
        assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("url", "said"), [(f"http://{NOWHERE}/api", "ConnectError"), ("127.0.0.1:4200/api", ""), ("http://", "")]
)
def test_an_address_without_a_server_is_unreachable(url: str, said: str) -> None:
    problem = why_unreachable(url)
    assert problem and said in problem


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, ",".join(NAMES)),
        ({"NO_PROXY": "a.example, localhost"}, "a.example,localhost,127.0.0.1,::1"),
        ({"no_proxy": "a.example"}, "a.example,localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_loopback_bypasses_proxies(monkeypatch: pytest.MonkeyPatch, before: dict[str, str], after: str) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    prepare_environment()
    prepare_environment()
    assert os.environ["NO_PROXY"] == after
    assert os.environ.get("no_proxy", after) == after


def test_a_user_without_a_home_gets_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A container may run as a user that has no entry in the user database."""

    def unknown(*_: Any) -> NoReturn:
        raise KeyError

    monkeypatch.setenv("HOME", "to be restored")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    prepare_environment()
    assert Path.home().parent == tmp_path


def test_a_usable_home_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert usable_home() == ""
    assert "PREFECT_HOME" not in os.environ
    assert [path.name for path in tmp_path.iterdir()] == [".prefect"]
    assert not list((tmp_path / ".prefect").iterdir())


@pytest.mark.parametrize("name", ["HOME", "PREFECT_HOME"])
def test_a_home_that_cannot_be_written_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PREFECT_HOME", "to be restored")
    monkeypatch.delenv("PREFECT_HOME")
    monkeypatch.setenv(name, str(tmp_path / "file" / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    warning = usable_home()
    other = Path(os.environ["PREFECT_HOME"])
    assert other.parent == tmp_path and other.is_dir()
    assert str(other) in warning and "cannot be written" in warning


def test_settings_without_any_server_are_an_error(tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings

    with (
        temporary_settings({PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False}, restore_defaults={PREFECT_API_URL}),
        pytest.raises(ServerError, match="there is no Prefect server: PREFECT_API_URL is not set"),
    ):
        require_server(tmp_path / "prefect.log")


def without_server(hpt: Any, **environment: str) -> Any:
    """The command with an environment in which each run starts its own server."""
    kept = {name: value for name, value in hpt.environment.items() if name != "PREFECT_API_URL"}
    hpt.environment = kept | {"PREFECT_HOME": str(hpt.folder / "prefect")} | environment
    return hpt


def test_a_dead_server_is_an_error_within_seconds(fresh: Any) -> None:
    fresh.environment |= {"PREFECT_API_URL": f"http://me:secret@{NOWHERE}/api"}
    start = time.monotonic()
    failed = fresh("run", "tiny.toml", code=1)
    assert time.monotonic() - start < 30
    # The address holds a password, so its variable stands for it.
    assert "error: cannot reach the Prefect server at ${PREFECT_API_URL}: ConnectError" in failed.stderr
    assert "Remedy: start it (`prefect server start`), correct PREFECT_API_URL, or unset it" in failed.stderr
    assert "Traceback" not in failed.stderr and "secret" not in failed.stderr


def test_a_run_behind_proxies_without_a_home_starts_its_own_server(fresh: Any) -> None:
    """Clusters set proxies for the outside world, and containers have homes that cannot be written."""
    without_server(fresh, **PROXIES, **SOCKS, HOME="/proc/none")
    del fresh.environment["PREFECT_HOME"]
    failed = fresh("run", "tiny.toml", "--set", "publish.0.path=/proc/none/site", code=1)
    assert failed.stderr.count(": done in ") == STAGES - 1, "of all but the model, which is reused"
    assert "warning: Prefect keeps this run's history in " in failed.stderr
    # The server ends with the run, and does not write to the terminal.
    assert failed.stderr.splitlines()[-1].startswith("error: cannot write /proc/none")
    assert "Traceback" not in failed.stderr
    assert (fresh.store / "logs" / "prefect.log").is_file()


def test_a_server_that_cannot_start_is_an_error_within_seconds(fresh: Any) -> None:
    without_server(fresh, PREFECT_SERVER_DATABASE_CONNECTION_URL="sqlite+aiosqlite:////proc/none/prefect.db")
    start = time.monotonic()
    failed = fresh("run", "tiny.toml", code=1)
    assert time.monotonic() - start < 90
    assert "error: the temporary Prefect server ended while it started: " in failed.stderr
    assert "unable to open database file" in failed.stderr
    assert f"see {fresh.store / 'logs' / 'prefect.log'}" in failed.stderr
    assert "Traceback" not in failed.stderr


def command_of(process: psutil.Process) -> list[str]:
    """The command of a process; empty if it has just ended."""
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def test_a_killed_run_takes_its_server_along(fresh: Any) -> None:
    without_server(fresh)
    process = fresh.start("run", "tiny.toml")
    end, servers = time.monotonic() + 100, list[psutil.Process]()
    while len(servers) < 2:
        assert time.monotonic() < end and process.poll() is None
        children = psutil.Process(process.pid).children(recursive=True)
        servers = [child for child in children if "flows.prefect_server" in command_of(child)]
        time.sleep(0.1)
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(servers, timeout=30)[1]


OWN = "from flows.prefect_server import _own_database; print(_own_database())"


@pytest.mark.parametrize("chosen", [False, True])
def test_a_temporary_server_has_a_database_of_its_own(fresh: Any, tmp_path: Path, chosen: bool) -> None:
    """A permanent server with the same home has prefect.db, and SQLite has one writer."""
    name = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
    without_server(fresh, **({name: "sqlite+aiosqlite:////mine.db"} if chosen else {}))
    own = {name: f"sqlite+aiosqlite:///{fresh.folder}/prefect/hpt-run.db"}
    assert fresh.python(OWN).stdout == f"{ {} if chosen else own }\n"
