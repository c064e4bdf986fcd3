"""Load a model for training, with float32 master weights, and export it as a Hugging Face folder."""

import json
import logging
import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from hpt_core.errors import ModelError
from hpt_core.files import replacing_folder

if TYPE_CHECKING:
    from torch import Tensor, nn

logger = logging.getLogger("hpt.training.model")

SCALED_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Config fields of models whose logits are not just head(hidden). logprobs.py does not support them."""


def load_model(folder: Path, device: str = "cpu", gradient_checkpointing: bool = False) -> "nn.Module":
    """Load the causal language model in `folder` for training: in float32, without dropout. Raises ModelError."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True, output_loading_info=True
        )
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"cannot load the model in {folder}: {first}", "fetch the model again") from error
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ModelError(
            f"{folder} is missing the weights {', '.join(missing[:3])} ({len(missing)} in all)", "fetch it again"
        )
    for field in SCALED_LOGITS:
        if getattr(model.config, field, None) not in (None, 1, 1.0):
            raise ModelError(f"models with {field} are not supported", "choose a model without scaled logits")
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

    from hpt_core.training.policy import causal_lm, named_weights

    model = causal_lm(policy)
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    # Tied weights are saved once, under the name that `from_pretrained` reads.
    tied = set(getattr(model, "_tied_weights_keys", None) or ()) if model.config.tie_word_embeddings else set()
    weights: dict[str, Tensor] = {}
    for name, tensor in named_weights(policy):
        if writes and name not in tied:
            weights[name] = tensor.to("cpu", kind)
    if not writes:
        return
    with replacing_folder(folder) as beside:
        model.save_pretrained(beside, state_dict=weights)
        config = json.loads((beside / "config.json").read_text(encoding="utf-8"))
        config["dtype"] = dtype
        (beside / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        for file in sorted(source.iterdir()):
            if file.is_file() and not _is_weight(file) and file.name != "config.json":
                shutil.copyfile(file, beside / file.name)
    logger.info("exported the model to %s in %s", folder, dtype)


def _is_weight(file: Path) -> bool:
    return file.suffix in (".safetensors", ".bin", ".pt", ".pth", ".gguf") or file.name.endswith(".index.json")
