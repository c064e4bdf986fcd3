"""A model from the Hub, or a local folder that replaces it."""

import os
from pathlib import Path
from typing import Any

from pydantic import Field

from hpt_core import hub, model_folder
from hpt_core.errors import ModelError
from hpt_core.models.base import KnownModel, ModelSourceConfig
from hpt_core.paths import expand_named
from hpt_core.worker import Progress

SAFETENSORS = ("model*.safetensors", "model.safetensors.index.json")
PYTORCH = ("pytorch_model*.bin", "pytorch_model.bin.index.json")


class HubModel(ModelSourceConfig):
    """A model repository at one revision."""

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """Repository: "Qwen/Qwen2.5-Math-1.5B"."""
    revision: str = "main"
    """Branch, tag or commit. The resolved commit is recorded. A moved branch does not count as another model, another
    commit does."""
    local: str | None = Field(None, pattern=r"^[\w.-]+$")
    """Name of a folder in HPT_MODELS (default ./models) to use instead of the Hub if it exists (`hpt models fetch`
    makes one)."""

    def needs(self) -> str:
        """A download, unless the local folder exists."""
        if self._local() is not None:
            return ""
        return f"network: {self.repo} from the Hub"

    def known(self) -> KnownModel:
        """What the local folder's files say; nothing about a model on the Hub."""
        local = self._local()
        return KnownModel() if local is None else KnownModel.of_folder(local)

    def identity(self) -> dict[str, Any]:
        """Repository and revision, or the local folder's content hash. Raises ModelError for an incomplete folder."""
        local = self._local()
        if local is not None:
            return dict(model_folder.identity(local))
        return {"name": self.name, "repo": self.repo, "revision": self.revision}

    def materialize(self, folder: Path, progress: Progress) -> None:
        """Link or copy the model into `folder`, downloading files that are not in the Hub cache. Raises ModelError."""
        source = self._local()
        if source is None:
            self._fetch(("*",), progress, without=model_folder.WEIGHTS)
            source = self._fetch(SAFETENSORS, progress).folder
            if not any(source.glob("model*.safetensors")):
                source = self._fetch(PYTORCH, progress).folder
        model_folder.copy(source, folder)

    def origin(self) -> dict[str, str]:
        """Repository and resolved commit; empty if a local folder is used."""
        if self._local() is not None:
            return {}
        return {"repo": self.repo, "commit": self._fetch(("config.json",), None, offline=True).commit}

    def _local(self) -> Path | None:
        folder = self._named()
        return folder if folder is not None and folder.is_dir() else None

    def _named(self) -> Path | None:
        """The folder that `local` names, whether or not it exists."""
        if self.local is None:
            return None
        return Path(expand_named(os.environ.get("HPT_MODELS") or "models", "HPT_MODELS")) / self.local

    def _fetch(
        self,
        patterns: tuple[str, ...],
        progress: Progress | None,
        without: tuple[str, ...] = (),
        offline: bool = False,
    ) -> hub.Snapshot:
        instead = 'name a local copy: source = { name = "folder", path = ... }'
        if (folder := self._named()) is not None:
            instead = f"put the model into {folder} (`hpt models fetch {self.local}` where it is known)"
        return hub.fetch(
            self.repo, self.revision, patterns, "model", ModelError, instead, progress, offline, without=without
        )
