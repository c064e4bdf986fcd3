"""Memory that a training stage needs, against the device it would run on."""

import psutil
import pytest

from flows.preflight import ENGINE_CACHE_BYTES, check_memory
from hpt_core.config import TrainConfig
from hpt_core.errors import PreflightError
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
