"""Estimate the memory and disk space that training needs, from the model's size."""

from collections.abc import Mapping, Sequence
from typing import Any

from hpt_core.errors import PreflightError
from hpt_core.training.config import LoraConfig, TrainConfig

GIB = 2**30
ROLLOUT_TOKEN = 7.5
"""Bytes of one token of a stored rollout: its text, id and log-probability, compressed. Measured on made-up rollouts of
English text."""
WEIGHT = 4
"""Bytes of a float32 master weight."""
MOMENTS = 8
"""Bytes of AdamW's two float32 moments for one weight."""


def bytes_per_weight(config: TrainConfig) -> int:
    """Bytes that the trainer holds for each weight of the model, over all ranks: weight, gradient and moments."""
    if config.lora is not None:
        # Only the weights, because adapters are small in comparison.
        return WEIGHT
    return 2 * WEIGHT + (MOMENTS // 4 if config.optimizer.eight_bit else MOMENTS)


def memory_of_rank(config: TrainConfig, parameters: int, ranks: int, on_gpu: bool) -> float:
    """Bytes that each rank needs: its share of the trainer, and its own engine with its cache."""
    need = parameters * bytes_per_weight(config) / ranks
    if config.uses_engine:
        need += parameters * (4 if config.dtype == "float32" else 2) + GIB * config.engine.cache_gib(on_gpu)
    return need


def require_memory(stage: str, config: TrainConfig, parameters: int, ranks: int, gpus: Sequence[int]) -> None:
    """Raise PreflightError if memory does not suffice. `gpus` holds the bytes of each GPU; empty for a CPU machine."""
    import psutil

    need = memory_of_rank(config, parameters, ranks, bool(gpus))
    if gpus:
        require_bytes(need, gpus[0], f"{stage} needs about", "the first GPU has")
    else:
        require_bytes(need * ranks, psutil.virtual_memory().total, f"{stage} needs about", "this machine has")


def require_bytes(need: float, available: float, what: str, where: str) -> None:
    """Raise PreflightError if `need` bytes exceed the `available` ones. `what` and `where` begin the two statements."""
    if need > available:
        raise PreflightError(
            f"{what} {need / GIB:.1f} GiB of memory, but {where} {available / GIB:.1f} GiB",
            "use a smaller model, a larger machine, more GPUs, lora, or optimizer.eight_bit",
        )


def checkpoint_bytes(config: TrainConfig, parameters: int, model: Mapping[str, Any]) -> int:
    """Maximum bytes of a run's checkpoints: those that are kept, plus the one being written.

    A checkpoint holds the trained weights and their moments. `model` is the model's config.json.
    """
    trained = parameters if config.lora is None else adapter_parameters(config.lora, parameters, model)
    return trained * (WEIGHT + MOMENTS) * min(config.keep_checkpoints + 1, config.checkpoints_written)


def rollout_bytes(config: TrainConfig) -> float:
    """Estimated bytes of the rollouts that a run keeps, if its responses are half as long as allowed."""
    if not config.uses_rollouts:
        return 0
    kept = sum(config.keep_rollouts.keeps(step, config.steps) for step in range(1, config.steps + 1))
    responses = kept * config.questions_per_step * config.rollouts_per_question
    return responses * config.sampling.max_tokens / 2 * ROLLOUT_TOKEN


def adapter_parameters(lora: LoraConfig, parameters: int, model: Mapping[str, Any]) -> int:
    """Number of weights in adapters on all linear layers of a decoder; `parameters` if its shape is unknown."""
    try:
        hidden, inner, layers = (int(model[k]) for k in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    except (KeyError, TypeError, ValueError):
        return parameters
    return min(parameters, layers * lora.rank * (4 * 2 * hidden + 3 * (hidden + inner)))
