"""Check the weights of a model before anything is sampled or trained: every parameter is there, every value finite."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_core.errors import ModelError, explain
from hpt_core.model_folder import read_config, weight_files

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger("hpt.weights")


def require_weights(folder: Path) -> None:
    """Raise ModelError if a weight of the model in `folder` is missing, has another shape than config.json says, is NaN
    or infinite. Reads each file once.

    Engines do not notice: vLLM leaves the memory of a missing output head as it is, and the model then answers
    nonsense.
    """
    require_loaded(folder, _loading_info(folder))
    require_finite(str(folder), _tensors(folder))


def require_loaded(folder: Path, info: Mapping[str, Any]) -> None:
    """Raise ModelError if the loading info of transformers says that a weight is missing or has another shape."""
    if names := sorted(info.get("missing_keys", ())):
        raise ModelError(
            f"{folder} is missing the weights {', '.join(names[:3])} ({len(names)} in all)",
            "fetch the model again; if the output head is missing because it is the embedding, set "
            "tie_word_embeddings in config.json",
        )
    for name, found, expected in sorted(info.get("mismatched_keys", ())):
        raise ModelError(
            f"{folder}: {name} has the shape {list(found)} in the weight files, but {list(expected)} by config.json",
            "fetch the model again, so that config.json and the weights belong together",
        )


def require_finite(where: str, tensors: "Iterable[tuple[str, Tensor]]") -> None:
    """Raise ModelError if a value of `tensors` is NaN or infinite."""
    import torch

    for name, tensor in tensors:
        if not tensor.is_floating_point():
            continue
        if tensor.element_size() == 1:  # torch cannot add 8-bit floats
            tensor = tensor.to(torch.float32)
        # If any value is not finite, neither is the sum, which needs no memory.
        if not math.isfinite(tensor.sum(dtype=torch.float32).item()):
            bad = int((~torch.isfinite(tensor.to(torch.float32))).sum())
            if bad:
                raise ModelError(
                    f"{where}: {bad:,} of {tensor.numel():,} values of {name} are NaN or infinite",
                    "fetch or convert the model again, or choose an earlier checkpoint",
                )


def _tensors(folder: Path) -> "Iterator[tuple[str, Tensor]]":
    """Names and values in the weight files, one at a time."""
    import torch
    from safetensors import safe_open

    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  (not a mapping)
                    yield name, file.get_tensor(name)
        elif path.suffix != ".json":
            yield from torch.load(path, map_location="cpu", weights_only=True, mmap=True).items()


def _loading_info(folder: Path) -> dict[str, Any]:
    """What transformers says of the weight files: "missing_keys" and "mismatched_keys". Empty, with a warning, if it
    does not know the architecture, and for quantized models, whose files hold other names."""
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils import logging as transformers_logging

    if "quantization_config" in read_config(folder):
        return {}
    transformers_logging.disable_progress_bar()
    try:
        _, info = AutoModelForCausalLM.from_pretrained(
            folder,
            device_map="meta",
            local_files_only=True,
            trust_remote_code=False,
            generation_config=GenerationConfig(),  # the folder's own may be one that transformers refuses
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:
        logger.warning("%s: not checked whether weights are missing: %s", folder, explain(error))
        return {}
    return dict(info)
