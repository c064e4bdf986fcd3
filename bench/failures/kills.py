"""Random kills: SIGKILL of a random process of a run at a random moment, again and again."""

import contextlib
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.failures.bed import Bed, Row
from tests.flows.pipelines import until

EVERYTHING = ("*",)

AT_WORK = 0.8
"""Share of the starts of the command after which no process is killed before a stage works."""
LAST_S = 1200
"""Seconds in which a run must end after the last kill, on a busy machine too."""


@dataclass
class Kills:
    """Kills of one or several runs, drawn from one seed."""

    seed: int
    gap_s: float
    """Greatest number of seconds between two kills."""
    counts: Counter[str] = field(default_factory=Counter)
    """What was killed -> how often."""
    commands: int = 0
    """How often `hpt run` was started."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @property
    def total(self) -> int:
        """Number of kills."""
        return self.counts.total()

    def through(self, bed: Bed, most: int) -> list[str]:
        """Run the pipeline to its end, with at most so many kills in total. Whenever the command ends, start it again.

        Returns the finished artifacts that were made again. Raises AssertionError if a run fails for another reason
        than a kill.
        """
        bed.hurry()
        run = self._start(bed)
        finished = dict[Path, int]()
        while True:
            wait = self._random.uniform(0, self.gap_s) if self.total < most else LAST_S
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(wait)
            if run.poll() is None:
                assert self.total < most, "the run does not end"
                self._kill(bed, run)
                for file in bed.hpt.store.glob("*/*/manifest.json"):
                    finished.setdefault(file, file.stat().st_mtime_ns)
            elif run.returncode == 0:
                return [file.parent.parent.name for file, time_ in finished.items() if file.stat().st_mtime_ns != time_]
            else:
                is_killed = run.returncode == -signal.SIGKILL or "was ended by SIGKILL" in bed.said
                assert is_killed, f"ended with {run.returncode}: {bed.said[-3000:]}"
                run = self._start(bed)

    def _start(self, bed: Bed) -> "subprocess.Popen[bytes]":
        """Start the command. Mostly wait until a stage works, or all kills would hit the command while it starts."""
        self.commands += 1
        run = bed.start()
        if self._random.random() < AT_WORK:
            until("a stage works", lambda: run.poll() is not None or bed.runs.find("supervisor.py"), LAST_S)
        return run

    def _kill(self, bed: Bed, run: "subprocess.Popen[bytes]") -> None:
        found = sorted(bed.runs.find(""), key=lambda process: process.create_time())
        if not found:
            return
        victim = self._random.choice(found)
        with contextlib.suppress(psutil.Error):
            name = _name(victim.cmdline())
            victim.kill()
            self.counts[name] += 1
        if victim.pid == run.pid:
            run.wait(60)


def _name(command: list[str]) -> str:
    """What a process is, for people."""
    words = " ".join(command)
    if "supervisor.py" in words:
        return "a supervisor"
    if "flows.cli" in words:
        return "hpt run"
    return next((w.rpartition(".")[2] for w in command if w.startswith(("hpt_core.", "benchmarks."))), "a helper")


def case(make_bed: Callable[[str], Bed], count: int, seed: int) -> Row:
    """As many pipelines as it takes for so many kills. All must equal one that nothing disturbs."""
    first = make_bed("kills-1")
    assert first.calm is not None
    kills = Kills(seed, gap_s=first.calm.seconds / 5)
    whole = Row(f"{count} random SIGKILLs", state="Completed", equal=True)
    pipelines = 0
    while kills.total < count:
        pipelines += 1
        bed = first if pipelines == 1 else make_bed(f"kills-{pipelines}")
        before = kills.total
        remade = kills.through(bed, count)
        row = bed.row("", "", EVERYTHING)
        whole.equal = whole.equal and row.equal
        whole.orphans += row.orphans
        whole.wrong += row.wrong + [f"made again: {name}" for name in remade]
        for name, times in row.again.items():
            whole.again[name] = whole.again.get(name, 0) + times
        if (again := sum(row.again.values())) > 2 * (kills.total - before):
            whole.wrong.append(f"{again} starts for {kills.total - before} kills")
    shares = ", ".join(f"{name} {n}" for name, n in kills.counts.most_common())
    whole.note = f"{pipelines} pipelines, {kills.commands} commands; killed: {shares}"
    return whole
