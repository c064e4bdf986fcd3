"""Nothing that a store, a model folder or a manifest contains is run, and no path in it leaves its folder."""

import ast
import contextlib
import io
import json
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hpt_core.artifacts import FileEntry, Store
from hpt_core.artifacts.store import Pin
from hpt_core.errors import HPTError, ModelError
from hpt_core.files import sha256_file

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("hpt_core", "benchmarks", "tasks", "flows")
FORBIDDEN = {"dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
READERS = {"hpt_core/training/stored.py"}
"""Files that read pickles, with a list of the types that these may contain."""
OUTSIDE = ["../../x", "/etc/passwd", "output/../../x", "output//x", "./output", "", "output/.."]


class Planted:
    """Unpickling it creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


def test_the_planted_object_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Planted(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def faults(tree: ast.AST, file: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from (f"imports {name}" for name in names if name.partition(".")[0] in FORBIDDEN)
        if not isinstance(node, ast.Call):
            continue
        call, options = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
        if call.startswith("pickle.") and call.endswith(("load", "loads", "Unpickler")) and file not in READERS:
            yield f"calls {call}"
        if call == "torch.load" and options.get("weights_only") != "True":
            yield "calls torch.load without weights_only=True"
        if options.get("allow_pickle", "False") != "False":
            yield f"lets {call} read pickles"
        if options.get("trust_remote_code", "False") != "False":
            yield f"lets {call} run a model's own code"
        if call.endswith("from_pretrained") and call.startswith("Auto") and "trust_remote_code" not in options:
            yield f"does not say that {call} must not run a model's own code"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_code_unpickles_or_runs_what_it_reads(package: str) -> None:
    found = []
    for path in (ROOT / package).rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        found += [f"{name}: {fault}" for fault in faults(ast.parse(path.read_text(encoding="utf-8")), name)]
    assert found == []


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_that_leaves_the_artifact_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="not a path below"):
        FileEntry(path=path, size=1, sha256="0" * 64)


def test_a_manifest_that_names_a_file_elsewhere_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """So the artifact is made again, and the file is neither read, nor deleted as damaged."""
    slot = Store(tmp_path / "store").slot("train", "f" * 64)
    slot.output.mkdir(parents=True)
    (tmp_path / "x").write_text("kept")
    manifest = {
        "stage": "train.hpt",
        "kind": "train",
        "fingerprint": "f" * 64,
        "inputs": {},
        "config": {},
        "versions": {},
        "outputs": {},
        "start": "2026-01-01T00:00:00Z",
        "end": "2026-01-01T00:00:00Z",
    }
    for path, exists in [("output/y", True), ("../../../x", False)]:
        file = {"path": path, "size": 4, "sha256": sha256_file(tmp_path / "x")}
        slot.manifest_file.write_text(json.dumps(manifest | {"files": [file]}))
        assert (slot.manifest() is not None) == exists
    assert "is damaged; the artifact will be produced again" in caplog.text
    assert (tmp_path / "x").read_text() == "kept"


def test_a_pin_cannot_name_a_folder_elsewhere() -> None:
    with pytest.raises(ValidationError, match="not a path below"):
        Pin(place="../../x", time="2026-01-01T00:00:00Z")


def test_the_index_of_a_model_cannot_name_a_file_elsewhere(tiny_model: Path, tmp_path: Path) -> None:
    from hpt_core.model_folder import require_complete

    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    (model / "model.safetensors").rename(tmp_path / "model.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))
    with pytest.raises(ModelError, match="not a path below"):
        require_complete(model)


def test_weights_with_code_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    from hpt_core.model_folder import _torch_counts
    from hpt_core.training.model import load_model

    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Planted(tmp_path / "ran")}))
    for read in (lambda: load_model(model, "cpu", False), lambda: _torch_counts(model / "pytorch_model.bin")):
        with pytest.raises(ModelError):
            read()
    assert not (tmp_path / "ran").exists()


def test_the_code_of_a_model_folder_is_not_run(tiny_model: Path, tmp_path: Path) -> None:
    from hpt_core.model_folder import load_tokenizer
    from hpt_core.training.model import load_model

    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    (model / "own.py").write_text(f"import os; os.mkdir({str(tmp_path / 'ran')!r})\nclass Config: pass\n")
    config = json.loads((model / "config.json").read_text())
    own = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Config", "AutoTokenizer": ["own.Config", None]}
    for changed in ({"auto_map": own}, {"auto_map": own, "model_type": "own"}):
        (model / "config.json").write_text(json.dumps(config | changed))
        for read in (lambda: load_model(model, "cpu", False), lambda: load_tokenizer(model)):
            # An unknown architecture is refused. A known one is loaded with transformers' own code.
            with contextlib.suppress(HPTError):
                read()
        assert not (tmp_path / "ran").exists()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of a small model."""
    import torch

    from hpt_core.training.checkpoint import Checkpointer

    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    Checkpointer(tmp_path / "checkpoints", keep=2).save(1, model, optimizer, {})
    return tmp_path / "checkpoints" / "step-00001"


def restore(checkpoint: Path) -> Any:
    import torch

    from hpt_core.training.checkpoint import Checkpointer

    model = torch.nn.Linear(2, 2)
    return Checkpointer(checkpoint.parent, keep=2).load(model, torch.optim.AdamW(model.parameters()))


def list_again(checkpoint: Path, name: str) -> None:
    """Let state.json list the file as it is now: whoever can change one can change the other."""
    state = json.loads((checkpoint / "state.json").read_text())
    for entry in state["files"]:
        if entry["path"] == name:
            file = checkpoint / name
            entry |= {"size": file.stat().st_size, "sha256": sha256_file(file)}
    (checkpoint / "state.json").write_text(json.dumps(state))


def test_the_description_of_a_checkpoint_cannot_run_code(checkpoint: Path, tmp_path: Path) -> None:
    assert restore(checkpoint) == (1, {})
    (checkpoint / "tensors" / ".metadata").write_bytes(pickle.dumps(Planted(tmp_path / "ran")))
    list_again(checkpoint, "tensors/.metadata")
    with pytest.raises(HPTError, match=r"cannot restore checkpoint .* posix.mkdir"):
        restore(checkpoint)
    assert not (tmp_path / "ran").exists()


def test_the_values_of_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    import torch

    from hpt_core.training.stored import Planner

    buffer = io.BytesIO()
    torch.save({"lr": Planted(tmp_path / "ran")}, buffer)
    buffer.seek(0)
    with pytest.raises(pickle.UnpicklingError):
        Planner().load_bytes(None, buffer)  # type: ignore[arg-type]  (not reached)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_that_lists_a_file_elsewhere_is_set_aside(checkpoint: Path) -> None:
    state = json.loads((checkpoint / "state.json").read_text())
    state["files"][0]["path"] = "../../x"
    (checkpoint / "state.json").write_text(json.dumps(state))
    assert restore(checkpoint) is None
    assert checkpoint.with_name("step-00001.damaged").is_dir()
