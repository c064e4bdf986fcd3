"""The site over all runs, published beside the reports, on every kind of target."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.publishers._layout import SITES
from benchmarks.publishers.base import Occasion, PublisherConfig
from benchmarks.publishers.static_site import StaticSite
from tests.benchmarks.publishers.hub import Hub
from tests.benchmarks.publishers.reader import shown, site_folder

Make = Callable[[str], Path]


class Target:
    """A publisher, and its files."""

    def __init__(self, config: Any, read: Callable[[str], bytes], names: Callable[[], set[str]]) -> None:
        self.config: PublisherConfig = PublisherConfig.from_value(config)
        self.read = read
        self.names = names

    def site(self) -> str:
        return self.read(f"{site_folder(self.read)}/index.html").decode()


def folder_target(root: Path) -> Target:
    def names() -> set[str]:
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}

    return Target({"name": "static_site", "path": str(root)}, lambda name: (root / name).read_bytes(), names)


@pytest.fixture(params=["folder", "git", "hub"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    if request.param == "folder":
        return folder_target(tmp_path / "public")
    if request.param == "hub":
        hub: Hub = request.getfixturevalue("hub")
        config = {"name": "huggingface", "repo": "lab/board", "endpoint": hub.url, "token_env": "HPT_TEST_TOKEN"}
        return Target(config, hub.files.__getitem__, lambda: set(hub.files))
    remote = tmp_path / "board.git"

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", *arguments], cwd=remote, capture_output=True, check=True).stdout

    remote.mkdir()
    git("init", "--quiet", "--bare", ".")
    config = {"name": "git_branch", "remote": str(remote), "folder": "public"}
    return Target(
        config,
        lambda name: git("show", f"gh-pages:public/{name}"),
        lambda: set(git("ls-tree", "-r", "--name-only", "gh-pages:public").decode().splitlines()),
    )


def test_readers_see_the_latest_site_and_old_ones_are_removed(make_report: Make, target: Target) -> None:
    for text in "abcde":
        report = make_report(text)
        target.config.publish(report, Occasion(site=report / "all"))
        assert target.site() == f"all/index.html {text}"
        assert shown(target.read) == f"site/index.html {text}", "from a file, the report opens"
    sites = {name.split("/")[1] for name in target.names() if name.startswith("sites/")}
    listed_ = json.loads(target.read("runs.json"))
    assert sites == {run["key"] for run in listed_["sites"]}
    assert all("top" not in run for run in listed_["runs"]), "an earlier release reads it"
    assert len(sites) == SITES
    assert len({name.split("/")[1] for name in target.names() if name.startswith("runs/") and name.count("/") > 1}) == 5
    listed = target.read("runs/index.html").decode()
    assert not [key for key in sites if key in listed], "the list is that of reports"


def test_a_trial_leaves_the_site(make_report: Make, target: Target) -> None:
    first = make_report("a")
    target.config.publish(first, Occasion(site=first / "all"))
    trial = make_report("trial")
    target.config.publish(trial, Occasion(site=trial / "all", overrides=("train.hpt.steps=6",), board=False))
    assert target.site() == "all/index.html a"
    assert shown(target.read) == "site/index.html a"


def test_a_report_is_held_while_a_later_site_shows_it(make_report: Make, tmp_path: Path) -> None:
    """Two pipelines of a store publish to one place, one after the other."""
    target = folder_target(tmp_path / "public")
    receipts = []
    for text in "ab":
        report = make_report(text)
        receipts.append(tmp_path / f"{text}.json")
        receipts[-1].write_text(target.config.publish(report, Occasion(site=report / "all")).model_dump_json())
    assert isinstance(target.config, StaticSite)
    assert all(target.config.holds(receipt) for receipt in receipts)
