"""Model folders: completeness, identity, overrides, and the program that makes them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpt_core import model_folder
from hpt_core.errors import ModelError
from hpt_core.models import folder, hub
from hpt_core.models.materialize import ModelConfig, materialize


def silent(done: int, total: int, text: str) -> None:
    """No progress."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A model folder that a test may damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def edit(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_materialized_folder_is_complete_and_loads(model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made = materialize(ModelConfig(source=folder.FolderModel(path=model)), tmp_path / "out", silent)
    assert len(made.weights_id) == len(made.tokenizer_id) == 64
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template


KEPT = (
    *("README.md", "LICENSE", ".gitattributes", "preprocessor_config.json", "additional_chat_templates/tool.jinja"),
    *("sub/notes.bin", "sub/below/image.png", "modeling_own.py"),
)
LEFT_OUT = (
    *("pytorch_model.bin", "pytorch_model.bin.index.json", "model-q4.gguf", "tf_model.h5", "flax_model.msgpack"),
    *("onnx/model.onnx", "onnx/model.onnx_data", "original/consolidated.00.pth", "optimizer.pt", "sub/x.safetensors"),
    *("adapter_config.json", ".git/config", ".cache/huggingface/a", "__pycache__/a.pyc", "runs/.leases/a"),
    "runs/model/1/manifest.json",
)


@pytest.mark.parametrize("link_bytes", [1, 16_000_000])
def test_every_file_is_carried_over_but_unused_weights_and_caches(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link_bytes: int
) -> None:
    monkeypatch.setattr(model_folder, "LINK_BYTES", link_bytes)
    source = folder.FolderModel(path=model)
    before = materialize(ModelConfig(source=source), tmp_path / "before", silent)
    identity = source.identity()
    own = {path.name for path in model.iterdir()}
    for name in (*KEPT, *LEFT_OUT):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(name)
    made = materialize(ModelConfig(source=source), tmp_path / "out", silent)
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {*own, *KEPT}
    assert all((tmp_path / "out" / name).read_text() == name for name in KEPT)
    assert made == before, "what the model does is the same"
    assert source.identity() != identity, "but the folder is made again"


def test_a_link_out_of_the_folder_is_not_carried_over(model: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("key")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "file").write_text("x")
    (model / "README.md").write_text("readme")
    for name, target in {
        "notes": tmp_path / "secret",
        "folder": tmp_path / "more",
        "self": model,
        "nowhere": tmp_path / "none",
        "inside.md": Path("README.md"),
    }.items():
        (model / name).symlink_to(target)
    tokenizer = (model / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    (model / "tokenizer.json").symlink_to(tokenizer)
    materialize(ModelConfig(source=folder.FolderModel(path=model)), tmp_path / "out", silent)
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made.isdisjoint({"notes", "folder", "self", "nowhere"})
    assert made >= {"README.md", "inside.md", "tokenizer.json"}


def test_a_snapshot_in_the_hub_cache_is_copied_with_its_links(model: Path, tmp_path: Path) -> None:
    (model / "LICENSE").write_text("free")
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    (blobs := tmp_path / "models--a--b" / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in model.iterdir():
        shutil.copy(path, blobs / f"blob-{path.name}")
        (snapshot / path.name).symlink_to(f"../../blobs/blob-{path.name}")
    source = folder.FolderModel(path=snapshot)
    assert source.identity() == folder.FolderModel(path=model).identity()
    materialize(ModelConfig(source=source), tmp_path / "out", silent)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in model.iterdir()}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("adapter_config.json", "adapter_model.safetensors"), "holds an adapter.*Remedy: merge it into its base"),
        (("adapter_config.json", "config.json", "adapter_model.bin"), "holds an adapter.*Remedy: merge it"),
        (("model-q4_k_m.gguf",), "not read: model-q4_k_m.gguf.*Remedy: .*convert the model .*gguf_file"),
        (("model.gguf", "config.json"), "not read: model.gguf.*Remedy: .*convert the model"),
        (("consolidated.safetensors", "params.json"), "not read: consolidated.safetensors"),
        (("config.json",), "model.safetensors is missing"),
        (("model.safetensors",), "config.json is missing. Remedy: fetch the model again"),
        ((), "config.json is missing. Remedy: fetch the model again"),
    ],
)
def test_a_folder_that_is_no_whole_model_says_what_to_do(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(ModelError, match=message):
        folder.FolderModel(path=tmp_path).identity()


@pytest.mark.parametrize("content", ["{", "[]", "\x00"])
def test_malformed_generation_settings_are_named(model: Path, content: str) -> None:
    (model / "generation_config.json").write_text(content)
    with pytest.raises(ModelError, match=r"generation_config.json .*JSON.*Remedy: correct it"):
        folder.FolderModel(path=model).identity()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "config.json is missing"),
        ("model.safetensors", "model.safetensors is missing"),
        ("tokenizer.json", "tokenizer.json is missing"),
    ],
)
def test_an_incomplete_folder_is_refused_by_the_name_of_the_file(
    model: Path, tmp_path: Path, missing: str, message: str
) -> None:
    for name in (missing, "vocab.json", "merges.txt"):
        (model / name).unlink(missing_ok=True)
    source = folder.FolderModel(path=model)
    with pytest.raises(ModelError, match=message):
        source.identity()
    with pytest.raises(ModelError, match=message):
        materialize(ModelConfig(source=source), tmp_path / "out", silent)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_a_missing_folder_and_a_missing_shard_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model folder"):
        folder.FolderModel(path=tmp_path / "nowhere").identity()
    assert folder.FolderModel(path=tmp_path / "nowhere").needs() == f"a folder {tmp_path / 'nowhere'}"
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    (model / "model.safetensors").rename(model / "model-00001-of-00002.safetensors")
    with pytest.raises(ModelError, match=r"model-00002-of-00002\.safetensors is missing"):
        folder.FolderModel(path=model).identity()


