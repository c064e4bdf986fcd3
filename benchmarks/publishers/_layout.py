"""The layout of a published site, the same on every target:

    runs/KEY/           a published report; KEY is a hash of its content, so what is there never changes
    runs/index.html     the list of all published reports
    runs.json           the same list for programs, and that of the sites
    sites/KEY/          the site over all runs of a store, as it was when a report was published; the latest ones stay
    index.html          leads to the current site, or to the current report if no site was published

index.html is the only file that decides what readers see. It is replaced in one step, after everything else is there.
"""

import html
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, ValidationError

from benchmarks.publishers.base import Occasion, Receipt
from hpt_core.base import Frozen
from hpt_core.errors import PublishError
from hpt_core.files import sha256_file, sha256_json

OURS = '<meta name="generator" content="hpt-pipelines">'
"""Part of every index.html that we write."""
FORMER = '<p><a href="site/index.html">Leaderboard</a></p>'
"""Part of index.html in the layout of earlier versions."""
INDEX = "index.html"
LIST = "runs.json"
LISTED = "runs/index.html"
SITES = 3
"""Sites that stay: a reader may still have one of before open."""


class Published(Frozen):
    """One published report or site."""

    key: str
    """The last part of its folder."""
    top: Literal["runs", "sites"] = "runs"
    """The first part: a report is in runs/KEY, a site in sites/KEY."""
    pipeline: str = ""
    overrides: tuple[str, ...] = ()
    """What the run changed in its config."""
    when: AwareDatetime
    """When it was published last."""
    board: AwareDatetime | None = None
    """When it was published last as what readers see first; None if it never was."""

    @property
    def folder(self) -> str:
        """Its folder on the target."""
        return f"{self.top}/{self.key}"

    @property
    def page(self) -> str:
        """Its first page."""
        return f"{self.folder}/{INDEX}" if self.top == "sites" else f"{self.folder}/site/{INDEX}"


class Content:
    """Files that are published together into one folder, by their paths in it."""

    def __init__(self, files: Mapping[str, Path], top: Literal["runs", "sites"]) -> None:
        self.files = files
        self.top = top
        self.hashes = {name: sha256_file(path) for name, path in files.items()}
        self.sha256 = sha256_json(self.hashes)
        self.key = self.sha256[:16]
        self.folder = f"{top}/{self.key}"

    def is_new(self, occasion: Occasion, runs: Iterable[Published]) -> bool:
        """Whether a target with these entries lacks the one that `entry` makes."""
        runs = list(runs)
        before = next((run for run in runs if run.key == self.key), None)
        shown = current(run for run in runs if run.top == self.top)
        return before is None or occasion.overrides != before.overrides or (occasion.board and shown != before)

    def entry(self, occasion: Occasion, runs: Iterable[Published]) -> Published:
        """The entry of this content on a target with these entries."""
        before = next((run for run in runs if run.key == self.key), None)
        times = [occasion.when] if before is None else [occasion.when, before.when]
        shown = [occasion.when] * occasion.board
        shown += [before.board] if before is not None and before.board is not None else []
        return Published(
            key=self.key,
            top=self.top,
            pipeline=occasion.pipeline,
            overrides=occasion.overrides,
            when=max(times),
            board=max(shown, default=None),
        )

    def receipt(self, target: str, occasion: Occasion, changed: bool) -> Receipt:
        """The receipt of a publication."""
        return Receipt(
            target=target,
            files=tuple(sorted(self.hashes)),
            folder=self.folder,
            board=occasion.board,
            sha256=self.sha256,
            when=occasion.when,
            changed=changed,
        )


def report_content(report: Path, samples: bool) -> Content:
    """What is published of a report. Raises PublishError for a folder without a report."""
    if not (report / "site" / INDEX).is_file():
        raise PublishError(f"{report} holds no report: site/index.html is missing", "run the report stage first")
    paths = [report / "leaderboard.md", *(report / "site").rglob("*"), *(report / "tables").glob("*.parquet")]
    kept = (path for path in paths if samples or path.name != "samples.parquet")
    return Content(_files(report, kept), "runs")


def contents(report: Path, samples: bool, occasion: Occasion) -> list[Content]:
    """What is published on an occasion: the report, and the site if readers are to see it. Raises PublishError."""
    found = [report_content(report, samples)]
    if occasion.site is not None and occasion.board:
        found.append(Content(_files(occasion.site, occasion.site.rglob("[!.]*")), "sites"))
    return found


