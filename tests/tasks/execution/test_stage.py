"""Skip or run: fingerprint, manifest, damage and options decide, for every kind of stage."""

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.catalog.records import Records
from hpt_core.artifacts import Cost, KnownFiles, Store
from hpt_core.errors import HPTError, StoreError, TrainingError
from hpt_core.evaluation.budget import Prices
from tasks.execution.artifact import Artifacts, Job, Stage, Step, Target
from tasks.execution.catalog import fill
from tasks.execution.context import Context, Notice, subscribe
from tasks.execution.keys import ArtifactKey, Output, StageKey
from tasks.execution.resources import ResourcesConfig
from tasks.execution.selection import Selection
from tasks.execution.stage import check, run_stage

LETTERS = StageKey("letters")
NOTHING = Artifacts()
EVERYTHING = Selection(frozenset({(LETTERS, ())}))


def key(name: str) -> ArtifactKey:
    return ArtifactKey(LETTERS, part=name)


class Letters(Step):
    """Writes a file for each of its names; can be made to fail half way."""

    kind = "letters"
    produces = (Output("letters", ""),)
    keeps_output = True
    mends = True

    def __init__(self, names: Sequence[str], code: str = "1") -> None:
        super().__init__(LETTERS)
        self.names = names
        self.code = code
        self.calls: list[list[str]] = []
        self.fail_after: int | None = None

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        return [self.target({"name": name}, {}, {"letters": self.code}, key(name)) for name in self.names]

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        self.calls.append([job.target.key.part for job in jobs])
        for i, job in enumerate(jobs):
            if i == self.fail_after:
                raise TrainingError("half way", "go on")
            (job.slot.work).mkdir(exist_ok=True)
            (job.slot.work / "checkpoint").write_text(job.target.key.part)
            for half in ("one", "two"):
                (job.slot.output / half).write_text(f"{job.target.key.part} {half}")
        return Cost(cpu_seconds=2.0, peak_memory_bytes=7)

    def facts(self, job: Job) -> dict[str, Any]:
        return {"name": job.target.key.part}


class Once(Letters):
    """As Letters, of no use when half-written."""

    keeps_output = False
    mends = False


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(Store(tmp_path / "runs"), KnownFiles(tmp_path / "known.json"))


def again(context: Context, **changes: Any) -> Context:
    return Context(context.store, context.known, **changes)


def folder(context: Context, step: Letters, name: str) -> Path:
    (target,) = (t for t in step.targets(NOTHING, context) if t.key == key(name))
    return context.store.slot(target.kind, target.fingerprint).folder


def test_finished_artifacts_are_reused(context: Context) -> None:
    step = Letters("ab")
    stage = Stage(LETTERS, (), (step,))
    first = run_stage(stage, NOTHING, context)
    second = run_stage(stage, NOTHING, context)
    assert step.calls == [["a", "b"]]
    assert [m.reused for m in first.values()] == [False, False]
    assert [m.reused for m in second.values()] == [True, True]
    assert {k: m.outputs for k, m in first.items()} == {k: m.outputs for k, m in second.items()}
    assert json.dumps([m.as_json() for m in second.values()])


def test_only_missing_artifacts_are_produced(context: Context) -> None:
    run_stage(Stage(LETTERS, (), (Letters("ab"),)), NOTHING, context)
    step = Letters("abc")
    run_stage(Stage(LETTERS, (), (step,)), NOTHING, context)
    assert step.calls == [["c"]]


def test_a_new_version_produces_new_artifacts_beside_the_old_ones(context: Context) -> None:
    old, new = Letters("a"), Letters("a", code="2")
    run_stage(Stage(LETTERS, (), (old,)), NOTHING, context)
    run_stage(Stage(LETTERS, (), (new,)), NOTHING, context)
    assert new.calls == [["a"]]
    assert folder(context, old, "a").is_dir()


def test_the_manifest_records_how_the_artifact_was_produced(context: Context) -> None:
    step = Letters("ab")
    run_stage(Stage(LETTERS, (), (step,)), NOTHING, context)
    manifest = json.loads((folder(context, step, "a") / "manifest.json").read_text())
    assert manifest["cost"]["cpu_seconds"] == 1.0, "one process made both"
    assert manifest["facts"] == {"name": "a"}
    assert manifest["packages"]["hpt-pipelines"]
    assert manifest["hardware"]["cpus"] >= 1
    assert {f["path"] for f in manifest["files"]} == {"output/one", "output/two"}
    assert not (folder(context, step, "a") / "work").exists()


