"""A store at a URL, on an S3-compatible server. Every machine is a cache folder of its own."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hpt_core.artifacts import KnownFiles, Manifest, Slot, Store, describe_files, outputs_hash
from hpt_core.artifacts.cleanup import Contents, Policy, clean
from hpt_core.artifacts.mirror import Mirror
from hpt_core.artifacts.progress import Work, shared, works
from hpt_core.artifacts.remote import Remote
from hpt_core.artifacts.remote_lease import RemoteLease
from hpt_core.errors import ConfigError, LockedError, StoreError
from tests.s3 import S3

pytestmark = pytest.mark.xdist_group("s3")

FINGERPRINT = "f" * 64
Machine = Callable[[str], Store]


@pytest.fixture
def machine(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """The store as a machine with this name sees it. All see the same bucket."""
    url = s3.bucket()

    def store(name: str) -> Store:
        monkeypatch.setenv("HPT_CACHE", str(tmp_path / name))
        return Store(url)

    return store


def fill(slot: Slot, text: str = "weights") -> Manifest:
    """Write output/ and work/, and describe them."""
    (slot.output / "model").mkdir(parents=True)
    (slot.output / "model" / "model.bin").write_text(text)
    (slot.output / "log.txt").write_text("a log")
    slot.log.write_text("what it did")
    files, now = describe_files(slot.folder, KnownFiles()), datetime.now(UTC)
    return Manifest(
        stage="train.hpt",
        kind=slot.kind,
        fingerprint=slot.fingerprint,
        inputs={},
        config={},
        versions={},
        files=files,
        outputs={"model": outputs_hash(files, "model")},
        start=now,
        end=now,
    )


def produce(store: Store, fingerprint: str = FINGERPRINT, text: str = "weights") -> Slot:
    """Make an artifact as a stage does."""
    slot = store.slot("train", fingerprint)
    manifest = fill(slot, text)
    for work in works([slot], keeps_output=True):
        work.adopt()
        work.publish()
    slot.commit(manifest)
    return slot


def test_another_machine_finds_an_artifact_and_fetches_only_what_it_reads(s3: S3, machine: Machine) -> None:
    one = produce(machine("one"))
    store = machine("two")
    slot, mark = store.slot("train", FINGERPRINT), s3.mark()
    assert slot.manifest() is None
    store.refresh()
    assert slot.manifest() == one.manifest()
    assert slot.damage(KnownFiles()) == []
    assert slot.where("model/model.bin") == f"{store.address}/train/{FINGERPRINT}/output/model/model.bin"
    assert not [path for method, path in s3.requests(mark) if method == "GET" and "/output/" in path]
    slot.fetch("model")
    assert (slot.output / "model" / "model.bin").read_text() == "weights"
    assert not (slot.output / "log.txt").exists()
    slot.fetch_log()
    assert slot.log.read_text() == "what it did"
    mark = s3.mark()
    slot.fetch("model")
    assert not s3.requests(mark)
    assert slot.where("model/model.bin") == str(slot.output / "model" / "model.bin")


def test_fetching_restores_exactly_the_files_of_the_manifest(machine: Machine) -> None:
    slot = produce(machine("one"))
    (slot.output / "model" / "model.bin").write_text("changed")
    (slot.output / "model" / "stale.bin").write_text("of another artifact")
    slot.fetch("model")
    assert sorted(p.name for p in (slot.output / "model").iterdir()) == ["model.bin"]
    assert (slot.output / "model" / "model.bin").read_text() == "weights"


def test_damage_is_found_by_size_by_verification_and_when_a_file_is_fetched(machine: Machine) -> None:
    slot = produce(machine("one"))
    remote, name = slot.mirror.remote, f"{slot.place}/output/model/model.bin"  # type: ignore[union-attr]
    remote.write(name, b"WEIGHTS")
    store = machine("two")
    store.refresh()
    slot = store.slot("train", FINGERPRINT)
    assert slot.damage(KnownFiles()) == []
    (found,) = slot.damage(KnownFiles(), verify=True)
    assert "has changed in s3://" in str(found)
    with pytest.raises(StoreError, match=r"differs from its manifest\. Remedy: run the pipeline with --verify"):
        slot.fetch("model")
    assert not (slot.output / "model" / "model.bin").exists()
    remote.write(name, b"short")
    store.refresh()
    assert "has 5 bytes instead of 7" in str(slot.damage(KnownFiles())[0])
    remote.remove([name])
    store.refresh()
    assert "is missing in s3://" in str(slot.damage(KnownFiles())[0])
    with pytest.raises(StoreError, match="is missing"):
        slot.fetch("model")


def test_an_artifact_that_is_produced_again_replaces_the_objects(machine: Machine) -> None:
    produce(machine("one"))
    store = machine("two")
    store.refresh()
    slot = store.slot("train", FINGERPRINT)
    slot.fetch()
    slot.set_aside()
    slot.discard()
    first = machine("one")
    first.refresh()
    assert first.slot("train", FINGERPRINT).manifest() is None
    produce(machine("two"), text="other weights")
    first.refresh()
    again = first.slot("train", FINGERPRINT)
    assert again.damage(KnownFiles(), verify=True) == []
    again.fetch()
    assert (again.output / "model" / "model.bin").read_text() == "other weights"


def test_names_and_pins_are_shared(machine: Machine) -> None:
    store = machine("one")
    slot = produce(store)
    store.link("demo", "train.hpt", slot.folder)
    store.pin(slot, "kept")
    other = machine("two")
    other.refresh()
    assert other.is_used
    assert other.pipelines() == ["demo"]
    assert {name: found.place for name, found in other.names("demo").items()} == {"train.hpt": slot.place}
    assert other.named("demo", "train.hpt") == slot.manifest()
    other.refresh()
    assert other.named("demo", "train.hpt") == slot.manifest()
    assert [pin.place for pin in other.pins()] == [slot.place]
    assert other.unpin(other.slot("train", FINGERPRINT))
    store.refresh()
    assert store.pins() == []


def test_runs_are_shared_and_a_cleanup_keeps_what_they_use(machine: Machine) -> None:
    store = machine("one")
    kept, gone = produce(store), produce(store, "e" * 64)
    store.link("demo", "train.hpt", kept.folder)
    store.link("demo", "train.old", gone.folder)
    log = store.history.begin("demo", {"steps": 3})
    log.refer({"train.hpt": kept.place})
    other = machine("two")
    other.refresh()
    (run,) = other.history.runs()
    assert (run.outcome, run.artifacts) == ("running", {"train.hpt": kept.place})
    found = Contents(other).cleanup(Policy())
    assert [item.place for item in found.remove] == [gone.place]
    assert found.freed == sum(info.size for info in other.mirror.under(gone.place).values())  # type: ignore[union-attr]
    # A run that begins to use it after the cleanup was planned keeps it.
    late = store.history.begin("demo", {})
    late.refer({"train.old": gone.place})
    assert [removed for _, removed in clean(other, found)] == [False]
    store.refresh()
    assert gone.manifest() is not None
    late.end("failed")
    store.history.forget(late.record)
    found = Contents(other).cleanup(Policy())
    assert [removed for _, removed in clean(other, found)] == [True]
    store.refresh()
    assert gone.manifest() is None
    assert [slot.place for slot in Store(store.address).slots()] == [kept.place]
    assert set(store.names("demo")) == {"train.hpt"}
    log.end("done")
    assert [run.outcome for run in other.history.runs()] == ["done"]


def test_a_hidden_manifest_is_shown_again(machine: Machine) -> None:
    slot = produce(machine("one"))
    slot.hide()  # and the process that removes it is killed
    other = machine("two")
    other.refresh()
    assert other.slot("train", FINGERPRINT).manifest() is None
    other.remove_leftovers()
    other.refresh()
    assert other.slot("train", FINGERPRINT).manifest() is not None
    assert not [n for n in other.mirror.under(slot.place) if "hidden" in n]  # type: ignore[union-attr]


UPLOAD = """
import sys
from hpt_core.artifacts import Store
from hpt_core.artifacts.progress import works
slot = Store(sys.argv[1]).slot("train", "f" * 64)
(work,) = works([slot], True)
work.adopt()
work.publish()
sys.exit("it was not killed in time")
"""


@pytest.mark.slow
def test_a_killed_upload_leaves_no_artifact_and_the_next_one_completes_it(machine: Machine) -> None:
    store = machine("one")
    slot = store.slot("train", FINGERPRINT)
    slot.output.mkdir(parents=True)
    for number in range(400):
        (slot.output / f"part-{number:03d}").write_bytes(os.urandom(50_000))
    process = subprocess.Popen([sys.executable, "-c", UPLOAD, store.address])
    remote = Remote(store.address)
    while not (begun := remote.list(f"{slot.place}/output")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9
    assert 0 < len(begun) < 400
    other = machine("two")
    other.refresh()
    assert other.slot("train", FINGERPRINT).manifest() is None
    made = produce(other)
    assert sorted(remote.list(f"{slot.place}/output")) == sorted(
        f"{slot.place}/{f.path}" for f in made.manifest().files
    )  # type: ignore[union-attr]
    assert made.damage(KnownFiles(), verify=True) == []


# Work in progress


def write(slot: Slot, files: dict[str, str]) -> None:
    for name, text in files.items():
        (slot.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (slot.folder / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def upload(work: Work) -> None:
    assert work.upload(lambda: False)
    work.settle()


def begin(store: Store) -> tuple[Slot, Work]:
    slot = store.slot("train", FINGERPRINT)
    (work,) = works([slot], keeps_output=True)
    work.adopt()
    return slot, work


CHECKPOINT = {
    "work/checkpoints/step-1/state.json": "{}",
    "work/checkpoints/step-1/tensors/a": "a",
    "work/checkpoints/step-1/tensors/.metadata": "b",
}


def test_another_machine_continues_the_work(machine: Machine) -> None:
    slot, work = begin(machine("one"))
    write(slot, {**CHECKPOINT, "work/log": "1", "output/part": "x", "log.txt": "begun", "work/.a.tmp": "in part"})
    write(slot, {"work/checkpoints/step-0.damaged/state.json": "{}"})
    upload(work)
    assert machine("two").slot("train", FINGERPRINT).is_begun(False) is False
    store = machine("two")
    store.refresh()
    assert store.slot("train", FINGERPRINT).is_begun(False)
    other, _ = begin(store)
    found = contents(other.folder)
    del found[".work.json"]
    assert found == {
        **CHECKPOINT, "work/log": "1", "output/part": "x", "log.txt": "begun",
    }  # fmt: skip


def test_work_counts_only_when_it_is_complete(machine: Machine) -> None:
    slot, work = begin(machine("one"))
    write(slot, CHECKPOINT)
    stopped = iter([False, *[True] * 100])
    assert not work.upload(lambda: next(stopped))  # killed after one file
    other, _ = begin(machine("two"))
    assert contents(other.work) == {}


def test_a_machine_that_comes_back_continues_the_newer_work_and_nothing_is_mixed(machine: Machine) -> None:
    slot, first = begin(machine("one"))
    write(slot, {**CHECKPOINT, "work/log": "1", "work/only-here": "x"})
    upload(first)
    other, second = begin(machine("two"))
    (other.work / "only-here").unlink()
    write(other, {"work/log": "1 2", "work/checkpoints/step-2/state.json": "{}"})
    upload(second)
    write(slot, {"work/log": "1 and something else"})
    upload(first)  # it has lost its lease, and does not know it yet
    third, _ = begin(machine("three"))
    assert contents(third.work) == contents(other.work)
    back, _ = begin(machine("one"))
    assert contents(back.work) == contents(other.work)


def test_an_attempt_after_a_crash_keeps_the_newer_files_here_and_copies_what_is_in_the_store(
    s3: S3, machine: Machine
) -> None:
    slot, work = begin(machine("one"))
    write(slot, {**CHECKPOINT, "work/log": "1"})
    upload(work)
    write(slot, {"work/log": "1 2"})
    slot, again = begin(machine("one"))
    assert (slot.work / "log").read_text() == "1 2"
    mark = s3.mark()
    upload(again)
    # A copy is a PUT as well, but of an object that is in the store; the bodies are not sent again.
    stored = Remote(machine("x").address).list(f"{slot.place}/work")
    names = {name.rsplit("/", 1)[1] for name in stored}
    assert names == {"current.json", "state.json", "a", ".metadata", "log"}
    assert len(stored) == 5
    assert s3.requests(mark)
    _, other = begin(machine("two"))
    assert contents(machine("two").slot("train", FINGERPRINT).work) == contents(slot.work)
    assert other is not None


def test_old_checkpoints_are_removed_from_the_store_and_all_work_when_the_artifact_exists(machine: Machine) -> None:
    slot, work = begin(machine("one"))
    write(slot, CHECKPOINT)
    upload(work)
    for name in CHECKPOINT:
        (slot.folder / name).unlink()
    write(slot, {"work/checkpoints/step-2/state.json": "{}"})
    upload(work)
    remote = Remote(machine("one").address)
    assert not [name for name in remote.list(f"{slot.place}/work") if "step-1" in name]
    manifest = fill(slot)
    upload(work)
    work.publish()
    slot.commit(manifest)
    assert remote.list(f"{slot.place}/work") == {}
    assert slot.damage(KnownFiles(), verify=True) == []


def test_work_is_uploaded_while_a_stage_runs_and_ends_with_its_lease(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hpt_core.artifacts.progress.EVERY_S", 0.05)
    store = machine("one")
    slot, work = begin(store)
    lost = threading.Event()

    def confirm() -> None:
        if lost.is_set():
            raise LockedError("another run took over x", "")

    write(slot, {"work/log": "1"})
    with shared([work], confirm):
        until(lambda: Remote(store.address).read(f"{slot.place}/work/current.json"))
        lost.set()
        until(lambda: "no longer uploaded: another run took over" in caplog.text)
        write(slot, {"work/new": "1"})
    assert not [name for name in Remote(store.address).list(f"{slot.place}/work") if name.endswith("/new")]


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


# Leases


TAKE = """
import sys, time
from hpt_core.artifacts import Store
lease = Store(sys.argv[1]).named_lease("x")
lease.length_s = float(sys.argv[2])
held = lease.try_take()
print(held, flush=True)
held and time.sleep(600)
"""


def holder(store: Store, cache: Path, length_s: float = 60) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", TAKE, store.address, str(length_s)]
    environment = {**os.environ, "HPT_CACHE": str(cache)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_of_processes_that_race_for_a_lease_one_gets_it(machine: Machine, tmp_path: Path) -> None:
    store = machine("one")
    processes = [holder(store, tmp_path / f"m{number}") for number in range(4)]
    try:
        said = [process.stdout.readline().strip() for process in processes]  # type: ignore[union-attr]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert sorted(said) == ["False", "False", "False", "True"]


@pytest.mark.slow
def test_threads_that_race_for_a_lease_again_and_again_never_share_it(machine: Machine, tmp_path: Path) -> None:
    url, taken, most, failures = machine("one").address, [0], [0], list[BaseException]()
    lock = threading.Lock()
    mirrors = []
    for number in range(3):
        machine(f"m{number}")
        mirrors.append(Mirror(url))

    def work(mirror: Mirror) -> None:
        try:
            for _ in range(5):
                with mirror.lease("x").held(poll_s=0.01) as lease:
                    with lock:
                        taken[0] += 1
                        most[0] = max(most[0], taken[0])
                    lease.confirm()
                    with lock:
                        taken[0] -= 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(mirror,)) for mirror in mirrors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert most == [1]


@pytest.mark.slow
def test_the_lease_of_a_killed_process_is_free_at_once_here_and_expires_elsewhere(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = machine("one")
    process = holder(store, tmp_path / "one")
    assert process.stdout.readline() == "True\n"  # type: ignore[union-attr]
    assert not store.named_lease("x").try_take()
    assert f"process {process.pid}" in (store.named_lease("x").holder() or "")
    elsewhere = machine("two").named_lease("x")
    assert f"process {process.pid}" in (elsewhere.holder() or "")
    process.kill()
    process.communicate()
    assert store.named_lease("x").holder() is None
    assert not elsewhere.try_take()  # another machine cannot know it yet
    elsewhere.length_s = 1.0
    with elsewhere.held(poll_s=0.05) as lease:
        assert f"taking over the lease of process {process.pid}" in caplog.text
        lease.confirm()
        assert not machine("three").named_lease("x").try_take()
    process = holder(store, tmp_path / "one")
    assert process.stdout.readline() == "True\n"  # type: ignore[union-attr]
    process.kill()
    process.communicate()
    last = store.named_lease("x")
    assert last.try_take()
    last.release()


def test_a_holder_that_was_replaced_finds_out_and_changes_nothing(machine: Machine) -> None:
    old = machine("one").named_lease("x")
    assert isinstance(old, RemoteLease)
    assert old.try_take()
    old._stop.set()  # it is suspended
    new = machine("two").named_lease("x")
    new.length_s = 0.5
    with new.held(poll_s=0.05):
        with pytest.raises(LockedError, match="another run took over x"):
            old.confirm()
        old.release()
        new.confirm()
    assert machine("three").named_lease("x").holder() is None


@pytest.mark.slow
def test_a_lease_that_is_renewed_lives_and_time_without_the_store_does_not_count(s3: S3, machine: Machine) -> None:
    store = machine("one")
    held, reader = store.named_lease("x"), machine("two").named_lease("x")
    held.length_s = 1.5
    reader.length_s = 6.0
    assert held.try_take()
    for _ in range(10):
        assert not reader.try_take()
        time.sleep(0.3)
    with s3.away():
        time.sleep(8)
    assert not reader.try_take()
    held.confirm()
    held.release()
    assert reader.try_take()
    reader.release()
    assert Remote(store.address).list("leases") == {}


@pytest.mark.slow
def test_leases_that_nobody_holds_are_removed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    held, dead = machine("one").named_lease("held"), machine("one").named_lease("dead")
    assert held.try_take()
    assert dead.try_take()
    dead._stop.set()  # type: ignore[attr-defined]
    monkeypatch.setattr("hpt_core.artifacts.remote_lease.ABANDONED_S", 2)
    store = machine("two")
    until(lambda: store.named_lease("dead").is_stale(3))
    held._remote.write(f"leases/held/{held._token}.beat", b"renewed")  # type: ignore[attr-defined]
    store.remove_leftovers()
    assert {name.split("/")[1] for name in Remote(store.address).list("leases")} == {"held"}
    held.release()
    dead.release()


# Errors


@pytest.mark.slow
def test_a_store_that_is_away_for_a_while_fails_nothing(s3: S3, machine: Machine) -> None:
    store = machine("one")
    with s3.away():
        thread = threading.Thread(target=produce, args=(store,))
        thread.start()
        thread.join(5)
        assert thread.is_alive()
    thread.join(120)
    assert store.slot("train", FINGERPRINT).damage(KnownFiles(), verify=True) == []


def test_a_store_that_stays_away_is_named_with_the_remedy(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    store = Store("s3://bucket/prefix")
    store.mirror.remote.patience_s = 1  # type: ignore[union-attr]
    with pytest.raises(StoreError, match=r"the store s3://bucket/prefix does not answer: .* run again to continue"):
        store.refresh()


def test_a_bucket_that_does_not_exist_is_an_error(s3: S3) -> None:
    with pytest.raises(StoreError, match=r"cannot write to s3://no-such-bucket/x.*create the bucket"):
        Store("s3://no-such-bucket/x").check_writable()


def test_names_that_lead_out_of_the_scratch_folder_are_ignored(machine: Machine) -> None:
    store = machine("one")
    remote = Remote(store.address)
    remote.write("by-name/x", b"../../../etc")
    remote.write("by-name/a/../../../escaped", f"train/{FINGERPRINT}".encode())
    remote.write("by-name/good", f"train/{FINGERPRINT}".encode())
    store.refresh()
    assert set(store.names()) == {"good"}


@pytest.mark.parametrize(
    ("url", "cause", "remedy"),
    [
        ("s3://key:secret@bucket/x", "s3://***@bucket/x holds credentials", "AWS_ACCESS_KEY_ID"),
        ("gs://bucket/x", "the client for gs://bucket/x is not installed", "install"),
        ("nonsense://bucket/x", "Protocol not known: nonsense", "s3://"),
    ],
)
def test_urls_that_cannot_be_a_store(url: str, cause: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as error:
        Store(url)
    assert cause in error.value.cause
    assert remedy in error.value.remedy
    assert "secret" not in str(error.value)
