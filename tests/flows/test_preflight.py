"""Memory that a training stage needs, against the device it would run on."""

import psutil
import pytest

from flows.preflight import ENGINE_CACHE_BYTES, bytes_per_weight, check_memory
from hpt_core.errors import PreflightError
from hpt_core.training.config import TrainConfig
from tasks import environment


def stage(algorithm: str, dtype: str = "float32") -> TrainConfig:
    fields = {"from": "model.a", "data": "data.a", "algorithm": algorithm, "steps": 1, "dtype": dtype}
    return TrainConfig.model_validate(fields)


@pytest.mark.skipif(bool(environment.gpus()), reason="the stage would run on a GPU")
@pytest.mark.parametrize(
    ("algorithm", "dtype", "bytes_each", "beside"),
    [
        ("sft", "float32", 16, 0),
        ("hpt", "bfloat16", 18, ENGINE_CACHE_BYTES),
        ("hpt", "float32", 20, ENGINE_CACHE_BYTES),
    ],
)
def test_a_model_fits_or_is_refused(algorithm: str, dtype: str, bytes_each: int, beside: int) -> None:
    most = (psutil.virtual_memory().total - beside) // bytes_each
    check_memory("train.x", most, stage(algorithm, dtype))
    with pytest.raises(PreflightError, match=r"train\.x needs about .* and this machine has .*Remedy: "):
        check_memory("train.x", most + 1, stage(algorithm, dtype))


@pytest.mark.skipif(bool(environment.gpus()), reason="the stage would run on a GPU")
def test_processes_of_one_machine_share_the_trainers_memory_and_each_has_an_engine() -> None:
    total = psutil.virtual_memory().total
    check_memory("train.x", total // 16, stage("sft"), processes=4)
    most = (total - 2 * ENGINE_CACHE_BYTES) // (16 + 2 * 4)
    check_memory("train.x", most, stage("hpt"), processes=2)
    with pytest.raises(PreflightError):
        check_memory("train.x", most + 1, stage("hpt"), processes=2)


@pytest.mark.parametrize(("processes", "fits"), [(1, False), (8, True)])
def test_gpus_share_out_a_model_that_is_too_large_for_one(
    monkeypatch: pytest.MonkeyPatch, processes: int, fits: bool
) -> None:
    monkeypatch.setattr(environment, "gpu_memory_bytes", lambda: (80 * 2**30,) * processes)
    check = lambda: check_memory("train.x", 7_600_000_000, stage("hpt", "bfloat16"), processes)  # noqa: E731
    if fits:
        check()
    else:
        with pytest.raises(PreflightError, match="the first GPU"):
            check()


def test_lora_and_eight_bit_moments_need_less() -> None:
    fields = {"from": "model.a", "data": "data.a", "algorithm": "sft", "steps": 1}
    found = [
        bytes_per_weight(TrainConfig.model_validate(fields | changes))
        for changes in ({}, {"optimizer": {"eight_bit": True}}, {"lora": {"rank": 8}})
    ]
    assert found == [16, 10, 4]
