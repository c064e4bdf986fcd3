"""Checkpoints in torch.distributed.checkpoint format: weights, optimizer, random generators, step and counts.

A checkpoint folder is either complete or absent: state.json is written last and lists the size and hash of every other
file. A run can resume with a different number of ranks.
"""

import contextlib
import json
import logging
import pickle
import random
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_core.artifacts.manifest import FileEntry, damage, unreadable
from hpt_core.errors import TrainingError
from hpt_core.files import remove_leftovers, sha256_file, sync_tree, write_json
from hpt_core.training.distributed import World
from hpt_core.training.optimizer import trained

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

logger = logging.getLogger("hpt.training.checkpoint")

STATE = "state.json"
TENSORS = "tensors"


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints in `folder`, oldest first."""
    found = [p for p in folder.glob("step-*") if p.is_dir() and p.name.removeprefix("step-").isdecimal()]
    return sorted(found, key=lambda p: int(p.name.removeprefix("step-")))


class Checkpointer:
    """Saves a run's checkpoints to `folder` and restores the newest that is intact.

    An asynchronous save returns once the tensors are copied to memory. The checkpoint gets its final name when `poll`,
    `finish` or the next `save` finds it written. Every rank must call every method.
    """

    def __init__(self, folder: Path, keep: int, world: World | None = None, asynchronous: bool = False) -> None:
        """`keep` is the number of newest checkpoints to keep."""
        self.folder = folder
        self.keep = keep
        self.world = world or World()
        self.asynchronous = asynchronous
        self._writing: tuple[Any, Path, Path, dict[str, Any]] | None = None
        self._group = _own_group()
        if self._group is None:
            # Not scoped with catch_warnings, because an asynchronous save warns from its own thread.
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        if self.world.is_main:
            folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(folder)
        self.world.barrier()

    def save(self, step: int, policy: "nn.Module", optimizer: "Optimizer", state: dict[str, Any]) -> None:
        """Write the checkpoint after `step` steps. `state` is any JSON object; the first rank's is stored."""
        from torch.distributed.checkpoint.state_dict_saver import async_save, save

        self.finish()
        path = self.folder / f"step-{step:05d}"
        beside = self.folder / f".{path.name}.tmp"
        generators = [g for (g,) in self.world.all_gather([_generators()])]
        # A state that cannot be written must fail before anything is.
        facts = json.loads(json.dumps({"step": step, "state": state, "generators": generators}))
        if self.world.is_main:
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir()
        self.world.barrier()
        if not optimizer.state:
            # No update was applied yet. Torch then saves zero moments, but only if no gradient is set.
            for parameter in trained(optimizer):
                parameter.grad = None
        tensors = _tensors(policy, optimizer)
        with _writing_errors(beside):
            if self.asynchronous:
                future = async_save(tensors, checkpoint_id=beside / TENSORS, process_group=self._group)
                self._writing = (future, beside, path, facts)
                return
            save(tensors, checkpoint_id=beside / TENSORS, process_group=self._group)
        self._appear(beside, path, facts)

    def poll(self) -> None:
        """Give an asynchronous checkpoint its final name if it is fully written."""
        if self._writing is not None and all(done for (done,) in self.world.all_gather([self._writing[0].done()])):
            self.finish()

    def finish(self) -> None:
        """Wait for the checkpoint that is being written, if there is one."""
        if self._writing is not None:
            future, beside, path, facts = self._writing
            self._writing = None
            with _writing_errors(beside):
                future.result()
            self._appear(beside, path, facts)

    def load(self, policy: "nn.Module", optimizer: "Optimizer") -> tuple[int, dict[str, Any]] | None:
        """Restore the newest intact checkpoint. Returns (steps done, state), or None without one.

        Damaged checkpoints are set aside with a warning, before any weight is changed. Raises StoreError for a file
        that cannot be read, and TrainingError for an intact checkpoint that cannot be restored.
        """
        # All ranks look at the folders that the first one sees.
        names = self.world.all_gather([[path.name for path in checkpoints(self.folder)]])[0][0]
        for path in (self.folder / name for name in reversed(names)):
            if facts := self._intact(path):
                return self._restored(path, facts, policy, optimizer)
        if names and self.world.is_main:
            logger.warning("no intact checkpoint is left in %s; training starts from the beginning", self.folder)
        return None

    def states(self) -> Iterator[dict[str, Any]]:
        """The `state` of every checkpoint whose state.json can be read."""
        for path in checkpoints(self.folder):
            with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
                yield dict(_read(path)["state"])

    def _intact(self, path: Path) -> dict[str, Any] | None:
        """The contents of state.json; None if the checkpoint is damaged. Each rank looks at a part of the files."""
        facts, problem = None, ""
        try:
            facts = _read(path)
            mine = [FileEntry(**entry) for entry in facts["files"]][self.world.rank :: self.world.size]
            problem = next(map(str, damage(path, mine, sha256_file)), "")
        except FileNotFoundError:
            problem = f"{path / STATE} is missing"
        except OSError as error:
            raise unreadable(path / STATE, error) from error
        except (ValueError, LookupError, TypeError):
            problem = f"{path / STATE} is not a checkpoint's"
        problem = next((p for (p,) in self.world.all_gather([problem]) if p), "")
        if not problem:
            return facts
        if self.world.is_main:
            aside = path.with_name(f"{path.name}.damaged")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            logger.warning("a checkpoint is damaged and is set aside as %s: %s", aside, problem)
        return None

    def _restored(
        self, path: Path, facts: dict[str, Any], policy: "nn.Module", optimizer: "Optimizer"
    ) -> tuple[int, dict[str, Any]]:
        step, state, generators = int(facts["step"]), dict(facts["state"]), list(facts["generators"])
        try:
            _restore(path / TENSORS, policy, optimizer, self._group)
            if self.world.rank < len(generators):
                _restore_generators(generators[self.world.rank])
        except _restore_errors() as error:
            raise TrainingError(
                f"cannot restore checkpoint {path}, although its files are intact: {_cause(error)}",
                f"check the machine's memory and run again, or delete {path} to continue from the one before",
            ) from error
        if len(generators) != self.world.size:
            logger.warning("earlier steps ran on %d ranks; this run has %d", len(generators), self.world.size)
        logger.info("restored %s", path)
        return step, state

    def _appear(self, beside: Path, path: Path, facts: dict[str, Any]) -> None:
        self.world.barrier()
        files = self._files(beside)
        if self.world.is_main:
            write_json(beside / STATE, {**facts, "files": files})
            sync_tree(beside)
            shutil.rmtree(path, ignore_errors=True)
            beside.rename(path)
            sync_tree(self.folder, deep=False)
            for old in checkpoints(self.folder)[: -self.keep]:
                # Renamed first, so that a crash cannot leave a partial checkpoint under its final name.
                shutil.rmtree(old.rename(old.with_name(f".{old.name}.old")))
            logger.info("saved %s", path)
        self.world.barrier()

    def _files(self, folder: Path) -> list[dict[str, Any]]:
        """An entry of every file. Each rank hashes a part of them."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        mine = [
            FileEntry(path=path.relative_to(folder).as_posix(), size=path.stat().st_size, sha256=sha256_file(path))
            for path in paths[self.world.rank :: self.world.size]
        ]
        return [entry.model_dump(exclude_none=True) for share in self.world.all_gather(mine) for entry in share]


def _own_group() -> Any:
    """A separate CPU process group for checkpoints; None if torch.distributed is not initialized.

    An asynchronous save communicates from another thread, and its collectives must not mix with the run's own. Also, an
    engine may have created a default group that supports GPUs only.
    """
    import torch.distributed as dist

    return dist.new_group(backend="gloo") if dist.is_available() and dist.is_initialized() else None


@contextlib.contextmanager
def _writing_errors(folder: Path) -> Iterator[None]:
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        yield
    except (OSError, RuntimeError, CheckpointException) as error:
        raise TrainingError(
            f"cannot write checkpoint {folder}: {_cause(error)}", "free some disk space and run again"
        ) from error


def _cause(error: BaseException) -> str:
    """The error in one line. For an error that collects those of several ranks, the first rank's."""
    for failure in getattr(error, "failures", {}).values():
        return _cause(failure[0] if isinstance(failure, tuple) else failure)
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
    return found


