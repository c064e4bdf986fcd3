"""Checkpoints in torch.distributed.checkpoint format: weights, optimizer, random generators, step and counts.

A checkpoint folder is either complete or absent. A run can resume with a different number of ranks.
"""

import contextlib
import json
import logging
import random
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_core.errors import TrainingError
from hpt_core.files import remove_leftovers, sync_tree
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
    """Saves a run's checkpoints to `folder` and restores the newest.

    An asynchronous save returns once the tensors are copied to memory. The checkpoint gets its final name when `poll`,
    `finish` or the next `save` finds it written. Every rank must call every method.
    """

    def __init__(self, folder: Path, keep: int, world: World | None = None, asynchronous: bool = False) -> None:
        """`keep` is the number of newest checkpoints to keep."""
        self.folder = folder
        self.keep = keep
        self.world = world or World()
        self.asynchronous = asynchronous
        self._writing: tuple[Any, Path, Path] | None = None
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
        facts = json.dumps({"step": step, "state": state, "generators": generators})
        if self.world.is_main:
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir()
            (beside / STATE).write_text(facts, encoding="utf-8")
        self.world.barrier()
        if not optimizer.state:
            # No update was applied yet. Torch then saves zero moments, but only if no gradient is set.
            for parameter in trained(optimizer):
                parameter.grad = None
        tensors = _tensors(policy, optimizer)
        with _writing_errors(beside):
            if self.asynchronous:
                future = async_save(tensors, checkpoint_id=beside / TENSORS, process_group=self._group)
                self._writing = (future, beside, path)
                return
            save(tensors, checkpoint_id=beside / TENSORS, process_group=self._group)
        self._appear(beside, path)

    def poll(self) -> None:
        """Give an asynchronous checkpoint its final name if it is fully written."""
        if self._writing is not None and all(done for (done,) in self.world.all_gather([self._writing[0].done()])):
            self.finish()

    def finish(self) -> None:
        """Wait for the checkpoint that is being written, if there is one."""
        if self._writing is not None:
            future, beside, path = self._writing
            self._writing = None
            with _writing_errors(beside):
                future.result()
            self._appear(beside, path)

    def load(self, policy: "nn.Module", optimizer: "Optimizer") -> tuple[int, dict[str, Any]] | None:
        """Restore the newest checkpoint. Returns (steps done, state), or None without one. Raises TrainingError."""
        found = checkpoints(self.folder)
        if not found:
            return None
        path = found[-1]
        try:
            facts = json.loads((path / STATE).read_text(encoding="utf-8"))
            step, state, generators = int(facts["step"]), dict(facts["state"]), list(facts["generators"])
            _restore(path / TENSORS, policy, optimizer, self._group)
            if self.world.rank < len(generators):
                _restore_generators(generators[self.world.rank])
        except _damage() as error:
            raise TrainingError(
                f"cannot restore checkpoint {path}: {_cause(error)}", f"delete {path} and run again"
            ) from error
        if len(generators) != self.world.size:
            logger.warning("earlier steps ran on %d ranks; this run has %d", len(generators), self.world.size)
        logger.info("restored %s", path)
        return step, state

    def _appear(self, beside: Path, path: Path) -> None:
        self.world.barrier()
        if self.world.is_main:
            sync_tree(beside)
            shutil.rmtree(path, ignore_errors=True)
            beside.rename(path)
            sync_tree(self.folder, deep=False)
            for old in checkpoints(self.folder)[: -self.keep]:
                # Renamed first, so that a crash cannot leave a partial checkpoint under its final name.
                shutil.rmtree(old.rename(old.with_name(f".{old.name}.old")))
            logger.info("saved %s", path)
        self.world.barrier()


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


def _damage() -> tuple[type[BaseException], ...]:
    """Exceptions that reading a damaged checkpoint raises."""
    from torch.distributed.checkpoint.api import CheckpointException

    return (OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError, CheckpointException)


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

    for parameter in trained(optimizer):
        parameter.grad = None
    tensors = _tensors(policy, optimizer)
    load(tensors, checkpoint_id=path, process_group=group)
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
