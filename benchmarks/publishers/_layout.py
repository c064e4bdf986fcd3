"""The layout of a published site, the same on every target:

    runs/KEY/           a published report; KEY is a hash of its content, so what is there never changes
    runs/index.html     the list of all published reports
    runs.json           the same list for programs
    index.html          leads to the current report

index.html is the only file that decides what readers see. It is replaced in one step, after everything else is there.
"""

import html
import json
from collections.abc import Iterable
from pathlib import Path

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


class Published(Frozen):
    """One published report."""

    key: str
    """Its folder is runs/KEY."""
    pipeline: str = ""
    overrides: tuple[str, ...] = ()
    """What the run changed in its config."""
    when: AwareDatetime
    """When it was published last."""
    board: AwareDatetime | None = None
    """When it was published last as what readers see first; None if it never was."""


class Content:
    """The files of a report that are published, by their paths in the report."""

    def __init__(self, report: Path, samples: bool) -> None:
        """Raises PublishError for a folder without a report."""
        if not (report / "site" / INDEX).is_file():
            raise PublishError(f"{report} holds no report: site/index.html is missing", "run the report stage first")
        paths = [report / "leaderboard.md", *(report / "site").rglob("*"), *(report / "tables").glob("*.parquet")]
        self.files = {
            path.relative_to(report).as_posix(): path
            for path in sorted(paths)
            if path.is_file() and (samples or path.name != "samples.parquet")
        }
        self.hashes = {name: sha256_file(path) for name, path in self.files.items()}
        self.sha256 = sha256_json(self.hashes)
        self.key = self.sha256[:16]
        self.folder = f"runs/{self.key}"

    def entry(self, occasion: Occasion, before: Published | None) -> Published:
        """The entry of this report. `before` is the one that it has."""
        times = [occasion.when] if before is None else [occasion.when, before.when]
        shown = [occasion.when] * occasion.board
        shown += [before.board] if before is not None and before.board is not None else []
        return Published(
            key=self.key,
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


def current(runs: Iterable[Published]) -> Published | None:
    """The report that readers see first: the one published last for it."""
    shown = [(run.board, run.key, run) for run in runs if run.board is not None]
    return max(shown, key=lambda item: item[:2])[2] if shown else None


def pages(runs: Iterable[Published]) -> dict[str, bytes]:
    """Name -> content of the files that lead to the reports, in the order in which they must be written."""
    runs = sorted(runs, key=lambda run: (run.when, run.key), reverse=True)
    first = current(runs)
    listed = {"board": first and first.key, "runs": [run.model_dump(mode="json") for run in runs]}
    return {
        LIST: (json.dumps(listed, indent=1) + "\n").encode(),
        "runs/index.html": _list_page(runs, first).encode(),
        INDEX: _index_page(first).encode(),
    }


def read_list(content: bytes | None) -> list[Published]:
    """The reports in a runs.json; none if there is no such file. Raises PublishError if it cannot be read."""
    if content is None:
        return []
    try:
        return [Published.model_validate(run) for run in json.loads(content)["runs"]]
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


def _index_page(first: Published | None) -> str:
    to = "runs/index.html" if first is None else f"runs/{first.key}/site/index.html"
    # The script keeps what follows ? and # in the address; without scripts the page goes on after a second.
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
{OURS}
<title>Leaderboard</title>
<script>location.replace("{to}" + location.search + location.hash)</script>
<meta http-equiv="refresh" content="1; url={to}">
<p><a href="{to}">Leaderboard</a>, <a href="runs/index.html">all published reports</a></p>
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
