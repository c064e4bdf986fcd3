"""Hugging Face model folders: completeness, hashes, links, size, tokenizer."""

import json
import os
import pickle
import shutil
import sys
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from hpt_core.artifacts.known import KnownFiles
from hpt_core.errors import ModelError, explain
from hpt_core.files import sha256_json
from hpt_core.paths import check_inside

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)
"""Files that define the tokenizer and the chat template."""
VOCABULARIES = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
"""A tokenizer has at least one of these sets of files."""
CONFIG_FILES = ("config.json", "generation_config.json")
WEIGHTS = (
    *("*.safetensors", "*model*.bin", "*weight*.bin", "*optimizer*.bin", "*consolidated*", "*.index.json"),
    *("*.pt", "*.pth", "*.ckpt", "*.gguf", "*.ggml", "*.h5", "*.msgpack", "*.ot", "*.npz", "*.tflite", "*.pdparams"),
    *("*.onnx", "*.onnx_data*", "*adapter_config.json"),
)
"""Names of weights in any format, and of what only describes them."""
LINK_BYTES = 16_000_000
"""Files of at least this size are linked, not copied."""


def weight_files(folder: Path) -> list[Path]:
    """The weight files: safetensors if there are any, else PyTorch files. A sharded model's index comes first.

    Raises ModelError with the first file that is missing or truncated.
    """
    for single in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{single}.index.json"
        if index.is_file():
            shards = sorted(set(read_object(index).get("weight_map", {}).values()))
            try:
                found = [folder / check_inside(name) for name in shards]
            except ValueError as error:
                raise ModelError(f"{index}: {str(error).partition(';')[0]}", "fetch the model again") from error
            for path in found:
                if not path.is_file():
                    raise ModelError(f"{folder} is incomplete: {path.name} is missing", "fetch the model again")
            _require_whole(found)
            return [index, *found]
        if (folder / single).is_file():
            _require_whole([folder / single])
            return [folder / single]
    raise _incomplete(folder, f"{folder} has no weights: model.safetensors is missing")


def require_complete(folder: Path) -> list[Path]:
    """The files of the model in `folder`, sorted by name. Raises ModelError with the first missing file."""
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}", "correct the path, or fetch the model into it")
    if not (folder / "config.json").is_file():
        raise _incomplete(folder, f"{folder} is not a model folder: config.json is missing")
    for name in CONFIG_FILES:
        if (folder / name).is_file():
            read_object(folder / name)
    weights = weight_files(folder)
    if not any(all((folder / name).is_file() for name in names) for names in VOCABULARIES):
        raise ModelError(
            f"{folder} has no tokenizer: tokenizer.json is missing",
            "copy tokenizer.json and tokenizer_config.json of the model into it",
        )
    others = [folder / name for name in (*CONFIG_FILES, *TOKENIZER_FILES) if (folder / name).is_file()]
    return sorted([*weights, *others])


