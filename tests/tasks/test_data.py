"""The fingerprint of prepared data."""

from pathlib import Path
from typing import Any

import pytest

from flows import graph as graphs
from flows.run import context_of
from hpt_core.artifacts import KnownFiles, Store
from hpt_core.data.config import Room
from hpt_core.prompts.plain import PlainText
from tasks.data import Config, PrepareStep
from tasks.execution.artifact import Artifact, Artifacts, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import ArtifactKey, StageKey
from tasks.model import Config as ModelConfig

MODEL = ArtifactKey(StageKey("model", "m"))
SOURCE = {"name": "scratch", "max_positions": 128}
PREPARED = {"source": {"name": "procedural", "rows": 8, "seed": 1}, "model": "model.m"}
LIMITS = {"max_prompt_tokens": 32, "max_demonstration_tokens": 64}


def target_of(folder: Path, strict: bool) -> Target:
    config = Config.model_validate(PREPARED)
    context = Context(store=Store(str(folder)), known=KnownFiles(), strict=strict)
    artifact = Artifact(MODEL, "model", "0" * 64, folder, {"tokenizer": "1" * 64}, reused=True)
    model = ModelConfig.model_validate({"source": SOURCE})
    step = PrepareStep(StageKey("data", "d"), config, PlainText(), model, ())
    (target,) = step.targets(Artifacts({MODEL: artifact}), context)
    return target


def test_an_artifact_made_without_strict_is_not_reused_with_strict(tmp_path: Path) -> None:
    assert target_of(tmp_path, True).fingerprint != target_of(tmp_path, False).fingerprint


def train(algorithm: str, max_tokens: int, data: str = "data.d") -> dict[str, Any]:
    sampling = {"max_tokens": max_tokens}
    return {"from": "model.m", "data": data, "algorithm": algorithm, "steps": 1, "sampling": sampling}


@pytest.mark.parametrize(
    ("limits", "trained", "room"),
    [
        # No row within these limits can exceed the context, so it is not part of the identity.
        (LIMITS, {"a": train("hpt", 96)}, None),
        (LIMITS, {"a": train("hpt", 97)}, Room(context=128, response=97)),
        (LIMITS, {"a": train("hpt", 90), "b": train("grpo", 97)}, Room(context=128, response=97)),
        # Rollouts count only where a stage samples, demonstrations only where one trains on them.
        (LIMITS, {"a": train("sft", 97)}, None),
        ({**LIMITS, "max_demonstration_tokens": 97}, {"a": train("sft", 97)}, Room(context=128)),
        ({**LIMITS, "max_demonstration_tokens": 97}, {"a": train("grpo", 96)}, None),
        ({**LIMITS, "max_demonstration_tokens": 97}, {}, Room(context=128)),
        # A stage that trains on other data does not count.
        (LIMITS, {"a": train("hpt", 97, "data.other")}, None),
    ],
)
def test_the_models_context_counts_if_training_may_exceed_it(
    tmp_path: Path, limits: dict[str, int], trained: dict[str, Any], room: Room | None
) -> None:
    table = {
        "name": "room",
        "store": str(tmp_path),
        "model": {"m": {"source": SOURCE}},
        "data": {"d": {**PREPARED, **limits}, "other": {**PREPARED, **LIMITS}},
        "train": trained,
    }
    config = PipelineConfig.model_validate(table)
    graph = graphs.build(config, ("data.d",))
    plan = graphs.plan(graph, context_of(config))
    (planned,) = plan.of(StageKey("data", "d"))
    assert planned.target.config.get("room") == (room and room.model_dump())
