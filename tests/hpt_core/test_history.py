"""Records of runs, and what may be removed because nothing refers to it."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hpt_core.artifacts import Cost, KnownFiles, Manifest, Slot, StageRecord, Store, describe_files
from hpt_core.artifacts.cleanup import Cleanup, Contents, Policy, clean
from hpt_core.artifacts.history import STALE_S, RunRecord
from hpt_core.artifacts.lease import KERNEL

DAY = timedelta(days=1)
EVERY_RUN = Policy()


def made(store: Store, kind: str, name: str, *inputs: str, pipeline: str = "", size: int = 10_000) -> str:
    """An artifact whose output has the hash "KIND NAME"; its place in the store."""
    slot = store.slot(kind, (name.encode().hex() + "0" * 64)[:64])
    slot.output.mkdir(parents=True)
    (slot.output / "file").write_bytes(os.urandom(size))
    now = datetime.now(UTC)
    slot.commit(
        Manifest(
            stage=f"{kind}.{name}",
            kind=kind,
            fingerprint=slot.fingerprint,
            inputs={str(n): hash_ for n, hash_ in enumerate(inputs)},
            config={},
            versions={},
            files=describe_files(slot.folder, KnownFiles(store.root / "known.json")),
            outputs={kind: f"{kind} {name}"},
            start=now,
            end=now,
            cost=Cost(),
        )
    )
    if pipeline:
        store.link(pipeline, f"{kind}.{name}", slot.folder)
    return f"{slot.kind}/{slot.fingerprint}"


def ran(
    store: Store, pipeline: str, places: list[str], age: timedelta = timedelta(), outcome: Any = "done"
) -> RunRecord:
    """A run that ended some time ago."""
    log = store.history.begin(pipeline, {"seed": 1})
    log.refer({f"key {n}": place for n, place in enumerate(places)})
    log.end(outcome)
    file = store.history.folder / f"{log.record.id}.json"
    record = json.loads(file.read_text())
    for field in ("start", "end"):
        record[field] = (datetime.fromisoformat(record[field]) - age).isoformat()
    file.write_text(json.dumps(record))
    return next(run for run in store.history.runs() if run.id == log.record.id)


def removed(store: Store, policy: Policy = EVERY_RUN) -> set[str]:
    return {item.place for item in planned(store, policy).remove}


def planned(store: Store, policy: Policy) -> Cleanup:
    return Contents(store, ("report",)).cleanup(policy)


def test_a_run_is_recorded_from_its_start_to_its_end(tmp_path: Path) -> None:
    history = Store(tmp_path).history
    log = history.begin("demo", {"seed": 1}, options={"only": ["train"]})
    log.refer({"train.a": "train/1"})
    log.refer({"train.a": "train/1", "report": "report/2"})
    log.note("train.a", StageRecord(what="started"))
    (running,) = history.runs()
    assert (running.outcome, running.end, running.stages["train.a"].what) == ("running", None, "started")
    log.note("train.a", StageRecord(what="made", seconds=2.5))
    assert running.artifacts == {"train.a": "train/1", "report": "report/2"}
    log.end("failed", "the disk is full")
    (ended,) = history.runs()
    assert (ended.outcome, ended.error, ended.pid) == ("failed", "the disk is full", os.getpid())
    assert ended.end is not None and ended.end >= ended.start
    assert ended.artifacts == running.artifacts
    assert ended.stages["train.a"].seconds == 2.5
    assert [path.name for path in history.folder.iterdir()] == [f"{ended.id}.json"]
    assert not list((tmp_path / ".leases").iterdir())


BEGIN = """
import sys, time
from hpt_core.artifacts import Store
log = Store(sys.argv[1]).history.begin("demo", {})
log.refer({"train.a": "train/1"})
print("begun", flush=True)
time.sleep(60)
"""


def test_a_killed_run_has_died(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", BEGIN, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        assert [run.outcome for run in Store(tmp_path).history.runs()] == ["running"]
        process.send_signal(signal.SIGKILL)
    with (tmp_path / "history" / f"{Store(tmp_path).history.runs()[0].id}.jsonl").open("a") as refs:
        refs.write('{"half": ')
    (run,) = Store(tmp_path).history.runs()
    assert (run.outcome, run.artifacts) == ("died", {"train.a": "train/1"})


def test_a_run_on_another_machine_has_died_once_its_lease_is_old(tmp_path: Path) -> None:
    history = Store(tmp_path).history
    log = history.begin("demo", {})
    (lease,) = (tmp_path / ".leases").glob("*.json")
    copied = lease.with_suffix(".copy")
    # Written by another kernel, whose locks are not visible here.
    copied.write_text(json.dumps(json.loads(lease.read_text()) | {"kernel": "another"}))
    copied.replace(lease)
    assert history.runs()[0].outcome == "running"
    past = datetime.now(UTC).timestamp() - STALE_S - 1
    os.utime(lease, (past, past))
    assert history.runs()[0].outcome == "died"
    log.end("done")


def test_what_a_run_a_leaderboard_or_a_pin_refers_to_is_kept_with_its_inputs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    model, train = made(store, "model", "a"), made(store, "train", "a", "model a")
    other, pinned = made(store, "model", "b"), made(store, "train", "b", "model b")
    alone = made(store, "train", "c", "model a")
    samples, report = made(store, "samples", "d", "train d"), made(store, "report", "d", "samples d", pipeline="old")
    ran(store, "demo", [train])
    ran(store, "old", [], outcome="failed")
    store.pin(store.slot(*pinned.split("/")), "for the paper")
    assert removed(store) == {alone}
    assert removed(store, Policy(older_than=DAY)) == set(), "what is young stays"
    contents = Contents(store, ("report",))
    assert contents.of_pipeline("demo") == {model, train}
    assert contents.of_pipeline("old") == {samples, report}
    assert store.unpin(store.slot(*pinned.split("/"))) and not store.unpin(store.slot(*pinned.split("/")))
    assert removed(store) == {alone, other, pinned}


def test_runs_are_forgotten_by_age_pipeline_and_size(tmp_path: Path) -> None:
    store = Store(tmp_path)
    places = {name: made(store, "train", name, size=100_000) for name in "abcdef"}
    runs = {
        name: ran(store, pipeline, [places[name]], age * DAY, outcome)
        for name, pipeline, age, outcome in (
            ("a", "one", 50, "done"),
            ("b", "two", 40, "done"),
            ("c", "one", 30, "failed"),
            ("d", "one", 20, "done"),
            ("e", "two", 10, "done"),
        )
    }
    for item in ("a", "b", "c", "f"):
        past = (datetime.now(UTC) - 45 * DAY).timestamp()
        for path in [
            *store.slot(*places[item].split("/")).folder.rglob("*"),
            store.slot(*places[item].split("/")).folder,
        ]:
            os.utime(path, (past, past))

    def forgotten(**policy: Any) -> tuple[set[str], set[str]]:
        found = planned(store, Policy(**policy))
        ids, at = {run.id: name for name, run in runs.items()}, {place: name for name, place in places.items()}
        return {ids[run.id] for run in found.forget}, {at[item.place] for item in found.remove}

    assert forgotten() == (set(), {"f"})
    assert forgotten(older_than=35 * DAY) == ({"a", "b"}, {"a", "b", "f"})
    assert forgotten(pipeline="one") == ({"a", "c"}, {"a", "c", "f"})
    assert forgotten(pipeline="one", keep_runs=0) == ({"a", "c", "d"}, {"a", "c", "d", "f"})
    assert forgotten(pipeline="two", keep_runs=2) == (set(), {"f"})
    size = planned(store, Policy()).size
    assert forgotten(most_bytes=size) == (set(), {"f"})
    assert forgotten(most_bytes=size - 150_000) == ({"a"}, {"a", "f"})
    assert forgotten(most_bytes=0)[0] == {"a", "b", "c"}, "the latest completed run of each pipeline stays"


def test_removal_frees_what_was_said_and_leaves_no_trace(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept, gone = made(store, "train", "a", pipeline="demo"), made(store, "train", "b", pipeline="demo", size=200_000)
    ran(store, "demo", [gone], 3 * DAY)
    ran(store, "demo", [kept])
    (tmp_path / "train" / ".removed-123").mkdir()
    for name in ("dead.json", "dead.guard", "alone.guard"):
        (tmp_path / ".leases" / name).touch()
    here = {"kernel": KERNEL.read_text().strip(), "device": tmp_path.stat().st_dev}
    (tmp_path / ".leases" / "dead.json").write_text(json.dumps({"token": "x", **here}))
    found = planned(store, Policy(pipeline="demo"))
    assert 200_000 <= found.freed < 230_000 and found.kept == 1
    assert [(item.place, done) for item, done in clean(store, found)] == [(gone, True)]
    assert {path.name for path in (tmp_path / "train").iterdir()} == {kept.partition("/")[2]}
    assert set(store.names("demo")) == set(store.names()) == {"train.a"}
    assert len(store.history.runs()) == 1
    assert not list((tmp_path / ".leases").iterdir())
    assert planned(store, Policy(pipeline="demo")).remove == []


def test_what_a_run_in_progress_uses_or_makes_is_not_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    used, making, gone, reused = (made(store, "train", name) for name in "abcd")
    found = planned(store, Policy())
    # All are to be removed. Then a run uses one and ends, another begins to use one, and one is being made.
    ran(store, "demo", [reused])
    log = store.history.begin("demo", {})
    log.refer({"train.a": used})
    with store.lease(store.slot(*making.split("/"))).held():
        done = {item.place: was for item, was in clean(store, found)}
    assert done == {used: False, making: False, gone: True, reused: False}
    for place in (used, making, reused):
        assert Slot.damage(store.slot(*place.split("/")), KnownFiles(tmp_path / "known.json")) == []
    assert used not in removed(store) and making in removed(store)
    log.end("done")


def test_a_removal_that_was_killed_leaves_its_artifact(tmp_path: Path) -> None:
    store = Store(tmp_path)
    slot = store.slot(*made(store, "train", "a").split("/"))
    ran(store, "demo", [f"{slot.kind}/{slot.fingerprint}"])
    slot.manifest_file.rename(slot.folder / "manifest.hidden.json")
    assert list(clean(store, planned(store, Policy()))) == []
    assert slot.manifest() is not None and not list((tmp_path / ".leases").iterdir())


def test_a_store_of_before_runs_were_recorded_keeps_what_its_pipelines_used_last(tmp_path: Path) -> None:
    store = Store(tmp_path)
    named, other = made(store, "train", "a", pipeline="old"), made(store, "train", "b")
    assert removed(store) == {other}
    assert removed(store, Policy(older_than=timedelta())) == {other}
    assert named not in removed(store, Policy(most_bytes=0))


def test_a_record_that_cannot_be_read_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    run = ran(store, "demo", [])
    (store.history.folder / "broken.json").write_text("{")
    assert [found.id for found in store.history.runs()] == [run.id]
    assert "broken.json cannot be read" in caplog.text
