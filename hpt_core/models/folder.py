"""An existing local model folder."""

from pathlib import Path
from typing import Any

from hpt_core import model_folder
from hpt_core.models.base import KnownModel, ModelSourceConfig
from hpt_core.paths import UserPath
from hpt_core.worker import Progress


class FolderModel(ModelSourceConfig):
    """A Hugging Face model folder: config.json, safetensors weights, tokenizer."""

    path: UserPath
    """The folder. It is only read."""

    def needs(self) -> str:
        """The folder, if it is missing."""
        return "" if self.path.is_dir() else f"a folder {self.path}"

    def known(self) -> KnownModel:
        """What the folder's files say."""
        return KnownModel.of_folder(self.path)

    def identity(self) -> dict[str, Any]:
        """The content hash, independent of the path. Raises ModelError if a file is missing."""
        return dict(model_folder.identity(self.path))

    def materialize(self, folder: Path, progress: Progress) -> None:
        """Link or copy the model's files into `folder`. Raises ModelError if one is missing."""
        progress(1, 1, f"{model_folder.copy(self.path, folder)} files of {self.path}")
