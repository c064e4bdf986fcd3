"""The fields of a training stage's config that enter its identity, and settings that change nothing."""

from typing import Any

import pytest
from pydantic import ValidationError

from hpt_core.base import idle_settings
from hpt_core.rollout.base import EngineConfig
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
    stop = {"stop": ["Question:"]}
    assert identity("sft", sampling=stop) == identity("sft")
    # Validation ends its responses there.
    validated = {"validation": {"every": 1}}
    assert identity("sft", sampling=stop, **validated) != identity("sft", **validated)
    assert identity("sft", importance_cap=2.0, truncated="mask") == identity("sft")
    assert identity(importance_cap=2.0) != identity()


def idle(algorithm: str = "hpt", steps: int = 10, **changes: Any) -> list[str]:
    return list(idle_settings(TrainConfig.model_validate({"algorithm": algorithm, "steps": steps} | changes)))


CLIPS_NOTHING = "algorithm.rl.stabilization_mask clips nothing, because a step makes one update"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"optimizer": {"warmup_steps": 10}},
            "optimizer.warmup_steps is 10, so the learning rate does not reach its peak",
        ),
        ({"optimizer": {"warmup_steps": 50}}, "optimizer.warmup_steps is 50"),
        ({"validation": {"every": 10}}, "validation.every is 10, so only the model of the last of 10 steps"),
        ({"validation": {"every": 5, "samples": 2, "temperature": 0}}, "validation.samples is 2, but at temperature 0"),
        ({"keep_checkpoints": 3, "checkpoint_every": 5}, "keep_checkpoints is 3, but the run writes only 2"),
        ({"keep_rollouts": {"last": 5}}, "keep_rollouts.last is 5, but every = 1 keeps the rollouts of all steps"),
        ({"rollouts_per_question": 1}, "algorithm.rl trains nothing"),
        ({"algorithm": {"name": "hpt", "gate": {"gamma": 1}}}, "algorithm.gate never chooses the signal 'rl'"),
        (
            {"algorithm": {"name": "hpt", "regularizers": {"name": "entropy", "coefficient": 0}}},
            "algorithm.regularizers.0.coefficient is 0",
        ),
        (
            {"sampling": {"max_tokens": 16, "stop_repetition": {"times": 4, "shortest": 5}}},
            "sampling.stop_repetition needs 4 times 5 tokens, but a response has at most 16",
        ),
        ({"validation": {"every": 5, "temperature": 0, "top_p": 0.9}}, "validation.top_p is 0.9, but at temperature 0"),
        (
            {"keep_checkpoints": 12, "checkpoint_every": 1},
            "keep_checkpoints is 12, but the run writes only 10; lower k",
        ),
        ({"rewards": [{}, {"verifier": "math", "weight": 0}]}, "rewards.1.weight is 0, so this part adds nothing"),
        (
            {"optimizer": {"decay": "cosine", "warmup_steps": 9}},
            "optimizer.decay is 'cosine', but a decay needs 2 steps after the warm-up, and this run has 1",
        ),
        ({"steps": 1, "optimizer": {"decay": "linear"}}, "optimizer.decay is 'linear'"),
        *(
            (changes | {"algorithm": {"name": name, "rl": {"stabilization_mask": mask}}}, CLIPS_NOTHING)
            for name, mask, changes in (
                ("hpt", {"name": "clip", "eps_high": 0.3}, {}),
                ("grpo", {"name": "clip", "eps_low": 0.1}, {"minibatch_rows": 1024}),
                ("gspo", {"name": "sequence_clip", "eps_high": 0.1}, {"minibatch_rows": 2000}),
                ("cispo", {"name": "clipped_ratio", "eps_high": 1.0}, {}),
                ("luffy", {"name": "clip", "eps_high": 0.3}, {"minibatch_rows": 1152}),
            )
        ),
    ],
)
def test_settings_that_change_nothing(changes: dict[str, Any], said: str) -> None:
    (text,) = idle(**changes)
    assert text.startswith(said)
    assert "; " in text, "it names a remedy"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": {"warmup_steps": 9}},
        {"validation": {"every": 9}},
        {"validation": {"every": 5, "samples": 2}},
        {"keep_checkpoints": 2, "checkpoint_every": 5},
        {"sampling": {"max_tokens": 20, "stop_repetition": {"times": 4, "shortest": 5}}},
        {"validation": {"every": 5, "temperature": 0}},
        {"validation": {"every": 5, "top_p": 0.9}},
        {"steps": 1, "validation": {"every": 1}},
        {"rewards": [{}, {"verifier": "math", "weight": -0.5}]},
        {"optimizer": {"decay": "cosine", "warmup_steps": 8}},
        {"algorithm": "dapo"},
        {"algorithm": {"name": "hpt", "rl": {"stabilization_mask": "none"}}},
        {"algorithm": {"name": "grpo", "rl": {"stabilization_mask": {"name": "clip", "eps_low": 0.2}}}},
        # 128 questions with 8 rollouts, and with LUFFY the demonstration.
        {
            "algorithm": {"name": "grpo", "rl": {"stabilization_mask": {"name": "clip", "eps_low": 0.1}}},
            "minibatch_rows": 1023,
        },
        {
            "algorithm": {"name": "luffy", "rl": {"stabilization_mask": {"name": "clip", "eps_low": 0.1}}},
            "minibatch_rows": 1151,
        },
    ],
)
def test_settings_that_change_something(changes: dict[str, Any]) -> None:
    assert idle(**changes) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"rewards": [{"verifier": "math"}]}, ["rewards"]),
        ({"importance_cap": 2.0, "rollouts_per_question": 4}, ["rollouts_per_question", "importance_cap"]),
        ({"engine": "transformers"}, ["engine"]),
        ({"engine": "transformers", "validation": {"every": 5}}, []),
        ({"sampling": {"temperature": 0.5, "top_k": 3, "max_tokens": 9}}, ["sampling.temperature", "sampling.top_k"]),
        ({"sampling": {"stop": ["Q:"]}}, ["sampling.stop"]),
        ({"sampling": {"stop": ["Q:"]}, "validation": {"every": 5}}, []),
        ({"minibatch_rows": 129}, ["minibatch_rows"]),
        ({"minibatch_rows": 128}, []),
        ({"algorithm": "hpt", "minibatch_rows": 1152}, []),
        ({"algorithm": "hpt", "minibatch_rows": 1153}, ["minibatch_rows"]),
        ({"algorithm": "grpo", "minibatch_rows": 1025}, ["minibatch_rows"]),
        ({"checkpoint_every": 10}, []),
        ({"checkpoint_every": 11}, ["checkpoint_every"]),
        # The default is above the steps too.
        ({"checkpoint_every": 50}, []),
        ({"algorithm": "hpt", "rewards": [{"verifier": "math"}], "importance_cap": 2.0, "engine": "transformers"}, []),
    ],
)
def test_settings_that_a_stage_does_not_use(changes: dict[str, Any], found: list[str]) -> None:
    config = TrainConfig.model_validate({"algorithm": "sft", "steps": 10} | changes)
    assert [field for field, _ in config.unused()] == found
    assert all("; " in text for _, text in config.unused()), "it names a remedy"


