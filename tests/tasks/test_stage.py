"""Skip or run: decided by fingerprint, manifest, damage and what is asked for, whatever the stage makes."""

import json
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hpt_core.artifacts import Cost, FileEntry, KnownFiles, Store, outputs_hash
from hpt_core.errors import HPTError, TrainingError
from tasks.context import Context, Notice, subscribe
from tasks.part import Mades, Making, Part, Stage, Unit
from tasks.stage import check, run_stage


class Letters(Part):
    """Writes a file for each of its names; can be made to fail half way."""

    keeps_output = True
    mends = True

    def __init__(self, names: Sequence[str], version: str = "1") -> None:
        self.names = names
        self.version = version
        self.calls: list[list[str]] = []
        self.fail_after: int | None = None

    def units(self, made: Mades, context: Context) -> list[Unit]:
        return [Unit(name, "samples", {"name": name}, {"letters": self.version}, {}) for name in self.names]

    def make(self, jobs: Sequence[Making], made: Mades, context: Context) -> Cost:
        self.calls.append([job.unit.key for job in jobs])
        for i, job in enumerate(jobs):
            if i == self.fail_after:
                raise TrainingError("half way", "go on")
            (job.slot.work).mkdir(exist_ok=True)
            (job.slot.work / "checkpoint").write_text(job.unit.key)
            for part in ("one", "two"):
                (job.slot.output / part).write_text(f"{job.unit.key} {part}")
        return Cost(cpu_seconds=2.0, peak_memory_bytes=7)

    def outputs(self, job: Making, files: tuple[FileEntry, ...]) -> dict[str, str]:
        return {"letters": outputs_hash(files, "")}

    def facts(self, job: Making) -> dict[str, Any]:
        return {"name": job.unit.key}


class Once(Letters):
    """As Letters, of no use when half-written."""

    keeps_output = False
    mends = False


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(Store(tmp_path / "runs"), KnownFiles(tmp_path / "known.json"))


def again(context: Context, **changes: Any) -> Context:
    return Context(context.store, context.known, **changes)


def folder(context: Context, part: Letters, name: str) -> Path:
    (unit,) = (u for u in part.units({}, context) if u.key == name)
    return context.store.slot(unit.kind, unit.fingerprint).folder


def test_what_is_made_is_reused(context: Context) -> None:
    part = Letters("ab")
    stage = Stage("letters", (), (part,))
    first = run_stage(stage, {}, context)
    second = run_stage(stage, {}, context)
    assert part.calls == [["a", "b"]]
    assert [m.reused for m in first.values()] == [False, False]
    assert [m.reused for m in second.values()] == [True, True]
    assert {k: m.outputs for k, m in first.items()} == {k: m.outputs for k, m in second.items()}
    assert json.dumps([m.as_json() for m in second.values()])


def test_only_what_is_missing_is_made(context: Context) -> None:
    run_stage(Stage("letters", (), (Letters("ab"),)), {}, context)
    part = Letters("abc")
    run_stage(Stage("letters", (), (part,)), {}, context)
    assert part.calls == [["c"]]


def test_a_new_version_makes_all_again_beside_the_old(context: Context) -> None:
    old, new = Letters("a"), Letters("a", version="2")
    run_stage(Stage("letters", (), (old,)), {}, context)
    run_stage(Stage("letters", (), (new,)), {}, context)
    assert new.calls == [["a"]]
    assert folder(context, old, "a").is_dir()


def test_the_manifest_says_what_made_it(context: Context) -> None:
    part = Letters("ab")
    run_stage(Stage("letters", (), (part,)), {}, context)
    manifest = json.loads((folder(context, part, "a") / "manifest.json").read_text())
    assert manifest["cost"]["cpu_seconds"] == 1.0, "one process made both"
    assert manifest["facts"] == {"name": "a"}
    assert manifest["packages"]["hpt-pipelines"]
    assert manifest["hardware"]["cpus"] >= 1
    assert {f["path"] for f in manifest["files"]} == {"output/one", "output/two"}
    assert not (folder(context, part, "a") / "work").exists()


def test_a_failure_commits_nothing_and_keeps_the_work(context: Context) -> None:
    part = Letters("ab")
    part.fail_after = 1
    stage = Stage("letters", (), (part,))
    seen: list[Notice] = []
    unsubscribe = subscribe(seen.append)
    with pytest.raises(TrainingError, match="half way"):
        run_stage(stage, {}, context)
    unsubscribe()
    assert [n.what for n in seen] == ["started", "failed"]
    for name in "ab":
        assert not (folder(context, part, name) / "manifest.json").exists()
    assert (folder(context, part, "a") / "work" / "checkpoint").exists()
    assert check(part, part.units({}, context)[0], "letters", context).standing == "started"
    part.fail_after = None
    run_stage(stage, {}, context)
    assert part.calls[-1] == ["a", "b"]


def test_half_an_output_of_a_stage_that_cannot_go_on_is_removed(context: Context) -> None:
    part = Once("a")
    stray = folder(context, part, "a") / "output" / "stray"
    stray.parent.mkdir(parents=True)
    stray.write_text("of a run that was killed")
    run_stage(Stage("letters", (), (part,)), {}, context)
    assert not stray.exists()


@pytest.mark.parametrize("kind", [Letters, Once])
def test_damage_is_reported_and_made_again(
    context: Context, kind: type[Letters], caplog: pytest.LogCaptureFixture
) -> None:
    part = kind("ab")
    stage = Stage("letters", (), (part,))
    before = run_stage(stage, {}, context)
    broken = folder(context, part, "b") / "output" / "one"
    broken.write_text("?")
    assert check(part, part.units({}, context)[1], "letters", context).standing == "damaged"
    after = run_stage(stage, {}, context)
    assert f"{broken} has 1 bytes in place of 5; it is made again" in caplog.text
    assert part.calls == [["a", "b"], ["b"]]
    assert after["b"].outputs == before["b"].outputs


def test_redo_makes_again_once(context: Context) -> None:
    part = Letters("a")
    stage = Stage("letters", (), (part,))
    run_stage(stage, {}, context)
    forced = again(context, redo=frozenset({"letters"}))
    run_stage(stage, {}, forced)
    assert len(part.calls) == 2
    # A retry of the same run, which keeps the moment of its first start, does not do it a third time.
    run_stage(stage, {}, forced)
    assert len(part.calls) == 2
    run_stage(stage, {}, again(context, redo=frozenset({"letters"}), since=datetime.now(UTC) + timedelta(seconds=1)))
    assert len(part.calls) == 3


def test_two_threads_do_the_work_once(context: Context) -> None:
    part = Letters("abc")
    stage = Stage("letters", (), (part,))
    threads = [threading.Thread(target=run_stage, args=(stage, {}, context)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert part.calls == [["a", "b", "c"]]


def test_waiting_for_another_run_can_be_cancelled(context: Context) -> None:
    part = Letters("a")
    (unit,) = part.units({}, context)
    waiting = again(context)
    waiting.cancelled.set()
    with context.store.lease(context.store.slot(unit.kind, unit.fingerprint)).held():
        assert check(part, unit, "letters", context).standing == "running"
        with pytest.raises(HPTError, match="stopped while waiting for process"):
            run_stage(Stage("letters", (), (part,)), {}, waiting)
