"""Load a model for training, with float32 master weights, and export it as a Hugging Face folder."""

import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_core.errors import ModelError, explain
from hpt_core.files import replacing_folder, write_json
from hpt_core.model_folder import load_tokenizer, other_files, place, read_config, read_object
from hpt_core.weights import require_finite, require_loaded

if TYPE_CHECKING:
    from torch import Tensor, nn

logger = logging.getLogger("hpt.training.model")

SHARD = "50GB"
"""Maximum size of a weight file, as in transformers."""
SCALED_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Config fields of models whose logits are not just head(hidden). logprobs.py does not support them."""


def require_trainable(config: Mapping[str, Any]) -> None:
    """Raise ModelError if a model with this config.json, or this part of it, cannot be trained."""
    if method := config.get("quantization_config"):
        kind = method.get("quant_method", "") if isinstance(method, Mapping) else method
        raise ModelError(
            f"the model is quantized ({kind}), and training needs full weights", "start from the original model"
        )
    for field in SCALED_LOGITS:
        if config.get(field) not in (None, 1, 1.0):
            raise ModelError(f"models with {field} are not supported", "choose a model without scaled logits")


def load_model(folder: Path, device: str = "cpu", gradient_checkpointing: bool = False) -> "nn.Module":
    """Load the causal language model in `folder` for training: in float32, without dropout. Raises ModelError."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils import logging as transformers_logging

    require_trainable(read_config(folder))
    transformers_logging.disable_progress_bar()
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            attn_implementation="sdpa",
            local_files_only=True,
            trust_remote_code=False,
            generation_config=GenerationConfig(),  # training uses none, and the folder's own may be invalid
            ignore_mismatched_sizes=True,  # reported below
            output_loading_info=True,
        )
    except Exception as error:  # transformers and the libraries that it calls raise many types
        raise ModelError(
            f"cannot load the model in {folder}: {explain(error)}",
            "fetch the model again, or choose one that transformers supports",
        ) from error
    require_loaded(folder, info)
    require_finite(str(folder), model.state_dict().items())
    require_trainable(model.config.to_dict())
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    if hasattr(model.config, "attention_dropout"):
        model.config.attention_dropout = 0.0
    if gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    loaded: nn.Module = model.to(device).train()
    return loaded


def export_model(policy: "nn.Module", source: Path, folder: Path, dtype: str, writes: bool = True) -> None:
    """Write the policy's language model in `dtype`, with the other files of `source`, to `folder`, completely or not
    at all.

    Adapters are merged and a value head is left out. Every rank must call this; the one with `writes` writes.
    """
    import torch
    from huggingface_hub import save_torch_state_dict
    from transformers.core_model_loading import revert_weight_conversion

    from hpt_core.training.policy import causal_lm, named_weights

    model = causal_lm(policy)
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    # Tied weights are saved once, under the name that `from_pretrained` reads.
    tied = set(getattr(model, "_tied_weights_keys", None) or ()) if model.config.tie_word_embeddings else set()
    weights: dict[str, Tensor] = {}
    for name, tensor in named_weights(policy):
        if writes and name not in tied:
            weights[name] = _alone(tensor.to("cpu", kind))
    if not writes:
        return
    with replacing_folder(folder) as beside:
        save_torch_state_dict(revert_weight_conversion(model, weights), beside, max_shard_size=SHARD)
        _write_description(model, source, beside, dtype)
    logger.info("exported the model to %s in %s", folder, dtype)


def _alone(tensor: "Tensor") -> "Tensor":
    """The tensor in a storage of its own, which saving requires. What FSDP2 gathers is part of a larger one."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def check_export(policy: "nn.Module", source: Path, dtype: str) -> None:
    """Export the untrained model without its weights and load the result. Raises ModelError.

    So a model folder that cannot be exported is refused before training, not after it.
    """
    from transformers import AutoConfig

    from hpt_core.training.policy import causal_lm

    with tempfile.TemporaryDirectory(prefix="hpt-export-") as name:
        folder = Path(name)
        try:
            _write_description(causal_lm(policy), source, folder, dtype)
            AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:
            raise ModelError(
                f"the model in {source} could not be exported after training: {explain(error)}",
                "correct its config.json, or fetch the model again",
            ) from error
        load_tokenizer(folder)


def _write_description(model: Any, source: Path, folder: Path, dtype: str) -> None:
    """Write everything but the weights. Only the dtype in config.json changes; the other files of `source` are copied
    as they are.

    Not by `save_pretrained`, which refuses the generation settings of many published models.
    """
    config = read_object(source / "config.json")
    if config.get("model_type") != model.config.model_type:
        # The language model of a model that also reads images or sound.
        config = json.loads(model.config.to_json_string())
    config.pop("torch_dtype", None)
    # FSDP2 adds the prefix.
    own = {"architectures": [type(model).__name__.removeprefix("FSDP")], "dtype": dtype}
    write_json(folder / "config.json", {**config, **own})
    place([file for file in other_files(source) if file != source / "config.json"], source, folder)