def test_a_failure_commits_nothing_and_keeps_the_work(context: Context) -> None:
    step = Letters("ab")
    step.fail_after = 1
    stage = Stage(LETTERS, (), (step,))
    seen: list[Notice] = []
    unsubscribe = subscribe(seen.append)
    with pytest.raises(TrainingError, match="half way"):
        run_stage(stage, NOTHING, context)
    unsubscribe()
    assert [n.what for n in seen] == ["started", "failed"]
    for name in "ab":
        assert not (folder(context, step, name) / "manifest.json").exists()
    assert (folder(context, step, "a") / "work" / "checkpoint").exists()
    assert check(step, step.targets(NOTHING, context)[0], context).state == "started"
    step.fail_after = None
    run_stage(stage, NOTHING, context)
    assert step.calls[-1] == ["a", "b"]


class OnABrokenDisk(Letters):
    """The disk is full while it is made, or the manifest cannot be written once it is."""

    in_the_end = False

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        for job in jobs if self.in_the_end else ():
            job.slot.manifest_file.mkdir()
        for job in jobs if not self.in_the_end else ():
            (job.slot.output / "one").symlink_to("/dev/full")
        return super().make(jobs, artifacts, context)


@pytest.mark.parametrize("in_the_end", [False, True])
def test_a_store_that_cannot_be_written_is_an_error_with_a_remedy(context: Context, in_the_end: bool) -> None:
    step = OnABrokenDisk("a")
    step.in_the_end = in_the_end
    notices: list[Notice] = []
    unsubscribe = subscribe(notices.append)
    said = r"letters: cannot use \S*manifest.json\S*: Is a directory" if in_the_end else "letters: the disk is full"
    try:
        with pytest.raises(StoreError, match=rf"{said}\. Remedy: .*; finished work is kept"):
            run_stage(Stage(LETTERS, (), (step,)), NOTHING, context)
    finally:
        unsubscribe()
    assert [notice.what for notice in notices] == ["started", "failed"]
    assert not list(context.store.root.glob(".leases/*.json"))


def test_partial_files_are_removed_if_the_stage_cannot_continue(context: Context) -> None:
    step = Once("a")
    stray = folder(context, step, "a") / "output" / "stray"
    stray.parent.mkdir(parents=True)
    stray.write_text("of a run that was killed")
    run_stage(Stage(LETTERS, (), (step,)), NOTHING, context)
    assert not stray.exists()


@pytest.mark.parametrize("kind", [Letters, Once])
def test_damage_is_reported_and_repaired(
    context: Context, kind: type[Letters], caplog: pytest.LogCaptureFixture
) -> None:
    step = kind("ab")
    stage = Stage(LETTERS, (), (step,))
    before = run_stage(stage, NOTHING, context)
    broken = folder(context, step, "b") / "output" / "one"
    broken.write_text("?")
    assert check(step, step.targets(NOTHING, context)[1], context).state == "damaged"
    after = run_stage(stage, NOTHING, context)
    assert f"{broken} has 1 bytes instead of 5; it will be produced again" in caplog.text
    assert step.calls == [["a", "b"], ["b"]]
    assert after[key("b")].outputs == before[key("b")].outputs


def test_rerun_produces_an_artifact_again_once(context: Context) -> None:
    step = Letters("a")
    stage = Stage(LETTERS, (), (step,))
    run_stage(stage, NOTHING, context)
    forced = again(context, rerun=EVERYTHING)
    run_stage(stage, NOTHING, forced)
    assert len(step.calls) == 2
    # A retry of the same run, which keeps the moment of its first start, does not do it a third time.
    run_stage(stage, NOTHING, forced)
    assert len(step.calls) == 2
    run_stage(stage, NOTHING, again(context, rerun=EVERYTHING, since=datetime.now(UTC) + timedelta(seconds=1)))
    assert len(step.calls) == 3


