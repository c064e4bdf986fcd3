"""Memory and disk that a training stage needs, against the devices it would run on."""

from pathlib import Path
from typing import Any

import psutil
import pytest

from hpt_core.errors import PreflightError
from hpt_core.model_folder import read_object, size
from hpt_core.rollout.vllm import CPU_KV_CACHE_GIB
from hpt_core.training.config import LoraConfig, TrainConfig
from hpt_core.training.memory import (
    GIB,
    adapter_parameters,
    bytes_per_weight,
    checkpoint_bytes,
    memory_of_rank,
    require_memory,
    rollout_bytes,
)

CACHE = int(GIB * CPU_KV_CACHE_GIB)
"""Bytes of vLLM's cache on CPUs where the config leaves it open."""


def stage(algorithm: str, dtype: str = "float32", **fields: Any) -> TrainConfig:
    return TrainConfig.model_validate({"algorithm": algorithm, "steps": 1, "dtype": dtype, **fields})


@pytest.mark.parametrize(
    ("algorithm", "dtype", "bytes_each", "beside"),
    [("sft", "float32", 16, 0), ("hpt", "bfloat16", 18, CACHE), ("hpt", "float32", 20, CACHE)],
)
def test_a_model_fits_or_is_refused(algorithm: str, dtype: str, bytes_each: int, beside: int) -> None:
    most = (psutil.virtual_memory().total - beside) // bytes_each
    require_memory("train.x", stage(algorithm, dtype), most, 1, ())
    with pytest.raises(PreflightError, match=r"train\.x needs about .*, but this machine has .*Remedy: "):
        require_memory("train.x", stage(algorithm, dtype), most + 1, 1, ())


def test_processes_of_one_machine_share_the_trainers_memory_and_each_has_an_engine() -> None:
    total = psutil.virtual_memory().total
    require_memory("train.x", stage("sft"), total // 16, 4, ())
    most = (total - 2 * CACHE) // (16 + 2 * 4)
    require_memory("train.x", stage("hpt"), most, 2, ())
    with pytest.raises(PreflightError):
        require_memory("train.x", stage("hpt"), most + 1, 2, ())


@pytest.mark.parametrize(("processes", "fits"), [(1, False), (8, True)])
def test_gpus_share_out_a_model_that_is_too_large_for_one(processes: int, fits: bool) -> None:
    check = lambda: require_memory(  # noqa: E731
        "train.x", stage("hpt", "bfloat16"), 7_600_000_000, processes, (80 * 2**30,) * processes
    )
    if fits:
        check()
    else:
        with pytest.raises(PreflightError, match="the first GPU"):
            check()


def test_lora_and_eight_bit_moments_need_less() -> None:
    found = [
        bytes_per_weight(stage("sft", **changes))
        for changes in ({}, {"optimizer": {"eight_bit": True}}, {"lora": {"rank": 8}})
    ]
    assert found == [16, 10, 4]


@pytest.mark.parametrize(
    ("given", "on_gpu", "gib"), [(None, False, 1.0), (3.0, False, 3.0), (None, True, 0), (3.0, True, 3)]
)
def test_the_engines_cache_is_counted_once(given: float | None, on_gpu: bool, gib: float) -> None:
    engine = {"name": "vllm", **({} if given is None else {"kv_cache_gib": given})}
    assert memory_of_rank(stage("hpt", engine=engine), 0, 1, on_gpu) == gib * GIB


def test_an_engine_without_a_cache_of_its_own_and_training_without_rollouts_need_none() -> None:
    assert memory_of_rank(stage("hpt", engine="transformers"), 0, 1, False) == 0
    assert memory_of_rank(stage("sft"), 0, 1, False) == 0


def test_checkpoints_hold_weights_and_moments_of_what_trains() -> None:
    whole, adapters = (stage("sft", steps=500, keep_checkpoints=2, **lora) for lora in ({}, {"lora": {"rank": 4}}))
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    assert checkpoint_bytes(whole, 1_000_000, shape) == 3 * 12 * 1_000_000
    # Four square layers and three between 64 and 128, each with two matrices of rank 4.
    assert checkpoint_bytes(adapters, 1_000_000, shape) == 3 * 12 * 2 * 4 * (4 * 128 + 3 * 192)
    assert checkpoint_bytes(adapters, 1_000_000, {}) == 3 * 12 * 1_000_000, "of a shape that is not known, all weights"
    short = stage("sft", keep_checkpoints=2, steps=whole.checkpoint_every + 1)
    assert checkpoint_bytes(short, 1_000_000, {}) == 2 * 12 * 1_000_000, "a run of two checkpoints never has three"


def test_rollouts_of_the_papers_run_are_counted() -> None:
    """500 steps of 1,024 responses: some 15 GB."""
    whole = rollout_bytes(stage("hpt", steps=500))
    assert 14e9 < whole < 17e9
    share = rollout_bytes(stage("hpt", steps=500, keep_rollouts={"every": 50, "last": 20}))
    assert share == pytest.approx(whole * 29 / 500), "step 500 is one of both"
    assert rollout_bytes(stage("hpt", steps=500, keep_rollouts={"every": 0})) == 0
    assert rollout_bytes(stage("sft", steps=500)) == 0


def test_the_number_of_adapter_weights_matches_peft(tiny_model: Path) -> None:
    pytest.importorskip("peft", reason="needs peft")
    from hpt_core.training.lora import add_adapters
    from hpt_core.training.model import load_model

    lora = LoraConfig(rank=3)
    adapted = add_adapters(load_model(tiny_model), lora)
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    counted = adapter_parameters(lora, size(tiny_model).parameters, read_object(tiny_model / "config.json"))
    assert trained <= counted <= 1.2 * trained
