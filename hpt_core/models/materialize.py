"""`python -m hpt_core.models.materialize SPEC.json`: make the model folder from which a pipeline starts."""

import logging
from pathlib import Path

from pydantic import Field

from hpt_core import model_folder, worker
from hpt_core.base import Frozen
from hpt_core.errors import ModelError
from hpt_core.files import replacing_folder, sha256_json, write_json
from hpt_core.models import _overrides
from hpt_core.models.base import Materialized, ModelSourceConfig
from hpt_core.weights import require_weights
from hpt_core.worker import Progress

logger = logging.getLogger("hpt.models")


class ModelConfig(Frozen):
    """A starting model: `[model.NAME]`."""

    source: ModelSourceConfig
    """Where the model comes from; see `hpt list models`."""
    rope_theta: float | None = Field(None, gt=0)
    """Overrides the model's rotary base; 40000 for Qwen2.5-Math (training scripts)."""
    max_position_embeddings: int | None = Field(None, ge=1)
    """Overrides the model's context length; 16384 for Qwen2.5-Math (training scripts)."""


class ModelSpec(Frozen):
    """Spec of `python -m hpt_core.models.materialize`: fills `output` with a model folder."""

    config: ModelConfig
    output: Path


def materialize(config: ModelConfig, folder: Path, progress: Progress) -> Materialized:
    """Make `folder`, whole or not at all, from the source's files and the config's overrides. Raises ModelError."""
    with replacing_folder(folder) as beside:
        config.source.materialize(beside, progress)
        _overrides.apply(beside, config.rope_theta, config.max_position_embeddings)
        _check(beside, config.source)
    return identify(config, folder)


def _check(folder: Path, source: ModelSourceConfig) -> None:
    """Raise ModelError if the model is incomplete or damaged, so that no stage starts with it."""
    try:
        model_folder.require_complete(folder)
        require_weights(folder)
        model_folder.load_tokenizer(folder)
    except ModelError as error:
        # The folder has a temporary name, which means nothing to a reader.
        shown = " ".join(str(value) for value in source.model_dump(exclude_none=True).values())
        raise ModelError(error.cause.replace(str(folder), f"the model ({shown})"), error.remedy) from error


def identify(config: ModelConfig, folder: Path) -> Materialized:
    """Identity of the materialized `folder`: repository and commit of a Hub model, else the content hash."""
    origin = config.source.origin()
    if origin:
        overrides = config.model_dump(mode="json", exclude={"source"}, exclude_none=True)
        return Materialized(sha256_json({**origin, **overrides}), model_folder.tokenizer_id(folder))
    return Materialized(model_folder.content_id(folder), model_folder.tokenizer_id(folder))


def run(spec: ModelSpec) -> None:
    """Write output/model/ and output/model.json (Materialized, origin, size, context length)."""
    folder = spec.output / "model"
    made = materialize(spec.config, folder, worker.progress("files"))
    size = model_folder.size(folder)
    config = model_folder.read_object(folder / "config.json")
    facts = {
        **made._asdict(),
        **size._asdict(),
        "origin": spec.config.source.origin(),
        "architecture": (config.get("architectures") or [config.get("model_type")])[0],
        "max_position_embeddings": config.get("max_position_embeddings"),
    }
    write_json(spec.output / "model.json", facts)
    logger.info("%s: %.1f million parameters in %s", folder, size.parameters / 1e6, size.dtype)


if __name__ == "__main__":
    worker.main(ModelSpec, run)
