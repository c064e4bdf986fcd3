"""A real Prefect server for the session, the `hpt` command as a process, and a pipeline that takes seconds."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.pipelines import Hpt
from tests.shared import once


@pytest.fixture(scope="session")
def finished(prefect_environment: dict[str, str]) -> Hpt:
    """A pipeline that was run to its end, with what the run wrote in `run.out` and `run.err`. Not to be changed."""

    def run(folder: Path) -> str:
        hpt = Hpt(folder, prefect_environment)
        done = hpt("run", "tiny.toml")
        (folder / "run.out").write_text(done.stdout)
        (folder / "run.err").write_text(done.stderr)
        return str(folder)

    return Hpt(Path(once("finished", run)), prefect_environment)


@pytest.fixture
def again(finished: Hpt, prefect_environment: dict[str, str], tmp_path: Path) -> Hpt:
    """A copy of the finished pipeline's store, published nowhere yet, to change."""
    hpt = Hpt(tmp_path, prefect_environment)
    shutil.copytree(finished.store, hpt.store, symlinks=True)
    return hpt


@pytest.fixture
def empty(prefect_environment: dict[str, str], tmp_path: Path) -> Hpt:
    """A pipeline of which nothing is made."""
    return Hpt(tmp_path, prefect_environment)


@pytest.fixture
def fresh(finished: Hpt, empty: Hpt) -> Hpt:
    """A pipeline of which nothing is made but the base model, which takes a process that imports transformers."""
    shutil.copytree(finished.store / "model", empty.store / "model", symlinks=True)
    return empty


@pytest.fixture
def machine(prefect_environment: dict[str, str], tmp_path: Path) -> Callable[[str, dict[str, str]], Hpt]:
    """Makes a pipeline in a folder of this name, with a cache of its own and more variables of the environment."""

    def make(name: str, environment: dict[str, str]) -> Hpt:
        (tmp_path / name).mkdir()
        return Hpt(tmp_path / name, prefect_environment | environment)

    return make


@pytest.fixture
def outputs() -> Callable[[Path, str], list[Path]]:
    """Folders of the outputs of a kind that exist in a store."""

    def find(store: Path, kind: str) -> list[Path]:
        return sorted(file.parent for file in (store / kind).glob("*/manifest.json"))

    return find