def _files(folder: Path, paths: Iterable[Path]) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(paths) if path.is_file()}


def _newest(runs: Iterable[Published], top: str) -> list[Published]:
    """What was published for readers to see first, the latest one first."""
    shown = [(run.board, run.key, run) for run in runs if run.board is not None and run.top == top]
    return [run for *_, run in sorted(shown, key=lambda item: item[:2], reverse=True)]


def current(runs: Iterable[Published]) -> Published | None:
    """What readers see first: the site that was published last for it; without any, the report."""
    runs = list(runs)
    return next(iter([*_newest(runs, "sites"), *_newest(runs, "runs")]), None)


def outdated(runs: Iterable[Published]) -> list[Published]:
    """The sites that need not stay."""
    return _newest(runs, "sites")[SITES:]


def pages(runs: Iterable[Published]) -> dict[str, bytes]:
    """Name -> content of the files that lead to what is published, in the order in which they must be written."""
    runs = list(runs)
    gone = {run.key for run in outdated(runs)}
    runs = sorted((run for run in runs if run.key not in gone), key=lambda run: (run.when, run.key), reverse=True)
    reports = [run for run in runs if run.top == "runs"]
    report = current(reports)
    # Sites are apart, so that an earlier release can read the list.
    listed = {
        "board": report and report.key,
        "runs": [run.model_dump(mode="json", exclude={"top"}) for run in reports],
        "sites": [run.model_dump(mode="json") for run in runs if run.top == "sites"],
    }
    return {
        LIST: (json.dumps(listed, indent=1) + "\n").encode(),
        LISTED: _list_page(reports, report).encode(),
        INDEX: _index_page(current(runs), report).encode(),
    }


def read_list(content: bytes | None) -> list[Published]:
    """The reports and sites in a runs.json; none if there is no such file. Raises PublishError if it cannot be read."""
    if content is None:
        return []
    try:
        listed = json.loads(content)
        return [Published.model_validate(run) for run in (*listed["runs"], *listed.get("sites", ()))]
    except (ValueError, KeyError, TypeError) as error:
        raise PublishError(
            f"{LIST} of the target cannot be read", "restore or delete it, then publish again"
        ) from error


def require_ours(index: bytes | None, target: str) -> None:
    """Raise PublishError if the target has an index.html that is not ours."""
    text = "" if index is None else index.decode(errors="replace")
    if index is not None and OURS not in text and FORMER not in text:
        raise PublishError(f"{target} exists and is not a publication of ours", "choose another place, or move it away")


def read_entry(content: bytes) -> Published | None:
    """An entry that was written by itself; None if it cannot be read."""
    try:
        return Published.model_validate_json(content)
    except ValidationError:
        return None


def _index_page(first: Published | None, report: Published | None) -> str:
    to, alone = (LISTED if run is None else run.page for run in (first, report))
    # The script keeps what follows ? and # in the address; without scripts the page goes on after a second. A browser
    # does not let a site's pages read their data from files, but a report has them within.
    script = f'location.replace((location.protocol === "file:" ? "{alone}" : "{to}") + location.search + location.hash)'
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
{OURS}
<title>Leaderboard</title>
<script>{script}</script>
<meta http-equiv="refresh" content="1; url={to}">
<p><a href="{to}">Leaderboard</a>, <a href="{LISTED}">all published reports</a></p>
</html>
"""


def _list_page(runs: list[Published], first: Published | None) -> str:
    items = []
    for run in runs:
        notes = [*(["current"] if run == first else []), *(f"with {override}" for override in run.overrides)]
        label = html.escape(f"{run.when:%Y-%m-%d %H:%M} {run.when.tzname()} {run.pipeline}".strip())
        more = f" ({html.escape(', '.join(notes))})" if notes else ""
        items.append(f'<li><a href="{run.key}/site/index.html"><bdi>{label}</bdi></a><bdi>{more}</bdi></li>')
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
{OURS}
<title>Published reports</title>
<h1>Published reports</h1>
<p><a href="../index.html">Current leaderboard</a></p>
<ul>
{chr(10).join(items)}
</ul>
</html>
"""
