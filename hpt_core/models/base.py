"""The contract of a model source: it makes a complete Hugging Face folder."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from hpt_core import model_folder
from hpt_core.plugins import PluginConfig
from hpt_core.worker import Progress


class Materialized(NamedTuple):
    """Identity of a materialized model."""

    weights_id: str
    """SHA-256 over weights, config, tokenizer, template and generation config. For a Hub model: over repository,
    resolved commit and overrides."""
    tokenizer_id: str
    """SHA-256 over only the tokenizer files and chat template, on which data preparation depends."""


class KnownModel(NamedTuple):
    """What is known about a model before it is made. None is unknown."""

    context: int | None = None
    """Context length in tokens."""
    parameters: int | None = None
    config: Mapping[str, Any] = MappingProxyType({})
    """Its config.json, or the known part of it."""
    folder: Path | None = None
    """Its folder, if there is one already."""

    @classmethod
    def of_folder(cls, folder: Path) -> "KnownModel":
        """What a model folder's config.json and weights say; nothing if there is no config.json."""
        if not (folder / "config.json").is_file():
            return cls()
        config = model_folder.read_object(folder / "config.json")
        return cls(config.get("max_position_embeddings"), model_folder.size(folder).parameters, config, folder)


class ModelSourceConfig(PluginConfig, kind="models", package="hpt_core.models"):
    """Base of the model sources' configs."""

    def needs(self) -> str:
        """What the source needs, for `hpt plan`: "network: 3 GB from the Hub", "a folder PATH", or ""."""
        return ""

    def known(self) -> KnownModel:
        """What is known about the model before `materialize`. Checks of what is unknown are skipped before a run."""
        return KnownModel()

    def identity(self) -> dict[str, Any]:
        """What decides the model: the content hash of files, or the Hub repository and revision. Raises ModelError
        if a local folder is missing or incomplete."""
        return super().identity()

    def materialize(self, folder: Path, progress: Progress) -> None:
        """Fill `folder` with config.json, weights, tokenizer and generation config (links to large files allowed)."""
        raise NotImplementedError

    def origin(self) -> dict[str, str]:
        """The exact origin of a materialized model (Hub repository and resolved commit); empty if its content alone
        identifies it. Call it after `materialize`."""
        return {}