def _restore_errors() -> tuple[type[BaseException], ...]:
    """Exceptions that loading the tensors and setting the generators raise."""
    from torch.distributed.checkpoint.api import CheckpointException

    return (
        *(OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError),
        *(pickle.UnpicklingError, CheckpointException),
    )


def _options() -> Any:
    """Leaves frozen weights out of checkpoints, because the starting model has them."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions

    return StateDictOptions(ignore_frozen_params=True, strict=False)


def _tensors(policy: "nn.Module", optimizer: "Optimizer") -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict

    return {
        "model": get_model_state_dict(policy, options=_options()),
        "optimizer": get_optimizer_state_dict(policy, optimizer, options=_options()),
    }


def _restore(path: Path, policy: "nn.Module", optimizer: "Optimizer", group: Any) -> None:
    from torch.distributed.checkpoint.state_dict import set_model_state_dict, set_optimizer_state_dict
    from torch.distributed.checkpoint.state_dict_loader import load

    from hpt_core.training.stored import Planner, Reader

    for parameter in trained(optimizer):
        parameter.grad = None
    tensors = _tensors(policy, optimizer)
    load(tensors, storage_reader=Reader(path), planner=Planner(), process_group=group)
    set_model_state_dict(policy, tensors["model"], options=_options())
    set_optimizer_state_dict(policy, optimizer, tensors["optimizer"], options=_options())


def _generators() -> dict[str, Any]:
    """States of this process's random generators, as a JSON object."""
    import numpy as np
    import torch

    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [name, np.asarray(keys).tolist(), *rest],
        "torch": _hex(torch.get_rng_state()),
        # Only this rank's device, because another machine may have fewer.
        "cuda": _hex(torch.cuda.get_rng_state()) if torch.cuda.is_available() else None,
    }


def _restore_generators(states: dict[str, Any]) -> None:
    import numpy as np
    import torch

    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(_tensor(states["torch"]))
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(_tensor(states["cuda"]))


def _hex(state: Any) -> str:
    return bytes(state.tolist()).hex()


def _tensor(text: str) -> Any:
    import torch

    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)