@pytest.mark.parametrize("size", [0, 5, 1000, -1])
def test_weights_cut_short_are_refused(model: Path, size: int) -> None:
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[:size])
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        folder.FolderModel(path=model).identity()


def test_broken_json_is_refused(model: Path) -> None:
    (model / "config.json").write_text('{"model_type":')
    with pytest.raises(ModelError, match=r"config.json cannot be read as JSON"):
        folder.FolderModel(path=model).identity()


def test_identity_depends_on_content_not_on_path(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    first = folder.FolderModel(path=model).identity()
    assert folder.FolderModel(path=copy).identity() == first
    edit(copy / "generation_config.json", temperature=0.5)
    assert folder.FolderModel(path=copy).identity() != first
    assert model_folder.tokenizer_id(copy) == model_folder.tokenizer_id(model)
    (copy / "chat_template.jinja").write_text("other")
    assert model_folder.tokenizer_id(copy) != model_folder.tokenizer_id(model)


def test_size_counts_each_number_once(model: Path) -> None:
    from transformers import AutoModelForCausalLM

    found = model_folder.size(model)
    assert found.parameters == AutoModelForCausalLM.from_pretrained(model).num_parameters()
    assert found.dtype == "float32"
    assert found.bytes == (model / "model.safetensors").stat().st_size


def test_large_files_are_linked(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_folder, "LINK_BYTES", 10_000)
    materialize(ModelConfig(source=folder.FolderModel(path=model)), tmp_path / "out", silent)
    assert (tmp_path / "out" / "model.safetensors").samefile(model / "model.safetensors")
    assert not (tmp_path / "out" / "config.json").samefile(model / "config.json")


@pytest.mark.parametrize(("rows", "lost"), [(258, 1), (200, 59)])
def test_a_vocabulary_smaller_than_the_tokenizers_is_refused(model: Path, tmp_path: Path, rows: int, lost: int) -> None:
    edit(model / "config.json", vocab_size=rows)
    with pytest.raises(
        ModelError, match=rf"a vocabulary of {rows} tokens .* tokens beyond it: {lost}, such as .*Remedy: use the tok"
    ):
        model_folder.load_tokenizer(model)
    with pytest.raises(ModelError):
        materialize(ModelConfig(source=folder.FolderModel(path=model)), tmp_path / "out", silent)


def test_a_special_token_beyond_the_vocabulary_is_refused_only_if_it_is_used(model: Path) -> None:
    from tokenizers import AddedToken

    tokenizer = model_folder.load_tokenizer(model)
    tokenizer.add_tokens([AddedToken("<|padding|>", special=True)], special_tokens=True)
    tokenizer.save_pretrained(model)
    assert model_folder.load_tokenizer(model)("a").input_ids
    tokenizer.chat_template = "<|padding|>{{ messages[0].content }}"
    tokenizer.save_pretrained(model)
    with pytest.raises(ModelError, match=r"tokens beyond it: 1, such as '<\|padding\|>' with number 259"):
        model_folder.load_tokenizer(model)
    tokenizer.chat_template = "{{ messages[0].content }}"
    tokenizer.eos_token = "<|padding|>"
    tokenizer.save_pretrained(model)
    with pytest.raises(ModelError, match=r"'<\|padding\|>' with number 259"):
        model_folder.load_tokenizer(model)


@pytest.mark.parametrize("content", ["{", "[]", '{"version": "1.0"}'])
def test_a_damaged_tokenizer_is_refused_with_the_cause(model: Path, content: str) -> None:
    for name in ("vocab.json", "merges.txt"):
        (model / name).unlink(missing_ok=True)
    (model / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=r"cannot load the tokenizer in .*: .*Remedy: fetch the model again"):
        model_folder.load_tokenizer(model)


LEGACY: list[dict[str, Any]] = [
    {"rope_theta": 10_000.0},
    {"rope_theta": 10_000.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}, "rope_theta": 5_000.0},
]


