"""Fixtures shared by the whole suite."""

import gc
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import settings

from tests import shared
from tests.s3 import S3, started
from tests.server import Server
from tests.warm import COMMANDS, HPT, Warm

if TYPE_CHECKING:
    from tests.flows.pipelines import Hpt

# A crowded machine may stop a test for longer than any deadline; the time of a whole test is limited in pyproject.toml.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")

# A console made while this is set keeps the width, so nothing above may import flows. The processes of a parallel run
# set it.
os.environ.pop("COLUMNS", None)

# Where the suite itself was started in the background of a script, SIGINT is ignored, and so it would be in every
# process that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
SHARED = {
    "prefect_environment": "server",
    "shared_engine": "engine",
    "own_server": "engine",
    "warm": "trained",
    "stored_model": "stored",
    "resolutions": "resolutions",
    "ray_cluster": "ray",
    "s3": "s3",
}
"""Fixtures of a session or a module that take seconds to make -> the group of the tests that use them, which one
process runs. A test with several fixtures must get one group from all. A module may name its own group, so that several
processes share the work."""
SLOW = {"prefect_environment", "private_server", "shared_engine", "warm", "chromium"}
"""Fixtures whose tests are slow: `make test-fast` starts no server, engine or browser."""


def pytest_configure(config: pytest.Config) -> None:
    """Make what the processes of a parallel run share."""
    if not hasattr(config, "workerinput"):
        shared.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End it."""
    if not hasattr(config, "workerinput"):
        shared.end()


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests and let them start first, groups before single ones, so that no process ends with a long one
    while the others have nothing left. Keep tests with one server, engine or trained model together if several
    processes run the suite."""
    for item in items:
        if SLOW.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
        for fixture, group in SHARED.items():
            if fixture in getattr(item, "fixturenames", ()) and not item.get_closest_marker("xdist_group"):
                if group == "server" and item.path.parent == ROOT / "tests" / "flows":
                    group = "server-flows"  # a process of its own: otherwise these tests take as long as all others
                item.add_marker(pytest.mark.xdist_group(group))
    marks = ("slow", "xdist_group")
    items.sort(key=lambda item: [item.get_closest_marker(mark) is None for mark in marks])


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of garbage collections, and collect less often: a tenth of the time of tests
    that start no process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def shared_data_folder() -> Path | None:
    """Local copies of the benchmarks and the demonstrations, or None where there are none."""
    folder = Path(os.environ.get("HPT_DATA") or ROOT.parent / "shared" / "data")
    return folder if (folder / "benchmarks").is_dir() else None


def missing(variable: str, reason: str) -> NoReturn:
    """Skip for `reason`; fail instead where the environment variable says that what is missing must be there."""
    if os.environ.get(variable):
        pytest.fail(f"{variable} is set, but the test {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium; skips where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        missing("HPT_REQUIRE_BROWSER", "needs Chromium: apt-get install chromium")
    return found


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with benchmarks/*.json and train/gsm8k_demos.parquet; skips where it is missing."""
    folder = shared_data_folder()
    if folder is None:
        missing("HPT_REQUIRE_DATA", "needs local benchmark data: set HPT_DATA to a folder with benchmarks/ and train/")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folder of a Qwen2 with random weights, byte tokens, a chat template and 256 positions. Read-only."""
    from hpt_core.models.scratch import ScratchModel

    folder = tmp_path_factory.mktemp("models") / "tiny"
    ScratchModel(layers=2, hidden_size=64, intermediate_size=128, heads=2, initializer_range=0.1).materialize(
        folder, lambda done, total, text: None
    )
    return folder


@pytest.fixture(scope="session")
def prefect_environment() -> Iterator[dict[str, str]]:
    """Environment of a process that talks to the run's Prefect server, on the loopback address."""
    from flows.server import QUIET

    environment = shared.server_environment()
    with Warm(HPT, environment | QUIET) as commands:
        COMMANDS.append((environment, commands))
        yield environment
        COMMANDS.pop()


@pytest.fixture(scope="session")
def finished(prefect_environment: dict[str, str]) -> "Hpt":
    """A pipeline that was run to its end, with what the run wrote in `run.out` and `run.err`. Not to be changed."""

    from tests.flows.pipelines import Hpt

    def run(folder: Path) -> str:
        hpt = Hpt(folder, prefect_environment)
        done = hpt("run", "tiny.toml")
        (folder / "run.out").write_text(done.stdout)
        (folder / "run.err").write_text(done.stderr)
        return str(folder)

    return Hpt(Path(shared.once("finished", run)), prefect_environment)


@pytest.fixture
def again(finished: "Hpt", prefect_environment: dict[str, str], tmp_path: Path) -> "Hpt":
    """A copy of the finished pipeline's store, published nowhere yet, to change."""
    hpt = type(finished)(tmp_path, prefect_environment)
    shutil.copytree(finished.store, hpt.store, symlinks=True)
    return hpt


@pytest.fixture
def empty(prefect_environment: dict[str, str], tmp_path: Path) -> "Hpt":
    """A pipeline of which nothing is made."""
    from tests.flows.pipelines import Hpt

    return Hpt(tmp_path, prefect_environment)


@pytest.fixture
def fresh(finished: "Hpt", empty: "Hpt") -> "Hpt":
    """A pipeline of which nothing is made but the base model, which takes a process that imports transformers."""
    copy_base(finished, empty.store)
    return empty


def copy_base(finished: "Hpt", store: Path) -> None:
    """Give a store the base model of the finished pipeline, which a pipeline with the same source of a model reuses."""
    shutil.copytree(finished.store / "model", store / "model", symlinks=True)


@pytest.fixture(scope="module")
def private_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prefect server that a test may stop or strain."""
    server = Server(tmp_path_factory.mktemp("prefect"))
    shared.copy_database(server.folder / "prefect.db")
    try:
        server.start()
        yield server
    finally:
        server.end()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3-compatible server of this session, in a process of its own."""
    with started(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3:
    """The server, in this process's environment, with a cache folder of the test's own."""
    for name, value in {**s3_server.environment, "HPT_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    return s3_server
