"""Low-rank adapters (Hu 2021) through peft: added before training, merged for the engine and the exported model."""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hpt_core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hpt_core.training.config import LoraConfig

PREFIX = "base_model.model."
"""Prefix that peft adds to the parameter names of the model it wraps."""


def require_peft() -> None:
    """Raise ConfigError if peft is missing."""
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"lora needs peft, but importing it failed: {error}", "pip install peft") from error


def add_adapters(model: "nn.Module", config: "LoraConfig") -> "nn.Module":
    """`model` with the adapters that `config` describes; only they train. Raises ConfigError for unknown targets."""
    require_peft()
    import peft

    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        target_modules=config.targets if isinstance(config.targets, str) else list(config.targets),
        task_type=peft.TaskType.CAUSAL_LM,
    )
    try:
        with warnings.catch_warnings():
            # peft warns about tied weights among the targets; they are refused below.
            warnings.simplefilter("ignore")
            adapted: nn.Module = peft.get_peft_model(model, settings)
    except ValueError as error:
        raise ConfigError(
            f"lora.targets does not match the model: {error}", 'name linear layers, or use "all-linear"'
        ) from error
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):  # type: ignore[operator]
        if hasattr(layer, "get_delta_weight"):
            raise ConfigError(
                f"lora.targets = {config.targets!r} includes the embedding or the output head, which cannot be adapted",
                'leave them out, or use "all-linear"',
            )
    return adapted


def merged(model: "nn.Module") -> Iterator[tuple[str, "Tensor"]]:
    """Weights of a causal LM by Hugging Face name. Adapted weights are merged: W + scale * B A."""
    if not hasattr(model, "get_base_model"):
        yield from model.state_dict().items()
        return
    layers: dict[str, Any] = {n: m for n, m in model.named_modules() if hasattr(m, "get_delta_weight")}
    for name, tensor in model.state_dict().items():
        owner, _, field = name.rpartition(".base_layer.")
        if "lora_" in name:
            continue
        if owner in layers and field == "weight":
            tensor = tensor + layers[owner].get_delta_weight("default").to(tensor.dtype)
        yield name.removeprefix(PREFIX).replace(".base_layer.", "."), tensor
