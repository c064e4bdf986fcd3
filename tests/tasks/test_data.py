"""The fingerprint of prepared data."""

from pathlib import Path

from hpt_core.artifacts import KnownFiles, Store
from hpt_core.prompts.plain import PlainText
from tasks.data import Config, PrepareStep
from tasks.execution.artifact import Artifact, Artifacts, Target
from tasks.execution.context import Context
from tasks.execution.keys import ArtifactKey, StageKey

MODEL = ArtifactKey(StageKey("model", "m"))


def target_of(folder: Path, strict: bool) -> Target:
    config = Config.model_validate({"source": {"name": "procedural", "rows": 8, "seed": 1}, "model": "model.m"})
    context = Context(store=Store(str(folder)), known=KnownFiles(), strict=strict)
    artifact = Artifact(MODEL, "model", "0" * 64, folder, {"tokenizer": "1" * 64}, reused=True)
    step = PrepareStep(StageKey("data", "d"), config, PlainText())
    (target,) = step.targets(Artifacts({MODEL: artifact}), context)
    return target


def test_an_artifact_made_without_strict_is_not_reused_with_strict(tmp_path: Path) -> None:
    assert target_of(tmp_path, True).fingerprint != target_of(tmp_path, False).fingerprint
