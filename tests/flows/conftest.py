"""Pipelines on several machines, and what they leave in a store."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.pipelines import Hpt


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
