"""Checkpoints, each whole or absent: weights, optimiser, every random generator, data cursor, step, counts."""

import json
import logging
import pickle
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_core.errors import TrainingError
from hpt_core.files import replacing_folder

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

logger = logging.getLogger("hpt.training.checkpoint")

DAMAGE = (OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError, pickle.UnpicklingError)
"""What reading a damaged checkpoint raises."""


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints in `folder`, oldest first."""
    found = [p for p in folder.glob("step-*") if p.is_dir() and p.name.removeprefix("step-").isdecimal()]
    return sorted(found, key=lambda p: int(p.name.removeprefix("step-")))


def save(folder: Path, step: int, model: "nn.Module", optimiser: "Optimizer", state: dict[str, Any], keep: int) -> Path:
    """Write the checkpoint after `step` steps and remove all but the newest `keep`. `state` is any JSON object."""
    import numpy as np
    import torch

    tensors = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    name, keys, *rest = np.random.get_state(legacy=True)
    numpy_rng = [name, np.asarray(keys).tolist(), *rest]
    facts = {"step": step, "state": state, "python_rng": random.getstate(), "numpy_rng": numpy_rng}
    path = folder / f"step-{step:05d}"
    with replacing_folder(path) as beside:
        torch.save(tensors, beside / "tensors.pt")
        (beside / "state.json").write_text(json.dumps(facts), encoding="utf-8")
    for old in checkpoints(folder)[:-keep]:
        # Renamed first, so that a crash cannot leave half a checkpoint under a whole one's name.
        shutil.rmtree(old.rename(old.with_name(f".{old.name}.old")))
    logger.info("saved %s", path)
    return path


def load(folder: Path, model: "nn.Module", optimiser: "Optimizer") -> tuple[int, dict[str, Any]] | None:
    """Restore the newest checkpoint: (steps done, state), or None where there is none. Raises TrainingError."""
    import numpy as np
    import torch

    found = checkpoints(folder)
    if not found:
        return None
    path = found[-1]
    try:
        facts = json.loads((path / "state.json").read_text(encoding="utf-8"))
        tensors = torch.load(path / "tensors.pt", map_location="cpu", weights_only=True, mmap=True)
        model.load_state_dict(tensors["model"])
        optimiser.load_state_dict(tensors["optimiser"])
        torch.set_rng_state(tensors["torch_rng"])
        if tensors["cuda_rng"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(tensors["cuda_rng"])
        version, internal, gauss = facts["python_rng"]
        random.setstate((version, tuple(internal), gauss))
        np.random.set_state(tuple(facts["numpy_rng"]))
        step, state = int(facts["step"]), dict(facts["state"])
    except DAMAGE as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TrainingError(f"checkpoint {path} cannot be restored: {cause}", f"delete {path} and run again") from error
    logger.info("restored %s", path)
    return step, state
