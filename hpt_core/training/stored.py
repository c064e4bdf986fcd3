"""Read checkpoints without running code that they contain.

torch.distributed.checkpoint describes a checkpoint in a pickle and stores other values than tensors in further pickles.
A pickle can hold code, so anybody who can write to a store could run code on the machines that resume from it. These
pickles are therefore read with unpicklers that know only a few harmless types.
"""

import io
import pickle
from typing import Any

import torch
from torch.distributed.checkpoint import metadata
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.planner import ReadItem

HARMLESS = {
    ("builtins", "set"),
    ("collections", "OrderedDict"),
    ("pathlib", "Path"),
    ("pathlib", "PosixPath"),
    ("pathlib._local", "PosixPath"),  # Python 3.13
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
}
"""Module and name of what a description may contain, beside the classes of torch's own metadata and data types."""


class Unpickler(pickle.Unpickler):
    """Reads a checkpoint's description."""

    def find_class(self, module: str, name: str) -> Any:
        """The type. Raises UnpicklingError for any that a description does not need."""
        is_metadata = module == metadata.__name__ and isinstance(getattr(metadata, name, None), type)
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if is_metadata or is_dtype or (module, name) in HARMLESS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it contains {module}.{name}, which no checkpoint of ours does")


class Reader(FileSystemReader):
    """Reads a folder that torch.distributed.checkpoint has written."""

    def read_metadata(self, *arguments: Any, **options: Any) -> metadata.Metadata:
        """See FileSystemReader. Raises UnpicklingError."""
        path = self._get_metadata_path(options.get("rank"))
        with self.fs.create_stream(path, "rb") as file:
            found: metadata.Metadata = Unpickler(file).load()
        if found.storage_meta is None:
            found.storage_meta = metadata.StorageMeta()
        found.storage_meta.load_id = self.load_id
        return found


class Planner(DefaultLoadPlanner):
    """Plans the reading of a checkpoint, whose values are plain data."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """See DefaultLoadPlanner. Raises UnpicklingError."""
        plain = torch.load(value, weights_only=True)
        # What DefaultLoadPlanner does with it, which would unpickle anything, it now does with plain data.
        buffer = io.BytesIO()
        torch.save(plain, buffer)
        buffer.seek(0)
        super().load_bytes(read_item, buffer)
