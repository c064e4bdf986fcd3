"""The small pipeline that a case disturbs, and what is measured of it."""

import contextlib
import dataclasses
import fcntl
import fnmatch
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from flows import automations
from hpt_core.artifacts import Lease
from hpt_core.files import sha256_json
from tests.flows.pipelines import Deployed, Hpt, named, outputs_of, own, train_paced
from tests.measured import MEASURED
from tests.server import Server

TRAINING = "train.sft"
"""Name of the training."""
LIMIT_S = 120.0
"""Seconds after which nothing may hold what a lost process held."""
HELD = '''
"""The static site. While a file `hold` is beside this one, a publication does not end."""

import time
from pathlib import Path

from benchmarks.publishers.static_site import StaticSite


class Held(StaticSite):
    def publish(self, report, occasion=None):
        while Path(__file__).with_name("hold").exists():
            time.sleep(0.1)
        return super().publish(report, occasion)
'''
STEPS = 45
CHANGES = {
    'name = "static_site"': 'name = "held:Held"',
    "steps = 150": f"steps = {STEPS}",
    "checkpoint_every = 5": "checkpoint_every = 3",
}
"""Changes of the pipeline of the tests."""
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
"""When the newest score was measured, in the leaderboard."""


@dataclasses.dataclass
class Row:
    """What became of a case. Seconds count from the failure; None if there was nothing to wait for."""

    case: str
    noticed_s: float | None = None
    """Until the product had noticed it: a state, a log line, the end of the command."""
    resumed_s: float | None = None
    """Until the work went on, without the time in which nobody started the command again."""
    free_s: float | None = None
    """Until nothing held the leases and the devices of what was lost."""
    again: dict[str, int] = dataclasses.field(default_factory=dict)
    """Artifact -> how often it was started again."""
    equal: bool | None = None
    """Whether outputs, tables and page equal those of a run that nothing disturbed."""
    orphans: int = 0
    """Processes that were left at the end."""
    state: str = ""
    """How the run ended."""
    note: str = ""
    wrong: list[str] = dataclasses.field(default_factory=list)
    """What was not as demanded."""
    name: str = ""
    """The case's name on the command line."""


def results(hpt: Hpt) -> dict[str, Any]:
    """Everything that a finished pipeline has made, without times: hashes of outputs, tables and published files."""
    found: dict[str, Any] = {
        k: v for k, v in outputs_of(hpt.store, "tiny").items() if not k.startswith(("report", "publish"))
    }
    report = next(folder for name, folder in named(hpt.store, "tiny").items() if name.startswith("report")) / "output"
    for table in sorted((report / "tables").glob("*.parquet")):
        read = pq.read_table(table)
        kept = [name for name in read.column_names if name not in MEASURED]
        found[f"tables/{table.name}"] = sha256_json(json.loads(json.dumps(read.select(kept).to_pylist())))
    found["leaderboard.md"] = TIME.sub("", (report / "leaderboard.md").read_text(encoding="utf-8"))
    shown = hpt.published / "runs" / str(json.loads((hpt.published / "runs.json").read_bytes())["board"])
    found["published"] = sorted(path.relative_to(shown).as_posix() for path in shown.rglob("*") if path.is_file())
    for name in ("leaderboard.md", "tables/scores.parquet"):
        assert (shown / name).read_bytes() == (report / name).read_bytes(), f"an old {name} is published"
    return found


