"""`python -m hpt_core.models.materialize SPEC.json`: makes the model folder that a pipeline starts from."""

import logging
from pathlib import Path

from hpt_core import worker
from hpt_core.config import ModelConfig, ModelSpec
from hpt_core.files import replacing_folder, sha256_json, write_json
from hpt_core.models import _files, _overrides
from hpt_core.models.base import Materialized
from hpt_core.worker import Progress

logger = logging.getLogger("hpt.models")


def materialize(config: ModelConfig, folder: Path, progress: Progress) -> Materialized:
    """Make `folder`, whole or not at all: the source's files with the config's overrides. Raises ModelError."""
    with replacing_folder(folder) as beside:
        config.source.materialize(beside, progress)
        _overrides.apply(beside, config.rope_theta, config.max_position_embeddings)
        _files.require_complete(beside)
    return identify(config, folder)


def identify(config: ModelConfig, folder: Path) -> Materialized:
    """What identifies the materialized `folder`: repository and commit of a Hub model, else the content."""
    origin = config.source.origin()
    if origin:
        overrides = config.model_dump(mode="json", exclude={"source"}, exclude_none=True)
        return Materialized(sha256_json({**origin, **overrides}), _files.tokenizer_id(folder))
    return Materialized(_files.content_id(folder), _files.tokenizer_id(folder))


def run(spec: ModelSpec) -> None:
    """Write output/model/ and output/model.json (Materialized, origin, size, context length)."""
    folder = spec.output / "model"
    made = materialize(spec.config, folder, worker.progress("files"))
    size = _files.size(folder)
    config = _files.read_object(folder / "config.json")
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