@pytest.mark.parametrize(
    "changes",
    [{"algorithm": "dr_grpo", "rollouts_per_question": 1}, {"algorithm": {"name": "sft", "sft": {"coefficient": 0}}}],
)
def test_a_stage_that_trains_nothing_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="nothing would be trained: algorithm"):
        TrainConfig.model_validate({"steps": 1} | changes)


@pytest.mark.parametrize(
    ("name", "value", "neutral"),
    [
        *(("top_p", 0.9, "1"), ("top_k", 5, "0"), ("min_p", 0.1, "0"), ("repetition_penalty", 1.1, "1")),
        *(("presence_penalty", 1.0, "0"), ("frequency_penalty", 1.0, "0")),
    ],
)
def test_rollouts_are_sampled_from_the_whole_distribution(name: str, value: float, neutral: str) -> None:
    with pytest.raises(ValidationError, match=rf"sampling\.{name} is {value}, .*; set sampling\.{name} to {neutral}\b"):
        TrainConfig.model_validate({"steps": 1, "algorithm": "hpt", "sampling": {name: value}})


class Old(EngineConfig):
    """An engine from before stop texts."""


@pytest.mark.parametrize("table", [{"algorithm": "hpt"}, {"algorithm": "sft", "validation": {"every": 1}}])
def test_an_engine_that_ignores_stop_texts_is_refused_wherever_it_samples(table: dict[str, Any]) -> None:
    table = {"steps": 1, "engine": Old(), **table}
    TrainConfig.model_validate(table)
    with pytest.raises(ValidationError, match=r"sampling: the engine .*Old' does not honor stop; remove it"):
        TrainConfig.model_validate(table | {"sampling": {"stop": ["Question:"]}})
