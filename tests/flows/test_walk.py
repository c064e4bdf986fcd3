"""The order in which a run takes its stages."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from flows import walk as walks
from hpt_core.artifacts import Cost, KnownFiles, Store
from tasks.execution.artifact import Artifacts, Job, Stage, Step, Target
from tasks.execution.context import Context
from tasks.execution.keys import StageKey
from tasks.execution.stage import run_stage
from tasks.execution.task import Walk


class Empty(Step):
    """Produces nothing but a manifest."""

    kind = "empty"

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        return [self.target({"name": str(self.stage)}, {})]

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        return Cost()


def test_what_another_run_is_producing_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(Store(tmp_path / "runs"), KnownFiles(tmp_path / "known.json"))
    keys = [StageKey("train", name) for name in "abc"]
    stages = {key: Stage(key, (), (Empty(key),)) for key in keys}
    (target,) = stages[keys[0]].steps[0].targets(Artifacts(), context)
    other = context.store.lease(context.store.slot(target.kind, target.fingerprint))
    assert other.try_take()
    order = []

    def run(key: str, walk: Walk) -> None:
        order.append(key)
        if len(order) == 2:
            other.release()
        run_stage(walk.stages[key], Artifacts(walk.artifacts), walk.context)

    monkeypatch.setattr(walks, "stage_task", run)
    walks.walk(Walk(stages, context))
    assert order == ["train.b", "train.c", "train.a"]