@pytest.mark.parametrize("rotary", LEGACY)
def test_overrides_reach_every_layout_of_the_models_config(model: Path, tmp_path: Path, rotary: dict[str, Any]) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    kept = json.loads((model / "config.json").read_text())
    kept = {k: v for k, v in kept.items() if k not in ("rope_parameters", "rope_theta", "rope_scaling")}
    (model / "config.json").write_text(json.dumps({**kept, **rotary}))
    before = (model / "config.json").read_text()
    config = ModelConfig(source=folder.FolderModel(path=model), rope_theta=40_000.0, max_position_embeddings=512)
    materialize(config, tmp_path / "out", silent)
    loaded = AutoConfig.from_pretrained(tmp_path / "out")
    assert loaded.rope_parameters["rope_theta"] == 40_000.0
    assert loaded.max_position_embeddings == 512
    assert AutoTokenizer.from_pretrained(tmp_path / "out").model_max_length >= 512
    network = AutoModelForCausalLM.from_pretrained(tmp_path / "out").model.rotary_emb
    factor = rotary.get("rope_scaling", {}).get("factor", 1.0)
    expected = 40_000.0 ** -(torch.arange(0, 32, 2) / 32) / factor
    assert torch.allclose(network.inv_freq, expected)
    assert (model / "config.json").read_text() == before


def test_overrides_change_the_identity(model: Path, tmp_path: Path) -> None:
    source = folder.FolderModel(path=model)
    plain = materialize(ModelConfig(source=source), tmp_path / "a", silent)
    again = materialize(ModelConfig(source=source), tmp_path / "b", silent)
    other = materialize(ModelConfig(source=source, rope_theta=5_000.0), tmp_path / "c", silent)
    assert plain == again
    assert plain.weights_id != other.weights_id
    assert plain.tokenizer_id == other.tokenizer_id


def test_an_override_that_a_model_ignores_is_refused(model: Path, tmp_path: Path) -> None:
    (model / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 1, "n_embd": 8, "n_head": 1}))
    with pytest.raises(ModelError, match="gpt2 has no single rotary base"):
        materialize(ModelConfig(source=folder.FolderModel(path=model), rope_theta=40_000.0), tmp_path / "out", silent)
    assert not (tmp_path / "out").exists()


def test_a_scaled_model_keeps_the_length_that_it_scales_from(model: Path, tmp_path: Path) -> None:
    from transformers import AutoConfig

    yarn = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10_000.0}
    edit(model / "config.json", rope_parameters=yarn)
    materialize(
        ModelConfig(source=folder.FolderModel(path=model), max_position_embeddings=1024), tmp_path / "out", silent
    )
    assert AutoConfig.from_pretrained(tmp_path / "out").rope_parameters["original_max_position_embeddings"] == 256