def _incomplete(folder: Path, cause: str) -> ModelError:
    """The error for a folder without config.json or without weights, which may be something else than a model."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    if any(fnmatchcase(name, own) for name in names for own in ("model*.safetensors", "pytorch_model*.bin")):
        return ModelError(cause, "fetch the model again")
    if "adapter_config.json" in names:
        return ModelError(
            f"{folder} holds an adapter, not a whole model",
            "merge it into its base model (merge_and_unload in peft), and save the result and the tokenizer there",
        )
    if others := [name for name in names if is_weight(name)]:
        return ModelError(
            f"{folder} has weights only in a format that is not read: {others[0]}",
            "choose a folder with safetensors, or convert the model with transformers: from_pretrained, with gguf_file "
            "for GGUF, which dequantizes it, then save_pretrained",
        )
    return ModelError(cause, "fetch the model again")


def is_weight(name: str) -> bool:
    """Whether a file of this name holds or describes weights, in any format."""
    return any(fnmatchcase(name, pattern) for pattern in WEIGHTS)


def other_files(folder: Path) -> list[Path]:
    """Every file of a model folder, and of the folders in it, that is no weight: license, further templates, code.

    Hidden folders, caches and stores are left out. So are links out of the folder, except those to a Hub cache's own
    files and those that stand for the model's config and tokenizer.
    """
    found = []
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_foreign(Path(at, name))]
        found += [Path(at, name) for name in names if not is_weight(name)]
    own = {folder / name for name in (*CONFIG_FILES, *TOKENIZER_FILES)}
    homes = [folder.resolve()]
    if homes[0].parent.name == "snapshots":
        homes.append(homes[0].parents[1] / "blobs")

    def belongs(path: Path) -> bool:
        target = path.resolve()
        return target.is_file() and (path in own or any(target.is_relative_to(home) for home in homes))

    return sorted(path for path in found if belongs(path))


def _is_foreign(folder: Path) -> bool:
    """Whether a folder in a model folder is version control, a cache, or a store."""
    return folder.name.startswith(".") or folder.name == "__pycache__" or (folder / ".leases").exists()


def content_hashes(folder: Path, files: list[Path]) -> dict[str, str]:
    """SHA-256 of each file in `folder` by its path there. Files that have not changed since they were last hashed are
    not read again."""
    known = KnownFiles()
    hashes = {path.relative_to(folder).as_posix(): known.sha256(path) for path in files}
    known.save()
    return hashes


def content_id(folder: Path) -> str:
    """SHA-256 over the names and contents of the files of a complete model folder that decide what the model does."""
    return sha256_json(content_hashes(folder, require_complete(folder)))


def identity(folder: Path) -> dict[str, str]:
    """What decides the content of a copy of a complete model folder, wherever it is."""
    files = require_complete(folder)
    others = sorted({*other_files(folder)} - {*files})
    found = {"name": "folder", "content": content_id(folder)}
    return found | ({"others": sha256_json(content_hashes(folder, others))} if others else {})


def tokenizer_id(folder: Path) -> str:
    """SHA-256 over the tokenizer's files and the chat template."""
    return sha256_json(content_hashes(folder, [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]))


def place(files: list[Path], source: Path, folder: Path) -> None:
    """Copy `files` of the folder `source` to `folder`. Large ones become hard links; across file systems, weights
    become symbolic links and other files are copied."""
    for path in files:
        file, target = path.resolve(), folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.stat().st_size >= LINK_BYTES:
            try:
                os.link(file, target)
                continue
            except OSError:
                if is_weight(path.name):
                    target.symlink_to(file)
                    continue
        shutil.copyfile(file, target)


def copy(source: Path, folder: Path) -> int:
    """Make `folder` a copy of the complete model folder `source`, without weights that the model does not use. Returns
    the number of files. Raises ModelError."""
    require_complete(source)
    files = [*weight_files(source), *other_files(source)]
    folder.mkdir(parents=True, exist_ok=True)
    place(files, source, folder)
    return len(files)


class Size(NamedTuple):
    """The size of a model."""

    parameters: int
    """Number of parameters in the weight files; tied weights count once."""
    dtype: str
    """Type of most parameters, such as "bfloat16" or "float32"."""
    bytes: int
    """Total size of the weight files."""


def size(folder: Path) -> Size:
    """The size of a model, read from the weight files' headers. Raises ModelError if a header cannot be read."""
    counts: Counter[str] = Counter()
    total = 0
    for path in weight_files(folder):
        if path.suffix == ".json":
            continue
        total += path.stat().st_size
        counts.update(_safetensors_counts(path) if path.suffix == ".safetensors" else _torch_counts(path))
    return Size(counts.total(), counts.most_common(1)[0][0], total)


