import errno
import json
import multiprocessing
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core.artifacts import KnownFiles, Lease, Manifest, Slot, Store, describe_files, fingerprint, outputs_hash
from hpt_core.artifacts.known import remembered
from hpt_core.errors import ConfigError, LockedError, StoreError
from hpt_core.files import remove_leftovers, write_parquet


@pytest.fixture
def known(tmp_path: Path) -> KnownFiles:
    return KnownFiles(tmp_path / "known.json")


def test_a_value_is_remembered_by_what_it_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPT_CACHE", str(tmp_path / "cache"))
    made: list[str] = []

    def make(name: str) -> list[str]:
        made.append(name)
        return [name]

    for name in ("a", "b", "a"):
        assert remembered("kind", [name], lambda name=name: make(name)) == [name]
    assert made == ["a", "b"]
    for file in (tmp_path / "cache" / "kind").iterdir():
        file.write_text("{")  # half of a file
    assert remembered("kind", ["a"], lambda: make("a")) == ["a"] and made == ["a", "b", "a"]
    with pytest.raises(OSError, match="not remembered"):
        remembered("kind", ["c"], lambda: (_ for _ in ()).throw(OSError("not remembered")))
    assert remembered("kind", ["c"], lambda: make("c")) == ["c"], "a failure is not"
    monkeypatch.setenv("HPT_CACHE", "/dev/null/cache")
    assert remembered("kind", ["a"], lambda: make("a")) == ["a"], "a cache that cannot be written is left out"


def made(slot: Slot, known: KnownFiles) -> Manifest:
    write_parquet(slot.output / "rows.parquet", pa.table({"a": [1, 2, 3]}))
    (slot.output / "model").mkdir()
    (slot.output / "model" / "config.json").write_text("{}")
    (slot.work).mkdir()
    (slot.work / "checkpoint").write_text("x")
    files = describe_files(slot.folder, known)
    now = datetime.now(UTC)
    manifest = Manifest(
        stage="train.hpt",
        kind=slot.kind,
        fingerprint=slot.fingerprint,
        inputs={"model": "m"},
        config={"steps": 3},
        versions={},
        files=files,
        outputs={"model": outputs_hash(files, "model")},
        start=now,
        end=now,
    )
    slot.commit(manifest)
    return manifest


def test_the_manifest_makes_the_artifact_exist(tmp_path: Path, known: KnownFiles) -> None:
    slot = Store(tmp_path / "store").slot("train", "f" * 64)
    assert slot.manifest() is None
    manifest = made(slot, known)
    assert slot.manifest() == manifest
    assert not slot.work.exists()
    assert {f.path: f.rows for f in manifest.files} == {"output/model/config.json": None, "output/rows.parquet": 3}
    assert slot.damage(known) == []


def test_leftovers_of_a_killed_writer_are_not_part_of_an_artifact(tmp_path: Path, known: KnownFiles) -> None:
    output = tmp_path / "output"
    for name in (
        ".model.1a2b3c4d.tmp/config.json",
        ".model.1a2b3c4d.old/sub/a.parquet",
        "model/config.json",
        "log.txt",
    ):
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text("x")
    (output / ".log.txt.1a2b3c4d.tmp").write_text("half")
    assert [f.path for f in describe_files(tmp_path, known)] == ["output/log.txt", "output/model/config.json"]
    remove_leftovers(output)
    assert sorted(p.name for p in output.iterdir()) == ["log.txt", "model"]


def test_damage_names_the_file(tmp_path: Path, known: KnownFiles) -> None:
    slot = Store(tmp_path).slot("train", "a" * 64)
    made(slot, known)
    file = slot.output / "rows.parquet"
    whole = file.read_bytes()

    file.write_bytes(whole[:-1])
    assert [d.path for d in slot.damage(known)] == [file]
    file.unlink()
    assert "is missing" in str(slot.damage(known)[0])
    # The same size with another content is seen because the modification time is new.
    file.write_bytes(whole[:-1] + b"?")
    assert "has changed" in str(slot.damage(known)[0])
    file.write_bytes(whole)
    assert slot.damage(known) == []