def run_worker(spec: dict[str, Any], path: Path) -> "subprocess.CompletedProcess[str]":
    path.write_text(json.dumps(spec))
    command = [sys.executable, "-m", "hpt_core.models.materialize", str(path)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_the_program_writes_the_model_and_its_description(model: Path, tmp_path: Path) -> None:
    spec = {"config": {"source": {"name": "folder", "path": str(model)}}, "output": str(tmp_path / "out")}
    done = run_worker(spec, tmp_path / "spec.json")
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "out" / "model.json").read_text())
    assert facts["weights_id"] == model_folder.content_id(tmp_path / "out" / "model")
    assert facts["tokenizer_id"] == model_folder.tokenizer_id(model)
    assert (facts["architecture"], facts["max_position_embeddings"]) == ("Qwen2ForCausalLM", 256)

    (model / "tokenizer.json").unlink()
    spec["output"] = str(tmp_path / "other")
    done = run_worker(spec, tmp_path / "spec.json")
    assert done.returncode == 2
    event = json.loads(done.stdout.splitlines()[-1])
    assert event["type"] == "ModelError"
    assert "tokenizer.json is missing" in event["cause"]
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.slow
def test_the_engine_follows_the_overrides(tiny_model: Path, tmp_path: Path) -> None:
    """Log-probabilities of vLLM on a changed model equal the trainer's, and differ from those of the unchanged one."""
    pytest.importorskip("vllm")
    config = ModelConfig(source=folder.FolderModel(path=tiny_model), rope_theta=30.0, max_position_embeddings=400)
    materialize(config, tmp_path / "out", silent)
    env = {**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _COMPARE, str(tmp_path / "out"), str(tiny_model)],
        capture_output=True,
        text=True,
        env=env,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    same, other = json.loads(done.stdout.splitlines()[-1])
    assert same < 1e-4
    assert other > 1e-2


_COMPARE = """
import json, sys, torch
from transformers import AutoModelForCausalLM
from vllm import LLM, SamplingParams
ids = [1] + [(i * 37) % 200 + 10 for i in range(380)]
torch._dynamo.config.disable = True  # else a helper of the sampler is compiled, which needs a compiler
engine = LLM(sys.argv[1], dtype="float32", enforce_eager=True, disable_log_stats=True, seed=0)
found = engine.generate({"prompt_token_ids": ids}, SamplingParams(max_tokens=1, prompt_logprobs=0))[0].prompt_logprobs
rolled = torch.tensor([found[i][ids[i]].logprob for i in range(1, len(ids))])
def trainer(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        logprobs = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    return logprobs.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
print(json.dumps([float((trainer(f) - rolled).abs().max()) for f in sys.argv[1:3]]))
"""


def test_a_hub_model_uses_the_local_folder_if_it_exists(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPT_MODELS", str(tmp_path))
    source = hub.HubModel(repo="owner/name", local="model")
    assert source.needs() == ""
    assert source.identity() == folder.FolderModel(path=model).identity()
    assert source.origin() == {}
    materialize(ModelConfig(source=source), tmp_path / "out", silent)
    absent = hub.HubModel(repo="owner/name", local="other")
    assert absent.needs() == "network: owner/name from the Hub"
    assert absent.identity() == {"name": "hub", "repo": "owner/name", "revision": "main"}


WITHOUT_TORCH = """
import sys
from pathlib import Path
from hpt_core.model_folder import import_without_torch, load_tokenizer
from hpt_core.prompts.plain import PlainText

class Mine(PlainText): pass

plugin, folder = {"ours": PlainText, "mine": Mine}[sys.argv[1]](), Path(sys.argv[2])
import_without_torch(plugin)
ids = load_tokenizer(folder).encode("1 + 1 = 2")
imported = "torch" in sys.modules
import torch
print(ids == [int(i) for i in torch.tensor(ids)], imported, ids)
"""


@pytest.mark.parametrize(("plugin", "imported"), [("ours", False), ("mine", True)])
def test_a_tokenizer_is_loaded_without_torch_which_can_be_imported_afterwards(
    tiny_model: Path, plugin: str, imported: bool
) -> None:
    """A plug-in of a user's own may need a model, so torch is there as always."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, plugin, str(tiny_model)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ids = model_folder.load_tokenizer(tiny_model).encode("1 + 1 = 2")
    assert done.stdout.strip() == f"True {imported} {ids}"
    assert "PyTorch" not in done.stderr