_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def _safetensors_counts(path: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name, tensor in _header(path)[0].items():
        if name != "__metadata__":
            numbers = 1
            for length in tensor["shape"]:
                numbers *= length
            counts[_DTYPES.get(tensor["dtype"], tensor["dtype"].lower())] += numbers
    return counts


def _torch_counts(path: Path) -> Counter[str]:
    import torch

    counts: Counter[str] = Counter()
    try:
        tensors = torch.load(path, map_location="meta", weights_only=True, mmap=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path} is not a complete PyTorch weight file", "fetch the model again") from error
    for tensor in tensors.values():
        counts[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return counts


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and the file size in bytes that it implies."""
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if not 0 < length <= path.stat().st_size - 8:
            raise ModelError(f"{path} is not a complete safetensors file", "fetch the model again")
        try:
            header: dict[str, Any] = json.loads(handle.read(length))
            end = max((t["data_offsets"][1] for name, t in header.items() if name != "__metadata__"), default=0)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"{path} is not a safetensors file", "fetch the model again") from error
    return header, 8 + length + end


def _require_whole(weights: list[Path]) -> None:
    for path in weights:
        if path.suffix == ".safetensors":
            expected, found = _header(path)[1], path.stat().st_size
            if found != expected:
                raise ModelError(f"{path} has {found} bytes instead of {expected}", "fetch the model again")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises ModelError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON", "correct it, or fetch the model again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} does not contain a JSON object", "correct it, or fetch the model again")
    return found


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder. Raises ModelError if the folder is incomplete."""
    require_complete(folder)
    return read_object(folder / "config.json")


def context_length(config: dict[str, Any]) -> int:
    """Maximum sequence length according to the model's config.json."""
    return int(config.get("max_position_embeddings") or config.get("n_positions") or 2**31)


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part of a config.json; the whole of it unless the model also reads images or sound."""
    part = config.get("text_config")
    return part if isinstance(part, Mapping) else config


def import_without_torch(*plugins: object) -> None:
    """Import transformers for a program that loads tokenizers and no model, in a third of the time.

    transformers decides at its import whether there is a torch, and imports it even for a tokenizer. This program can
    import torch afterwards, but load no model of transformers; so nothing is done if one of the plug-ins that it calls
    is not ours, or if torch is imported already.
    """
    if "torch" in sys.modules or any(not type(each).__module__.startswith("hpt_core.") for each in plugins):
        return
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # such as to install torch
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from transformers import AutoTokenizer  # noqa: F401
    finally:
        del sys.modules["torch"]


def load_tokenizer(folder: Path) -> Any:
    """Load the folder's tokenizer (transformers.PreTrainedTokenizerBase). Raises ModelError, also if the model's
    vocabulary lacks some of its tokens."""
    from transformers import AutoTokenizer

    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}", "correct the path, or fetch the model into it")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a damaged tokenizer.json raises a bare Exception
        raise ModelError(f"cannot load the tokenizer in {folder}: {explain(error)}", "fetch the model again") from error
    _require_vocabulary(folder, tokenizer)
    return tokenizer


def chat_template(tokenizer: Any) -> str:
    """The chat template of a tokenizer, the default one if it has several; "" if it has none."""
    found = tokenizer.chat_template
    return str((found.get("default") if isinstance(found, Mapping) else found) or "")


def _require_vocabulary(folder: Path, tokenizer: Any) -> None:
    """Raise ModelError if a prompt or a response may contain a token for which the model has no embedding.

    Special tokens that neither end a response nor occur in the chat template are never used, such as padding.
    """
    rows = text_config(read_object(folder / "config.json")).get("vocab_size")
    if not isinstance(rows, int):
        return
    template = chat_template(tokenizer)
    used = {tokenizer.eos_token_id, tokenizer.bos_token_id}
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special and str(token) not in template}
    beyond = {i: token for token, i in tokenizer.get_vocab().items() if i >= rows and (i in used or i not in special)}
    if beyond:
        raise ModelError(
            f"{folder} has a vocabulary of {rows} tokens (vocab_size in config.json), but its tokenizer has tokens "
            f"beyond it: {len(beyond)}, such as {beyond[min(beyond)]!r} with number {min(beyond)}",
            "use the tokenizer that the model was trained with, or enlarge the model's embeddings "
            "(resize_token_embeddings in transformers)",
        )