def test_a_file_that_cannot_be_read_is_no_damage(
    tmp_path: Path, known: KnownFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk or a server that is away for a moment must not make anybody discard an artifact."""
    slot = Store(tmp_path).slot("train", "a" * 64)
    made(slot, known)

    def away(path: Path, **options: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    for name in ("stat", "read_bytes"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, away)
            with pytest.raises(StoreError, match=r"cannot read .*: Input/output error\. Remedy"):
                slot.damage(known)


def test_verify_finds_changes_that_keep_the_modification_time(tmp_path: Path, known: KnownFiles) -> None:
    slot = Store(tmp_path).slot("train", "b" * 64)
    made(slot, known)
    known.save()
    file = slot.output / "model" / "config.json"
    times = file.stat()
    file.write_text("[]")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    code = (
        "from pathlib import Path; from hpt_core.artifacts import *; import sys;"
        f"known = KnownFiles(Path({str(tmp_path / 'known.json')!r}));"
        f"slot = Store({str(tmp_path)!r}).slot('train', 'b' * 64);"
        "print(len(slot.damage(known)), len(slot.damage(known, verify=True)))"
    )
    # A process of its own: one process hashes a file once.
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["0", "1"]


def test_a_broken_manifest_counts_as_missing(tmp_path: Path, known: KnownFiles) -> None:
    slot = Store(tmp_path).slot("train", "c" * 64)
    made(slot, known)
    slot.manifest_file.write_text('{"stage": "train')
    assert slot.manifest() is None


def test_a_copied_manifest_does_not_make_another_artifact(tmp_path: Path, known: KnownFiles) -> None:
    store = Store(tmp_path)
    made(store.slot("train", "d" * 64), known)
    other = store.slot("train", "e" * 64)
    store.slot("train", "d" * 64).folder.rename(other.folder)
    assert "belongs to another artifact" in str(other.damage(known)[0])


def test_outputs_hash_ignores_the_place_of_the_files(tmp_path: Path, known: KnownFiles) -> None:
    hashes = set()
    for name in ("one", "two"):
        slot = Store(tmp_path / name).slot("train", name[0] * 64)
        hashes.add(made(slot, known).outputs["model"])
    assert len(hashes) == 1


def test_outputs_hash_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file at"):
        outputs_hash((), "model")


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_fingerprint_depends_on_values_and_not_on_order(config: dict[str, int | str]) -> None:
    backwards = dict(reversed(config.items()))
    assert fingerprint("train", "1", config, {}, {}) == fingerprint("train", "1", backwards, {}, {})
    assert fingerprint("train", "1", config, {}, {}) != fingerprint("data", "1", config, {}, {})
    assert fingerprint("train", "1", config, {}, {}) != fingerprint("train", "2", config, {}, {})
    models, graders = ({"model": "a"}, {"model": "b"}), ({"grader": "1"}, {"grader": "2"})
    assert fingerprint("train", "1", config, {}, models[0]) != fingerprint("train", "1", config, {}, models[1])
    assert fingerprint("train", "1", config, graders[0], {}) != fingerprint("train", "1", config, graders[1], {})


def test_store_that_cannot_be_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write to the store"):
        store.check_writable()
    for path in ("runs", "runs/below"):
        with pytest.raises(ConfigError, match=rf"store {tmp_path}/{path}: {tmp_path}/runs is a file. Remedy: give a f"):
            Store(tmp_path / path)


def test_known_files_survive_and_notice_changes(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_text("one")
    known = KnownFiles(tmp_path / "cache.json")
    first = known.sha256(file)
    known.save()
    entries = json.loads((tmp_path / "cache.json").read_text())
    entries[str(file)][2] = "remembered"
    (tmp_path / "cache.json").write_text(json.dumps(entries))
    assert KnownFiles(tmp_path / "cache.json").sha256(file) == "remembered"
    file.write_text("other")
    assert KnownFiles(tmp_path / "cache.json").sha256(file) not in (first, "remembered")


def test_known_files_without_a_cache(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("")
    (tmp_path / "file").write_text("x")
    known = KnownFiles(tmp_path / "blocked" / "cache.json")
    assert len(known.sha256(tmp_path / "file")) == 64
    known.save()


def test_lease_excludes_others_and_is_released(tmp_path: Path) -> None:
    one, two = Lease(tmp_path / "lease.json"), Lease(tmp_path / "lease.json")
    with one.held():
        assert not two.try_take()
        assert two.holder() is not None
    assert two.holder() is None
    assert two.try_take()
    two.release()


def test_a_released_lease_leaves_no_file(tmp_path: Path) -> None:
    lease = Lease(tmp_path / "leases" / "x.json")
    for _ in range(2):
        with lease.held():
            assert sorted(p.suffix for p in lease.file.parent.iterdir()) == [".guard", ".json"]
        assert not list(lease.file.parent.iterdir())


def test_lease_is_renewed_while_it_is_held(tmp_path: Path) -> None:
    one, two = Lease(tmp_path / "lease.json", length_s=0.4), Lease(tmp_path / "lease.json", length_s=0.4)
    with one.held():
        time.sleep(1.0)
        assert not two.try_take()
        one.confirm()


def test_an_expired_lease_is_taken_over_and_the_first_holder_fails(tmp_path: Path) -> None:
    one, two = Lease(tmp_path / "lease.json"), Lease(tmp_path / "lease.json", length_s=0.3)
    assert one.try_take()
    assert not two.try_take()
    time.sleep(0.4)
    # The holder is suspended: it lives and keeps its lock, but does not renew the lease.
    assert two.try_take()
    with pytest.raises(LockedError, match="took over"):
        one.confirm()
    one.release()
    two.confirm()
    two.release()


def abandoned(file: Path, **facts: Any) -> None:
    """A lease file that no process holds, with other facts about its holder."""
    lease = Lease(file)
    assert lease.try_take()
    found = json.loads(file.read_text())
    lease.release()
    file.write_text(json.dumps(found | facts))


@pytest.mark.parametrize("facts", [{"kernel": "another"}, {"device": -1}, {"kernel": ""}, {"kernel": None}])
def test_lease_whose_lock_is_not_visible_here_holds_until_it_expires(tmp_path: Path, facts: dict[str, Any]) -> None:
    """A holder on another machine, or with another mount of the store, is not taken for dead."""
    file = tmp_path / "lease.json"
    abandoned(file, **facts)
    assert not Lease(file).try_take()
    holder = Lease(file).holder()
    assert holder is not None and str(os.getpid()) in holder
    with Lease(file, length_s=0.2).held(poll_s=0.05) as lease:
        lease.confirm()


def test_lease_of_an_unknown_kernel_holds_until_it_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    abandoned(tmp_path / "lease.json")
    monkeypatch.setattr("hpt_core.artifacts.lease.KERNEL", tmp_path / "none")
    assert not Lease(tmp_path / "lease.json").try_take()


@pytest.mark.parametrize("hours", [-1, 1])
def test_lease_does_not_depend_on_the_clocks_of_two_machines(tmp_path: Path, hours: int) -> None:
    """A holder elsewhere whose clock is off renews its lease; one that stopped does not."""
    file, reader = tmp_path / "lease.json", Lease(tmp_path / "lease.json", length_s=0.5)
    abandoned(file, kernel="another")
    for i in range(8):
        os.utime(file, (0, time.time() + hours * 3600 + i))
        assert not reader.try_take()
        time.sleep(0.1)
    time.sleep(0.5)
    assert reader.try_take()
    reader.release()


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "7"])
def test_lease_that_cannot_be_read_holds_until_it_expires(tmp_path: Path, text: str) -> None:
    file = tmp_path / "lease.json"
    file.write_text(text)
    assert not Lease(file).try_take()
    with Lease(file, length_s=0.2).held(poll_s=0.05) as lease:
        lease.confirm()


HOLD = (
    "import sys, time, pathlib; from hpt_core.artifacts import Lease;"
    "held = Lease(pathlib.Path(sys.argv[1])).try_take(); print(held, flush=True); held and time.sleep(60)"
)
"""Program that takes a lease and keeps it."""
CONTAINER = ["unshare", "--fork", "--kill-child", "--pid", "--mount-proc"]
"""Command that starts a program with process numbers of its own, on the same host name."""


def in_container() -> list[str]:
    if subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode:
        pytest.skip("may not make a PID namespace")
    return CONTAINER


@pytest.mark.parametrize("contained", [False, True])
def test_lease_of_a_killed_process_is_free_at_once(tmp_path: Path, contained: bool) -> None:
    prefix = in_container() if contained else []
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", HOLD, str(tmp_path / "l.json")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "True\n"
        lease = Lease(tmp_path / "l.json")
        assert not lease.try_take()
        process.kill()
        process.wait()
        start = time.monotonic()
        with lease.held(poll_s=0.05):
            assert time.monotonic() - start < 5


def test_containers_with_one_host_name_exclude_each_other(tmp_path: Path) -> None:
    """Each sees only its own process numbers, so neither finds the process of the other."""
    command = [*in_container(), sys.executable, "-c", HOLD, str(tmp_path / "l.json")]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "True\n"
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
        holder.kill()
        holder.wait()


def test_renewal_is_tried_again_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A network file system that fails for a moment does not end a run of hours."""
    lease, reader = Lease(tmp_path / "lease.json", length_s=1.2), Lease(tmp_path / "lease.json", length_s=1.2)
    utime, failures = os.utime, []

    def failing(*arguments: Any) -> None:
        if len(failures) < 2:
            failures.append(arguments)
            raise OSError(116, "Stale file handle")
        utime(*arguments)

    monkeypatch.setattr("hpt_core.artifacts.lease.os.utime", failing)
    with lease.held():
        for _ in range(32):
            assert not reader.try_take()
            time.sleep(0.05)
        lease.confirm()
    assert len(failures) == 2
    assert caplog.text.count(f"{lease.file} cannot be renewed (Stale file handle)") == 1


def test_lease_in_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot lock .*file locks"):
        Lease(tmp_path / "file" / "lease.json").try_take()


def _count(folder: str, rounds: int) -> None:
    file = Path(folder) / "count"
    for _ in range(rounds):
        with Lease(Path(folder) / "lease.json", length_s=1.0).held(poll_s=0.001):
            value = int(file.read_text())
            time.sleep(0.002)
            file.write_text(str(value + 1))


@pytest.mark.slow
def test_lease_has_one_holder_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    # A stale lease to begin with: everyone wants to take it over at once.
    (tmp_path / "lease.json").write_text(json.dumps({"pid": 1, "host": "gone", "expires": 0, "token": "old"}))
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count, args=(str(tmp_path), 10)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert (tmp_path / "count").read_text() == "30"


def test_waiting_for_a_lease_is_reported_and_can_be_cancelled(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def waiting(text: str) -> None:
        assert "producing the same artifact" in text
        raise Stop

    holder = Lease(tmp_path / "lease.json")
    with holder.held(), pytest.raises(Stop), Lease(tmp_path / "lease.json").held(waiting):
        pass