def test_two_threads_do_the_work_once(context: Context) -> None:
    step = Letters("abc")
    stage = Stage(LETTERS, (), (step,))
    threads = [threading.Thread(target=run_stage, args=(stage, NOTHING, context)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert step.calls == [["a", "b", "c"]]


def test_waiting_for_another_run_can_be_cancelled(context: Context) -> None:
    step = Letters("a")
    (target,) = step.targets(NOTHING, context)
    waiting = again(context)
    waiting.cancelled.set()
    with context.store.lease(context.store.slot(target.kind, target.fingerprint)).held():
        assert check(step, target, context).state == "running"
        with pytest.raises(HPTError, match="stopped while waiting for process"):
            run_stage(Stage(LETTERS, (), (step,)), NOTHING, waiting)


def links(context: Context) -> dict[str, Path]:
    """Where every link of the store leads, by its path in the store."""
    root = context.store.root
    return {str(p.relative_to(root)): p.resolve() for p in root.rglob("*") if p.is_symlink()}


def test_an_artifact_is_linked_by_name_by_pipeline_and_by_day(context: Context) -> None:
    named = again(context, pipeline="demo")
    step = Letters("ab")
    run_stage(Stage(LETTERS, (), (step,)), NOTHING, named)
    day = f"{datetime.now(UTC).astimezone():%Y-%m-%d}"
    places = ("by-name", "by-pipeline/demo", f"by-date/{day}/demo")
    expected = {f"{place}/letters/{name}": folder(named, step, name) for place in places for name in "ab"}
    assert links(named) == expected
    # As files of the store itself: it can be moved, and mounted elsewhere.
    assert not any(path.readlink().is_absolute() for path in map(named.store.root.joinpath, expected))
    before = {path: named.store.root.joinpath(path).lstat().st_ino for path in expected}
    run_stage(Stage(LETTERS, (), (step,)), NOTHING, named)
    assert before == {path: named.store.root.joinpath(path).lstat().st_ino for path in expected}, "nothing was replaced"


def test_a_name_links_to_the_artifact_used_last(context: Context) -> None:
    first, second = again(context, pipeline="first"), again(context, pipeline="second")
    old, new = Letters("a"), Letters("a", code="2")
    run_stage(Stage(LETTERS, (), (old,)), NOTHING, first)
    run_stage(Stage(LETTERS, (), (new,)), NOTHING, second)
    found = links(context)
    assert found["by-name/letters/a"] == found["by-pipeline/second/letters/a"] == folder(context, new, "a")
    assert found["by-pipeline/first/letters/a"] == folder(context, old, "a")
    run_stage(Stage(LETTERS, (), (old,)), NOTHING, first)
    assert links(context)["by-name/letters/a"] == folder(context, old, "a")


def test_a_store_without_links_still_keeps_artifacts(
    context: Context, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: str) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    step = Letters("a")
    (artifact,) = run_stage(Stage(LETTERS, (), (step,)), NOTHING, context).values()
    assert (artifact.output / "one").exists()
    assert "by-name/letters/a cannot be linked: Operation not supported" in caplog.text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, ""),
        ({"config": {"name": "b", "more": 1}}, "changed: more, name"),
        ({"config": {"name": "a", "deep": {"er": 1, "est": 2}}}, "changed: deep"),
        ({"versions": {"letters": "2"}}, "changed: letters: 1 -> 2"),
        ({"versions": {"letters": "1", "grader": "3"}}, "changed: grader: none -> 3"),
        ({"versions": {}}, "changed: letters: 1 -> none"),
        ({"inputs": {"model": "m", "data": "d2"}}, "changed: input data"),
        (
            {"inputs": {"model": "x"}, "versions": {"letters": "9"}, "config": {}},
            "changed: letters: 1 -> 9, input model, input data and 1 more",
        ),
        ({"inputs": {"model": "x", "data": "y"}, "versions": {"letters": "9"}, "config": {}}, "input data and 1 more"),
    ],
)
def test_a_missing_artifact_is_compared_with_the_last_of_its_name(
    context: Context, change: dict[str, Any], text: str
) -> None:
    """In its config, field by field, its versions and its inputs."""

    class One(Letters):
        wanted: Target

        def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
            return [self.wanted]

    inputs = {"model": "m", "data": "d"}
    step = One("a")
    step.wanted = Target(key("a"), "letters", {"name": "a"}, {"letters": "1"}, inputs)
    run_stage(Stage(LETTERS, (), (step,)), NOTHING, again(context, pipeline="demo"))
    wanted = replace(step.wanted, **change)
    found = check(step, wanted, again(context, pipeline="demo"))
    assert (found.state == "done") == (not change)
    assert text in found.text
    if change:
        assert check(step, wanted, again(context, pipeline="other")).text == "", "another pipeline's are not looked at"


