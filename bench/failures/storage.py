"""Cases of a store: its disk, a file system of its own on a loop device, is full or read-only; S3 (moto) is away."""

import contextlib
import errno
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.failures.bed import Bed, Row
from bench.failures.by_hand import TRAIN
from benchmarks.site.facts import public
from tests.flows.pipelines import until
from tests.s3 import started

SIZE = 2 * 2**30
"""Bytes of the file system. Its image is sparse."""
AWAY_S = 60
"""Seconds in which the store on S3 does not answer."""


class Disk:
    """An ext4 file system in a file, mounted as the pipeline's store. Needs root and loop devices."""

    def __init__(self, bed: Bed) -> None:
        self._image, self.root = bed.folder / "disk.img", bed.hpt.store

    def __enter__(self) -> "Disk":
        with self._image.open("wb") as file:
            file.truncate(SIZE)
        _call("mkfs.ext4", "-q", "-m", "0", str(self._image))
        before = self.root.rename(self.root.with_name("before"))
        self.root.mkdir()
        self.mount()
        shutil.copytree(before, self.root, dirs_exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        _call("umount", "--lazy", str(self.root))

    def mount(self) -> None:
        """Mount it. After an error of the device, Linux makes it read-only, as with errors=remount-ro in /etc/fstab."""
        _call("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.root))

    def fill(self) -> Path:
        """Leave no block free. Returns the file that takes them."""
        filler = self.root / "filler"
        with filler.open("wb") as file:
            for size in (2**26, 2**20, 2**12):
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
        return filler

    def break_down(self) -> None:
        """Report an error of the device. From now on every write fails, also to files that are open."""
        device = subprocess.run(
            ["findmnt", "-no", "SOURCE", str(self.root)], check=True, capture_output=True, text=True
        ).stdout.strip()
        (Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error").write_text("1", encoding="ascii")

    def repair(self) -> None:
        """Check the file system and mount it again, writable."""
        _call("umount", str(self.root))
        # 1: errors were corrected, as this one.
        subprocess.run(["fsck.ext4", "-p", str(self._image)], check=False, capture_output=True)
        self.mount()


def _call(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(errno.EPERM, f"{' '.join(command)}: {done.stderr.strip()}")


def is_possible() -> bool:
    """Whether this process may mount file systems."""
    return os.geteuid() == 0 and all(map(shutil.which, ("mkfs.ext4", "findmnt"))) and Path("/dev/loop-control").exists()


def full(bed: Bed) -> Iterator[Row]:
    """The disk is full in the middle of a training."""
    yield from _case(bed, "full disk", lambda disk: disk.fill(), lambda disk, file: file.unlink())


def read_only(bed: Bed) -> Iterator[Row]:
    """The store becomes read-only in the middle of a training."""
    yield from _case(bed, "store becomes read-only", lambda disk: disk.break_down(), lambda disk, _: disk.repair())


def away(bed: Bed) -> Iterator[Row]:
    """The store on S3 answers nothing for a minute in the middle of a training, and the run is not started again."""
    bed.pace(4)
    with started(bed.folder) as s3:
        bed.hpt.environment |= s3.environment
        run = bed.start("--store", s3.bucket())
        scratch = bed.folder / "cache" / "stores"
        # On this machine, the store is its scratch folder.
        bed.hpt.store = until("the store has a scratch folder", lambda: next(scratch.glob("*"), None), 300)
        step = bed.runs.checkpoint()
        bed.fail()
        with s3.away():
            time.sleep(AWAY_S)
        later = bed.runs.checkpoint(step)
        bed.hurry()
        bed.end(run, seconds=600)
    yield bed.row(
        f"store on S3 away for {AWAY_S} s", "Completed", note=f"trained from step {step} to {later}", in_flight=()
    )


def _case(bed: Bed, case: str, harm: Callable[[Disk], object], undo: Callable[[Disk, object], None]) -> Iterator[Row]:
    if not is_possible():
        yield Row(case, note="not run: it needs root and loop devices")
        return
    with Disk(bed) as disk:
        run = bed.start()
        bed.runs.checkpoint()
        bed.fail()
        harmed = harm(disk)
        times = bed.watch(noticed_s=lambda: run.poll() is not None, free_s=bed.is_free)
        said = bed.end(run, 1)
        until("its processes are gone", lambda: not bed.runs.find(""))
        undo(disk, harmed)
        bed.hurry()
        bed.fail()
        again = bed.start()
        times |= bed.watch(resumed_s=lambda: bed.process(TRAIN, new=True))
        bed.end(again)
        row = bed.row(case, "Failed, then Completed", note=_error(said), **times)
        if "Traceback" in said or "Remedy:" not in said:
            row.wrong.append(f"it said {said[-2000:]}")
        yield row


def _error(said: str) -> str:
    """The line in which the command says what has failed."""
    return public(next((line.strip() for line in said.splitlines() if line.startswith("error: ")), ""))


CASES: dict[str, Callable[[Bed], Iterator[Row]]] = {"full": full, "read-only": read_only, "away": away}
