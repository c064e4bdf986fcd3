"""Overrides of a model's rotary base and context length in its config.json."""

from pathlib import Path
from typing import Any

from hpt_core.errors import ModelError
from hpt_core.files import write_json
from hpt_core.model_folder import read_object

SCALED_BY_LENGTH = ("llama3", "yarn", "longrope")
"""Rotary types that scale by the original context length, which defaults to the current one."""


def apply(folder: Path, rope_theta: float | None, max_position_embeddings: int | None) -> None:
    """Change config.json in `folder` (a file, not a link) so that both transformers and vLLM use the new values.

    Recent configs hold the rotary base in `rope_parameters`; older ones hold it at the top level and scaling in
    `rope_scaling`. The base is written wherever either may be read. Raises ModelError if the model does not use an
    override.
    """
    if rope_theta is None and max_position_embeddings is None:
        return
    config = read_object(folder / "config.json")
    if max_position_embeddings is not None:
        _keep_original_length(config)
        config["max_position_embeddings"] = max_position_embeddings
        _lengthen_tokenizer(folder / "tokenizer_config.json", max_position_embeddings)
    if rope_theta is not None:
        config["rope_theta"] = rope_theta
        for scaling in _rotary(config):
            scaling["rope_theta"] = rope_theta
    write_json(folder / "config.json", config)
    _require_used(folder, rope_theta, max_position_embeddings)


def _rotary(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The dicts of rotary parameters in the config."""
    return [config[key] for key in ("rope_parameters", "rope_scaling") if isinstance(config.get(key), dict)]


def _keep_original_length(config: dict[str, Any]) -> None:
    for scaling in _rotary(config):
        kind = scaling.get("rope_type", scaling.get("type"))
        if kind in SCALED_BY_LENGTH and "original_max_position_embeddings" not in config:
            scaling.setdefault("original_max_position_embeddings", config.get("max_position_embeddings"))


def _lengthen_tokenizer(path: Path, length: int) -> None:
    """Raise the tokenizer's limit. Engines use it as the model's limit if it is smaller."""
    if path.is_file():
        config = read_object(path)
        if config.get("model_max_length", length) < length:
            write_json(path, {**config, "model_max_length": length})


def _require_used(folder: Path, rope_theta: float | None, max_position_embeddings: int | None) -> None:
    from transformers import AutoConfig

    try:
        loaded = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"the config in {folder} cannot be loaded: {error}", "leave out the overrides") from error
    if rope_theta is not None:
        parameters = getattr(loaded, "rope_parameters", None)
        if not isinstance(parameters, dict) or parameters.get("rope_theta") != rope_theta:
            raise ModelError(
                f"the model type {loaded.model_type} has no single rotary base", "leave out the model's rope_theta"
            )
    if max_position_embeddings is not None and loaded.max_position_embeddings != max_position_embeddings:
        raise ModelError(
            f"the model type {loaded.model_type} has no max_position_embeddings",
            "leave out the model's max_position_embeddings",
        )
