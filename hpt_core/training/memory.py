"""What training takes of memory and disk, reckoned from a model's size."""

from collections.abc import Mapping, Sequence
from typing import Any

from hpt_core.errors import PreflightError
from hpt_core.training.config import LoraConfig, TrainConfig

GIB = 2**30
WEIGHT = 4
"""Bytes of a float32 master weight."""
MOMENTS = 8
"""Bytes of AdamW's two moments of a weight, in float32."""


def bytes_per_weight(config: TrainConfig) -> int:
    """What the trainer holds for each of the model's weights, over all ranks: weight, gradient and moments."""
    if config.lora is not None:
        # The weights alone: adapters are small beside them.
        return WEIGHT
    return 2 * WEIGHT + (MOMENTS // 4 if config.optimizer.eight_bit else MOMENTS)


def memory_of_rank(config: TrainConfig, parameters: int, ranks: int, on_gpu: bool) -> float:
    """Bytes that one of so many ranks takes: its share of the trainer, and an engine of its own with its cache."""
    need = parameters * bytes_per_weight(config) / ranks
    if config.uses_engine:
        need += parameters * (4 if config.dtype == "float32" else 2) + GIB * config.engine.cache_gib(on_gpu)
    return need


def require_memory(stage: str, config: TrainConfig, parameters: int, ranks: int, gpus: Sequence[int]) -> None:
    """Raise PreflightError where the machine is too small. `gpus`: memory of each, in bytes; the machine's without."""
    import psutil

    need = memory_of_rank(config, parameters, ranks, bool(gpus))
    total, where = (gpus[0], "the first GPU") if gpus else (psutil.virtual_memory().total, "this machine")
    need *= 1 if gpus else ranks
    if need > total:
        raise PreflightError(
            f"{stage} needs about {need / GIB:.1f} GiB of memory and {where} has {total / GIB:.1f} GiB",
            "take a smaller model, a larger machine, lora, optimizer.eight_bit or, on GPUs, more of them",
        )


def checkpoint_bytes(config: TrainConfig, parameters: int, model: Mapping[str, Any]) -> int:
    """Bytes of a run's checkpoints at most: one more than are kept, while it is written.

    A checkpoint holds what trains, weights and moments. `model` is the model's config.json.
    """
    trained = parameters if config.lora is None else adapter_parameters(config.lora, parameters, model)
    return trained * (WEIGHT + MOMENTS) * (config.keep_checkpoints + 1)


def adapter_parameters(lora: LoraConfig, parameters: int, model: Mapping[str, Any]) -> int:
    """Weights of adapters on every linear layer of a decoder; of all weights, where its shape is not known."""
    try:
        hidden, inner, layers = (int(model[k]) for k in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    except (KeyError, TypeError, ValueError):
        return parameters
    return min(parameters, layers * lora.rank * (4 * 2 * hidden + 3 * (hidden + inner)))