class Bed:
    """The pipeline of one case, in a folder of its own."""

    def __init__(self, hpt: Hpt, server: Server, calm: "Calm | None" = None) -> None:
        self.hpt = hpt
        self.server = server
        self.folder = hpt.folder
        self.runs = Deployed(hpt, "tiny")
        self.calm = calm
        self._failed_at = time.monotonic()
        self._before = set[int]()
        """Processes of before the failure."""
        self._said = hpt.folder / "said.txt"
        self._began = 0
        """Where the output of the last command begins in the file."""

    @classmethod
    def with_training(cls, folder: Path, server: Server, calm: "Calm | None" = None, left: Iterable[str] = ()) -> "Bed":
        """A pipeline of every kind of stage. Training is slow until `hurry`.

        Its store has the artifacts of the calm run, without those whose names match a pattern in `left`.
        """
        folder.mkdir(parents=True)
        hpt = Hpt(folder, server.environment)
        train_paced(hpt)
        text = hpt.config.read_text(encoding="utf-8")
        for before, after in CHANGES.items():
            assert before in text
            text = text.replace(before, after)
        hpt.config.write_text(text, encoding="utf-8")
        (folder / "held.py").write_text(HELD, encoding="utf-8")
        for name, place in calm.folders.items() if calm else ():
            if not any(fnmatch.fnmatch(name, pattern) for pattern in left):
                made = place.resolve()
                shutil.copytree(made, hpt.store / made.parent.name / made.name, dirs_exist_ok=True)
        found = cls(hpt, server, calm)
        found.pace(1)
        return found

    def pace(self, seconds: float) -> None:
        """A training step takes at least so many seconds, until `hurry`. There are STEPS."""
        self.runs.slow.write_text(str(seconds), encoding="utf-8")

    def start(self, *arguments: str, command: str = "run") -> "subprocess.Popen[bytes]":
        """Start `hpt run`, or another command, on the pipeline."""
        with self._said.open("ab") as output:
            self._began = output.tell()
            return subprocess.Popen(
                [sys.executable, "-m", "flows.cli", command, "tiny.toml", *arguments],
                cwd=self.folder,
                env=self.hpt.environment,
                stdout=output,
                stderr=output,
            )

    def end(self, process: "subprocess.Popen[bytes]", code: int | None = 0, seconds: float = 300) -> str:
        """Wait until the command ends, and return what it said. Raises AssertionError for another exit code."""
        process.wait(seconds)
        ended = process.returncode
        assert code is None or ended == code, f"ended with {ended} instead of {code}: {self.said[-3000:]}"
        return self.said

    @property
    def said(self) -> str:
        """What the last command has written to the terminal."""
        return self._said.read_bytes()[self._began :].decode(errors="replace")

    def hurry(self) -> None:
        """Training is fast from now on."""
        self.runs.slow.unlink(missing_ok=True)

    def process(self, words: str, new: bool = False) -> psutil.Process | None:
        """The process with these words in its command, without its supervisor; with `new`, one that began after the
        failure."""
        found = [p for p in self.runs.find(words) if not (new and p.pid in self._before)]
        with contextlib.suppress(StopIteration, psutil.Error):
            return own(found)
        return None

    @property
    def log(self) -> str:
        """The log of the runs by hand."""
        return _text(self.hpt.store / "logs" / "tiny.log")

    @property
    def train_log(self) -> str:
        """The log of the training."""
        return "".join(map(_text, self.hpt.store.glob("train/*/log.txt")))

    def is_free(self) -> bool:
        """Whether no process holds a lease of the store, or a device of the machine."""
        if any(Lease(file).holder() for file in (self.hpt.store / ".leases").glob("[!.]*.json")):
            return False
        for file in (self.folder / "cache" / "turns").glob("*.lock"):
            with file.open() as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
        return True

    def fail(self) -> None:
        """The failure happens now, right after this call."""
        self._before = {process.pid for process in self.runs.find("")}
        self._failed_at = time.monotonic()

    @property
    def since(self) -> float:
        """Seconds since the failure."""
        return round(time.monotonic() - self._failed_at, 1)

    def watch(self, seconds: float = 600, **conditions: Callable[[], Any]) -> dict[str, float]:
        """Seconds from the failure until each condition first held. Raises AssertionError if one never does."""
        found: dict[str, float] = {}
        end = time.monotonic() + seconds
        while len(found) < len(conditions):
            for name, condition in conditions.items():
                with contextlib.suppress(urllib.error.URLError, TimeoutError):
                    if name not in found and condition():
                        found[name] = self.since
            assert time.monotonic() < end, f"not within {seconds:g} s: {', '.join(set(conditions) - set(found))}"
            time.sleep(0.1)
        return found

    def row(self, case: str, state: str, in_flight: tuple[str, ...] = (TRAINING,), **fields: Any) -> Row:
        """The row of a case that has ended. `in_flight`: patterns of the names of what may have been started again."""
        deadline = time.monotonic() + 60
        while (left := self.runs.find("")) and time.monotonic() < deadline:
            time.sleep(0.2)
        names = {folder.resolve(): name for name, folder in sorted(named(self.hpt.store, "tiny").items(), reverse=True)}
        attempts = self.runs.attempts()
        again = {name: attempts[name] - 1 for name in sorted(names.values()) if attempts.get(name, 0) > 1}
        row = Row(case, state=state, again=again, orphans=len(left), **fields)
        assert self.calm is not None
        calm, found = self.calm.results, results(self.hpt)
        row.equal = found == calm
        if not row.equal:
            row.wrong.append(f"differ: {', '.join(k for k in calm | found if calm.get(k) != found.get(k))}")
        if left:
            row.wrong.append(f"left: {'; '.join(map(str, left))}")
        if more := [name for name in again if not any(fnmatch.fnmatch(name, pattern) for pattern in in_flight)]:
            row.wrong.append(f"made again: {', '.join(more)}")
        if row.free_s is not None and row.free_s > LIMIT_S:
            row.wrong.append(f"held for {row.free_s:g} s")
        return row


@dataclasses.dataclass(frozen=True)
class Calm:
    """A run that nothing disturbs."""

    results: dict[str, Any]
    folders: dict[str, Path]
    """Name of each artifact -> its folder."""
    seconds: float


def prepare(folder: Path, server: Server) -> None:
    """Deploy the pipeline, which makes the server's automations. They also end the runs of killed commands."""
    bed = Bed.with_training(folder, server)
    bed.runs.deploy(automations.SILENCE.total_seconds(), automations.BEGIN_WITHIN.total_seconds())


def measure_calm(folder: Path, server: Server) -> Calm:
    """Run the pipeline undisturbed, unless the folder has such a run."""
    took = folder / "seconds.txt"
    if not took.exists():
        bed = Bed.with_training(folder, server)
        bed.hurry()
        begun = time.monotonic()
        bed.end(bed.start(), seconds=600)
        took.write_text(f"{time.monotonic() - begun:.1f}", encoding="utf-8")
    hpt = Hpt(folder, server.environment)
    return Calm(results(hpt), named(hpt.store, "tiny"), float(took.read_text(encoding="utf-8")))


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