class Priced(Letters):
    """As Letters, on a device."""

    def devices(self, context: Context) -> int | None:
        return 3


def test_the_cost_counts_every_attempt(context: Context) -> None:
    """One that failed, one that was killed, and the last one; two artifacts share each."""
    step = Priced("ab")
    stage = Stage(LETTERS, (), (step,))
    step.fail_after = 1
    with pytest.raises(TrainingError):
        run_stage(stage, NOTHING, context)
    begun = datetime.now(UTC) - timedelta(hours=2)
    for name in "ab":
        slot = context.store.slot("letters", folder(context, step, name).name)
        with slot.attempts_file.open("a") as file:
            file.write(json.dumps({"start": begun.isoformat(), "devices": 3, "parts": 2}) + "\n")
        last = (begun + timedelta(hours=1)).timestamp()
        for path in slot.folder.rglob("*"):
            os.utime(path, (last, last))
    step.fail_after = None
    priced = again(context, resources=ResourcesConfig(prices=Prices(hour=4.0)))
    run_stage(stage, NOTHING, priced)
    for name in "ab":
        slot = context.store.slot("letters", folder(context, step, name).name)
        manifest = slot.manifest()
        assert manifest is not None and not slot.attempts_file.exists()
        cost = manifest.cost
        assert (cost.attempts, cost.cpu_seconds, cost.peak_memory_bytes, cost.energy_kwh) == (3, 1.0, 7, None)
        assert cost.seconds == pytest.approx(1800, abs=5), "half of the hour"
        assert cost.device_hours == pytest.approx(1.5, abs=0.01)
        assert cost.money == pytest.approx(6.0, abs=0.05)
    # Made again on request, an artifact costs what that took.
    run_stage(stage, NOTHING, again(context, rerun=EVERYTHING, since=datetime.now(UTC) + timedelta(seconds=1)))
    cost = json.loads((folder(context, step, "a") / "manifest.json").read_text())["cost"]
    assert cost["attempts"] == 1 and cost["seconds"] < 60 and cost["money"] is None


def test_a_stage_without_devices_has_no_device_hours(context: Context) -> None:
    step = Letters("a")
    run_stage(Stage(LETTERS, (), (step,)), NOTHING, context)
    cost = json.loads((folder(context, step, "a") / "manifest.json").read_text())["cost"]
    assert (cost["device_hours"], cost["energy_kwh"], cost["money"]) == (0.0, None, None)


def test_a_finished_artifact_is_in_the_catalog_and_a_reused_one_not_again(context: Context) -> None:
    step = Letters(["a", "b"])
    run_stage(Stage(LETTERS, (), (step,)), NOTHING, context)
    records = Records(context.store.root)
    times = records.times()
    found = [rows["stages"][0] for rows in records.read(times).values()]
    assert sorted(row["artifact"] for row in found) == ["letters/a", "letters/b"]
    assert {(row["state"], row["kind"], row["run"]) for row in found} == {("made", "letters", None)}
    run_stage(Stage(LETTERS, (), (step,)), NOTHING, again(context))
    assert records.times() == times
    run_stage(Stage(LETTERS, (), (step,)), NOTHING, again(context, rerun=EVERYTHING))
    assert len(records.names()) == 4


def test_a_catalog_that_cannot_be_written_fails_no_stage(context: Context, caplog: pytest.LogCaptureFixture) -> None:
    (context.store.root).mkdir(parents=True)
    (context.store.root / "catalog").write_text("in the way")
    found = run_stage(Stage(LETTERS, (), (Letters(["a"]),)), NOTHING, context)
    assert not found[key("a")].reused
    assert "letters/a is not in the catalog: NotADirectoryError" in caplog.text
    (context.store.root / "catalog").unlink()
    assert fill(context.store).stages.column("artifact").to_pylist() == ["letters/a"]
