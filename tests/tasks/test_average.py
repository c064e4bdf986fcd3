"""Averages of models: the numbers, what is refused, and a pipeline that trains, averages and evaluates."""

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from hpt_core.errors import ModelError
from hpt_core.models.scratch import ScratchModel
from tasks.average import Config, Spec, average, run
from tasks.execution.config import PipelineConfig
from tasks.execution.keys import StageKey
from tests.conftest import copy_base
from tests.flows.pipelines import Hpt
from tests.warm import run_hpt

SHAPE = {"layers": 1, "hidden_size": 32, "intermediate_size": 32, "heads": 1}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models of one architecture."""
    folder = tmp_path_factory.mktemp("models")
    for seed in (0, 1):
        ScratchModel(**SHAPE, seed=seed).materialize(folder / str(seed), lambda done, total, text: None)
    return folder / "0", folder / "1"


def averaged(models: tuple[Path, ...], weights: tuple[float, ...], folder: Path) -> dict[str, torch.Tensor]:
    run(Spec(models=models, weights=weights, output=folder))
    return load_file(folder / "model" / "model.safetensors")


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_full_weight_on_one_model_gives_it_bit_for_bit(models: tuple[Path, Path], tmp_path: Path) -> None:
    found = averaged(models, (1.0, 0.0), tmp_path)
    assert found.keys() == tensors(models[0]).keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors(models[0]).items())


def test_averaging_a_model_with_itself_gives_the_model(models: tuple[Path, Path], tmp_path: Path) -> None:
    found = averaged((models[0], models[0]), (0.5, 0.5), tmp_path)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors(models[0]).items())


def test_the_average_is_a_complete_model_in_any_order(models: tuple[Path, Path], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = averaged(models, (0.25, 0.75), tmp_path / "a")
    other = averaged(models[::-1], (0.75, 0.25), tmp_path / "b")
    first, second = tensors(models[0]), tensors(models[1])
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, 0.25 * first[name] + 0.75 * second[name])
        torch.testing.assert_close(tensor, other[name])
    AutoModelForCausalLM.from_pretrained(tmp_path / "a" / "model")
    assert AutoTokenizer.from_pretrained(tmp_path / "a" / "model").chat_template


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=5), st.floats(0, 1))
def test_an_average_in_bfloat16_is_rounded_once(values: list[float], weight: float) -> None:
    first = torch.tensor(values, dtype=torch.bfloat16)
    second = (first.float() * 3 + 1).to(torch.bfloat16)
    found = average([first, second], [weight, 1 - weight])
    exact = weight * first.float() + (1 - weight) * second.float()
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, exact.to(torch.bfloat16))


def test_tensors_that_are_not_floats_come_from_the_first_model() -> None:
    counts = [torch.tensor([1, 2]), torch.tensor([5, 6])]
    assert torch.equal(average(counts, [0.0, 1.0]), counts[0])


def test_models_that_do_not_fit_are_refused(models: tuple[Path, Path], tmp_path: Path) -> None:
    wider = tmp_path / "wider"
    ScratchModel(**{**SHAPE, "intermediate_size": 64}).materialize(wider, lambda done, total, text: None)
    with pytest.raises(ModelError, match=r"mlp.down_proj.weight is \[32, 64\] in .*wider and \[32, 32\] in "):
        averaged((models[0], wider), (0.5, 0.5), tmp_path / "out")
    lacking = shutil.copytree(models[1], tmp_path / "lacking")
    kept = {name: tensor for name, tensor in tensors(lacking).items() if "norm" not in name}
    save_file(kept, lacking / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"norm.* is missing in .*lacking"):
        averaged((models[0], lacking), (0.5, 0.5), tmp_path / "out")
    spoken = shutil.copytree(models[1], tmp_path / "spoken")
    (spoken / "chat_template.jinja").write_text("another")
    with pytest.raises(ModelError, match=r"the tokenizers of .* differ"):
        averaged((models[0], spoken), (0.5, 0.5), tmp_path / "out")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("model*"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"models": ["train.a"]}, "at least 2"),
        ({"models": ["train.a", "train.b"], "weights": [1.0]}, "2 models have 1 weights"),
        ({"models": ["train.a", "train.b"], "weights": [0.5, 0.6]}, r"sum to 1\.1"),
    ],
)
def test_weights_must_fit(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config.model_validate(fields)


def pipeline(**changes: Any) -> dict[str, Any]:
    stage = {"data": "data.d", "algorithm": "sft", "steps": 2, "questions_per_step": 4, "sampling": {"max_tokens": 40}}
    return {
        "name": "soup",
        "model": {name: {"source": {"name": "scratch", **SHAPE, "max_positions": 512}} for name in ("base", "other")},
        "data": {"d": {"source": {"name": "procedural", "rows": 16, "seed": 1}, "model": "model.base"}},
        "train": {
            "a": {"from": "model.base", **stage},
            "b": {"from": "model.base", **stage, "seed": 5},
            "after": {"from": "average.soup", **stage},
        },
        "average": {"soup": {"models": ["train.a", "train.b"]}},
        "evaluate": {
            "models": ["average.soup"],
            "suites": ["procedural_double"],
            "engine": {"name": "scripted", "otherwise": "\\boxed{3}"},
            "dtype": "float32",
            "limit": 4,
            "k": 1,
            "max_tokens": 40,
        },
        **changes,
    }


def test_models_of_different_origin_are_refused() -> None:
    with pytest.raises(
        ValidationError, match=r"average\.soup\.models: train\.a starts from model\.base but model\.other"
    ):
        PipelineConfig.model_validate(pipeline(average={"soup": {"models": ["train.a", "model.other"]}}))


def test_globs_select_models() -> None:
    config = PipelineConfig.model_validate(pipeline(average={"soup": {"models": ["train.[ab]"]}}))
    assert [str(key) for key in config.config_of(StageKey("average", "soup")).models] == ["train.a", "train.b"]


@pytest.mark.xdist_group("plugins")
def test_a_pipeline_trains_averages_and_continues_from_the_average(
    finished: Hpt, prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    """The kind of stage is known to plan, run, report and command line without a word of it elsewhere."""
    from flows.fields import toml

    lines = [f"{key} = {toml(value)}" for key, value in pipeline(store=str(tmp_path / "runs")).items()]
    (tmp_path / "soup.toml").write_text("\n".join(lines))
    copy_base(finished, tmp_path / "runs")
    hpt = functools.partial(run_hpt, environment=prefect_environment, folder=tmp_path, timeout=500)
    assert (done := hpt(["run", "soup.toml", "--json"]))
    assert done[0] == 0, done
    named = tmp_path / "runs" / "by-name"
    soup = tensors(named / "average.soup" / "output" / "model")
    parts = [tensors(named / f"train.{name}" / "output" / "model") for name in "ab"]
    for name, tensor in soup.items():
        torch.testing.assert_close(tensor, (parts[0][name] + parts[1][name]) / 2)
    manifest = json.loads((named / "average.soup" / "manifest.json").read_text())
    assert manifest["facts"] == {"train.a": 0.5, "train.b": 0.5}
    assert len(set(manifest["inputs"].values())) == 2
    assert "| soup | measured |" in (named / "report" / "output" / "leaderboard.md").read_text()
    assert (named / "train.after" / "output" / "model").is_dir()
    assert (again := hpt(["average", "soup.toml"]))
    assert again[0] == 0 and "average.soup: reused" in again[2]
