"""Runs that are refused before training starts."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpt_core import schemas
from hpt_core.errors import ConfigError, DataError, HPTError, ModelError, PreflightError
from hpt_core.files import write_parquet
from hpt_core.train import run
from hpt_core.training.config import TrainConfig, TrainSpec
from hpt_core.training.distributed import World
from hpt_core.training.preflight import check_questions
from hpt_core.training.questions import read_questions
from hpt_core.upge.estimator import Estimator
from hpt_core.worker import read_spec


def refused(spec: Path, kind: type[HPTError], match: str) -> None:
    with pytest.raises(kind, match=match) as caught:
        run(read_spec(TrainSpec, spec))
    assert caught.value.remedy
    folder = spec.parent
    assert not (folder / "output").exists()
    assert not (folder / "work").exists()


@pytest.mark.parametrize(
    ("changes", "kind", "match"),
    [
        ({"sampling": {"temperature": 0}}, ConfigError, "temperature is 0"),
        ({"sampling": {"top_p": 0.9}}, ConfigError, "top_p is 0.9"),
        ({"sampling": {"max_tokens": 300}}, PreflightError, r"take up to \d+ tokens; the model's context is 256"),
        ({"questions_per_step": 41}, PreflightError, "uses 41 questions, but the data has only 40"),
        ({"engine": {"name": "vllm", "kv_cache_gib": 9e6}}, PreflightError, "GiB of memory"),
    ],
)
def test_settings(make_spec: Any, tmp_path: Path, changes: dict[str, Any], kind: type[HPTError], match: str) -> None:
    refused(make_spec(tmp_path, **changes), kind, match)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_eight_bit_moments_without_bitsandbytes(make_spec: Any, tmp_path: Path) -> None:
    refused(make_spec(tmp_path, optimizer={"eight_bit": True}), ConfigError, "optimizer.eight_bit needs bitsandbytes")


def test_eight_bit_moments_of_several_ranks(make_spec: Any, tmp_path: Path) -> None:
    spec = read_spec(TrainSpec, make_spec(tmp_path, optimizer={"eight_bit": True}))
    estimator = Estimator(spec.config.algorithm, max_length=8)
    with pytest.raises(PreflightError, match=r"eight_bit works only in a single process; this run has 2"):
        check_questions(spec, estimator, [], [], World(size=2))


def test_more_held_out_questions_than_exist(make_spec: Any, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, validation={"questions": 40})
    refused(spec, PreflightError, "validation holds out 40 questions, but the data has only 40")


def test_held_out_questions_do_not_fill_a_step(make_spec: Any, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, validation={"questions": 30}, questions_per_step=11)
    refused(spec, PreflightError, "uses 11 questions, but the data has only 10")


def test_missing_data(make_spec: Any, tmp_path: Path) -> None:
    refused(make_spec(tmp_path, data=tmp_path / "none.parquet"), PreflightError, "does not exist")


def test_data_that_is_not_a_table(make_spec: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_text("question,answer")
    refused(make_spec(tmp_path, data=tmp_path / "broken.parquet"), DataError, "is not a table of prepared questions")


def test_sft_without_demonstrations(make_spec: Any, digits_data: Path, tmp_path: Path) -> None:
    without = dict.fromkeys(("demonstration", "demonstration_tokens", "demonstration_verdict"))
    rows = [row | without for row in pq.read_table(digits_data).to_pylist()]
    write_parquet(tmp_path / "bare.parquet", pa.Table.from_pylist(rows, schema=schemas.PREPARED))
    bare = tmp_path / "bare.parquet"
    refused(make_spec(tmp_path, data=bare, algorithm="sft"), PreflightError, "no question with a demonstration")
    refused(make_spec(tmp_path, data=bare, algorithm="hpt"), PreflightError, "no question with a demonstration")


def test_questions_without_a_demonstration_are_left_out_and_counted(
    digits_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    without = dict.fromkeys(("demonstration", "demonstration_tokens", "demonstration_verdict"))
    rows = pq.read_table(digits_data).to_pylist()
    mixed = [row | without if i % 4 == 0 else row for i, row in enumerate(rows)]
    write_parquet(tmp_path / "mixed.parquet", pa.Table.from_pylist(mixed, schema=schemas.PREPARED))
    for algorithm, kept in [("hpt", 30), ("sft", 30), ("grpo", 40)]:
        fields = {"algorithm": algorithm, "steps": 1}
        estimator = Estimator(TrainConfig.model_validate(fields).algorithm, max_length=8)
        caplog.clear()
        found = read_questions(tmp_path / "mixed.parquet", need_demonstration=estimator.uses_demonstrations)
        assert len(found) == kept
        counted = "leaving out 10 of 40 questions" in caplog.text
        assert counted == (kept < 40)


@pytest.mark.parametrize(
    ("lost", "match"),
    [
        ("tokenizer.json", "has no tokenizer"),
        ("model.safetensors", "has no weights: model.safetensors is missing"),
        ("config.json", "config.json"),
    ],
)
def test_incomplete_model_folder(make_spec: Any, tiny_model: Path, tmp_path: Path, lost: str, match: str) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    for file in model.glob(f"{lost.split('.')[0]}.*" if lost == "tokenizer.json" else lost):
        file.unlink()
    refused(make_spec(tmp_path, model), ModelError, match)


def test_missing_shard(make_spec: Any, tiny_model: Path, tmp_path: Path) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    (model / "model.safetensors").rename(model / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(make_spec(tmp_path, model), ModelError, r"model-00002-of-00002.safetensors is missing")


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("config.json", "[]", "config.json does not contain a JSON object"),
        ("config.json", "{", "config.json cannot be read as JSON"),
        ("model.safetensors.index.json", "{", "index.json cannot be read as JSON"),
        ("model.safetensors", "", "not a complete safetensors file"),
    ],
)
def test_damaged_model_folder(
    make_spec: Any, tiny_model: Path, tmp_path: Path, name: str, content: str, match: str
) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    (model / name).write_text(content)
    refused(make_spec(tmp_path, model), ModelError, match)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"quantization_config": {"quant_method": "awq"}}, r"the model is quantized \(awq\)"),
        ({"final_logit_softcapping": 30.0}, "models with final_logit_softcapping are not supported"),
        ({"head_dim": 16}, "16 channels per attention head, for which vLLM has no kernel on CPUs"),
        ({"vocab_size": 200}, r"a vocabulary of 200 tokens \(vocab_size in config.json\)"),
        ({"tie_word_embeddings": False}, r"missing the weights lm_head\.weight"),
    ],
)
def test_a_model_that_cannot_be_trained(
    make_spec: Any, tiny_model: Path, tmp_path: Path, changes: dict[str, Any], match: str
) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | changes))
    refused(make_spec(tmp_path, model, engine={"name": "vllm", "kv_cache_gib": 0.25}), ModelError, match)


def test_missing_model_folder(make_spec: Any, tmp_path: Path) -> None:
    refused(make_spec(tmp_path, tmp_path / "none"), ModelError, "there is no model folder")
