"""Publishing processes that are killed, and several that publish at once."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.benchmarks.publishers.reader import folder, shown, site_folder

Make = Callable[[str], Path]
Read = Callable[[str], bytes]
ROOT = Path(__file__).resolve().parents[3]


class Mortal:
    """The program mortal.py."""

    def __init__(self, config: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.publishers.mortal", json.dumps(config)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> "Mortal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def begin(self, report: Path, killed_at: int = 0) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps([str(report), killed_at]) + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def publish(self, report: Path, killed_at: int = 0) -> str:
        self.begin(report, killed_at)
        return self.answer()


@pytest.fixture(params=["folder", pytest.param("s3", marks=[pytest.mark.slow, pytest.mark.xdist_group("s3")])])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, Any], Read]:
    """A target's config, and how to read it."""
    if request.param == "folder":
        site = tmp_path / "site" / "board"
        return {"name": "static_site", "path": str(site)}, lambda name: (site / name).read_bytes()
    url = request.getfixturevalue("s3").bucket()

    def read(name: str) -> bytes:
        system, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        content: bytes = system.cat_file(f"{root}/{name}")
        return content

    return {"name": "s3", "url": url}, read


def test_an_upload_killed_anywhere_leaves_the_old_site_or_the_new_one(
    make_report: Make, target: tuple[dict[str, Any], Read]
) -> None:
    config, read = target
    with Mortal(config) as program:
        for text in "abc":  # from the fourth on, a publication also removes a site
            program.publish(make_report(text))
        writes = int(program.publish(make_report("0")))
        points = random.Random(20260105).sample([*range(1, writes + 1), *range(1, writes + 1)], 10)
        seen = set()
        for number, point in enumerate(points, 1):
            report = make_report(str(number))
            assert program.publish(report, point) == "killed"
            which = shown(read).removeprefix("site/index.html ")
            assert which in (str(number - 1), str(number))
            seen.add(which == str(number))
            source, place = report.with_name(f"report-{which}"), folder(read)
            for name in ("site/index.html", "tables/scores.parquet", "leaderboard.md"):
                assert read(f"{place}/{name}") == (source / name).read_bytes()
            site = site_folder(read)
            of = read(f"{site}/index.html").decode().removeprefix("all/index.html ")
            assert of in (str(number - 1), str(number))
            assert read(f"{site}/data/runs.json").decode() == f"all/data/runs.json {of}"
            # Temporary files of the killed process change nothing.
            again = program.publish(report)
            assert int(again) <= writes, "what is there is uploaded again"
            assert point < writes // 3 or int(again) < writes
            assert shown(read) == f"site/index.html {number}"
            assert read(f"{site_folder(read)}/index.html").decode() == f"all/index.html {number}"
    every = json.loads(read("runs.json"))
    listed = every["runs"]
    assert (len(listed), len(every["sites"])) == (14, 3)
    for run in listed:
        assert read(f"runs/{run['key']}/site/index.html").startswith(b"site/index.html")
    assert False in seen


@pytest.mark.slow
def test_of_several_publishers_at_once_none_is_lost_and_the_newest_wins(
    make_report: Make, target: tuple[dict[str, Any], Read]
) -> None:
    config, read = target
    with Mortal(config) as first, Mortal(config) as second, Mortal(config) as third:
        for number in range(3):
            for program in (first, second, third):
                program.begin(make_report(f"{number}-{program.process.pid}"))
            assert all(program.answer().isdigit() for program in (first, second, third))
            listed = json.loads(read("runs.json"))
            reports = listed["runs"]
            assert len(reports) == 3 * (number + 1)
            newest = max(reports, key=lambda run: (run["board"], run["key"]))
            assert listed["board"] == newest["key"] == folder(read).removeprefix("runs/")
