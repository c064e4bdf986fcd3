"""One heavy stage at a time on each GPU of a machine, or on a machine without GPUs, whichever run it belongs to."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from hpt_core.errors import HPTError, StoreError
from tasks.execution import environment
from tasks.execution.context import Context, Notice
from tasks.execution.keys import StageKey

POLL_S = 1.0


@contextlib.contextmanager
def turn(stage: StageKey, context: Context) -> Iterator[None]:
    """Hold the machine's devices. Waits for a stage of another run that uses one of them.

    They stay held while the worker stays after its stage. A device is a locked file. The kernel unlocks it when its
    holder dies, so no dead run keeps a device. Does nothing for a run that does not take turns. Raises StoreError if a
    file cannot be locked.
    """
    if context.turns is None:
        yield
        return
    # An earlier stage of this run may hold them still, because its worker has stayed.
    locks = context.staying.take() or _locks(context.turns, stage, context)
    try:
        yield
    finally:
        context.staying.hold(locks)


def _locks(folder: Path, stage: StageKey, context: Context) -> contextlib.ExitStack:
    with contextlib.ExitStack() as stack:
        # In one order, so that two runs never wait for each other.
        for device in sorted(environment.visible_devices()) or ["cpu"]:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context((folder / f"{device}.lock").open("a+"))
                _lock(file, device, stage, context)
            except OSError as error:
                raise StoreError(
                    f"cannot lock {folder / device}: {error.strerror or error}",
                    "set HPT_CACHE to a folder on a local disk",
                ) from error
        return stack.pop_all()


def _lock(file: IO[str], device: str, stage: StageKey, context: Context) -> None:
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(0)
            file.write(f"{context.pipeline} {stage} (process {os.getpid()})")
            file.flush()
            return
        file.seek(0)
        what = "this machine" if device == "cpu" else f"GPU {device}"
        context.notify(Notice(str(stage), "waiting", f"waiting for {what}, which {file.read() or 'another run'} uses"))
        if context.cancelled.wait(POLL_S):
            raise HPTError(f"{stage}: stopped while waiting for {what}", "run it again")
