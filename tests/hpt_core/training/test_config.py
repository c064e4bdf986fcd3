"""The fields of a training stage's config that enter its identity."""

from typing import Any

import pytest

from hpt_core.training.config import TrainConfig


def identity(algorithm: str = "hpt", **changes: Any) -> dict[str, Any]:
    fields = {"algorithm": algorithm, "steps": 3}
    return TrainConfig.model_validate(fields | changes).identity()


@pytest.mark.parametrize(
    "change",
    [
        {"engine": {"name": "vllm", "kv_cache_gib": 0.5, "max_num_seqs": 3, "gpu_memory_utilization": 0.2}},
        {"gradient_checkpointing": True},
        {"checkpoint_every": 1, "keep_checkpoints": 4},
    ],
)
def test_memory_settings_and_names_do_not_change_the_identity(change: dict[str, Any]) -> None:
    assert identity(**change) == identity()


@pytest.mark.parametrize(
    "change",
    [{"steps": 4}, {"engine": "transformers"}, {"rollouts_per_question": 2}, {"sampling": {"temperature": 0.5}}],
)
def test_settings_that_change_the_training_change_the_identity(change: dict[str, Any]) -> None:
    assert identity(**change) != identity()


def test_without_rollouts_only_the_sampling_length_counts() -> None:
    sampling = {"temperature": 0.0, "top_p": 0.5}
    drawn = {"engine": "transformers", "rollouts_per_question": 2}
    assert identity("sft", sampling=sampling, **drawn) == identity("sft")
    assert identity("sft", sampling={"max_tokens": 7}) != identity("sft")
