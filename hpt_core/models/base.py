"""The contract of a model source: it makes a complete Hugging Face folder."""

from pathlib import Path
from typing import Any, NamedTuple

from hpt_core.plugins import PluginConfig
from hpt_core.worker import Progress


class Materialized(NamedTuple):
    """What identifies a materialized model."""

    weights_id: str
    """SHA-256 over weights, config, tokenizer, template and generation config; for a Hub model over repository,
    resolved commit and overrides."""
    tokenizer_id: str
    """SHA-256 over tokenizer files and chat template alone: what data preparation depends on."""


class ModelSourceConfig(PluginConfig, kind="models", package="hpt_core.models"):
    """Base of the model sources' configs."""

    def needs(self) -> str:
        """What the source needs, for `hpt plan`: "network: 3 GB from the Hub", "a folder PATH", ""."""
        return ""

    def identity(self) -> dict[str, Any]:
        """What decides the model: for files the content's hash, for the Hub repository and revision. Raises ModelError
        where a local folder is missing or incomplete."""
        return super().identity()

    def materialize(self, folder: Path, progress: Progress) -> None:
        """Fill `folder` with config.json, weights, tokenizer and generation config (links to large files allowed)."""
        raise NotImplementedError

    def origin(self) -> dict[str, str]:
        """Where a materialized model came from exactly (Hub repository and resolved commit); empty where its
        content alone identifies it. Asked after `materialize`."""
        return {}
