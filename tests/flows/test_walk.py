"""The order in which a run takes its stages, and what a failed stage stops."""

import errno
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import TerminationSignal

from flows import walk as walking
from flows.run import StagesFailed, plan_run
from flows.walk import walk
from hpt_core.artifacts import Cost, KnownFiles, Store
from hpt_core.errors import DataError, HPTError
from tasks.execution.artifact import Artifacts, Job, Stage, Step, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context, Notice, subscribe
from tasks.execution.keys import StageKey
from tasks.execution.stage import run_stage
from tasks.execution.task import Walk

SOURCE = {"name": "scratch", "layers": 1, "hidden_size": 32, "heads": 1, "max_positions": 64}
TABLE: dict[str, Any] = {
    "name": "demo",
    "trackers": [],
    "model": {"base": {"source": SOURCE}},
    "data": {"d": {"source": {"name": "procedural", "rows": 8, "seed": 1}, "model": "model.base"}},
    "train": {
        "a": {"from": "model.base", "data": "data.d", "algorithm": "sft", "steps": 1, "sampling": {"max_tokens": 8}}
    },
    "evaluate": {"models": ["model.base"], "suites": ["procedural_double"], "engine": "scripted", "max_tokens": 16},
}


def test_sigterm_while_prefect_begins_a_task_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = plan_run(PipelineConfig.model_validate({**TABLE, "store": str(tmp_path / "runs")}))
    seen: list[Notice] = []

    def begin(key: str, state: Walk) -> None:
        """Prefect's engine when it is interrupted before the task has a record."""
        try:
            raise TerminationSignal(signal.SIGTERM)
        except TerminationSignal:
            raise ValueError("Task run is not set")  # noqa: B904

    monkeypatch.setattr(walking, "stage_task", begin)
    unsubscribe = subscribe(seen.append)
    with pytest.raises(TerminationSignal):
        walk(Walk(run.graph, run.context))
    unsubscribe()
    assert seen == []


@pytest.mark.parametrize("parallel", [1, 2])
@pytest.mark.parametrize("error", [DataError("no rows", "add some"), OSError(errno.EROFS, "Read-only file system")])
def test_independent_stages_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, parallel: int
) -> None:
    run = plan_run(PipelineConfig.model_validate({**TABLE, "store": str(tmp_path / "runs")}))
    done: list[str] = []
    seen: list[Notice] = []

    def stage(key: str, state: Walk) -> None:
        if key == "data.d":
            raise error
        done.append(key)

    monkeypatch.setattr(walking, "stage_task", stage)
    unsubscribe = subscribe(seen.append)
    with pytest.raises(StagesFailed) as caught:
        walk(Walk(run.graph, run.context), parallel)
    unsubscribe()
    # The report on the model that was not trained.
    assert set(done) == {"model.base", "benchmark.procedural_double", "evaluate.base", "report"}
    assert {n.stage for n in seen if n.what == "skipped"} >= {"train.a"}
    if isinstance(error, HPTError):
        assert str(caught.value) == str(error)
    else:
        assert str(caught.value).startswith(
            "data.d: OSError: [Errno 30] Read-only file system. Remedy: run with --debug"
        )
        assert caught.value.__cause__ is not None and caught.value.__cause__.__cause__ is error


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

    def run(key: str, state: Walk) -> None:
        order.append(key)
        if len(order) == 2:
            other.release()
        run_stage(state.stages[key], Artifacts(state.artifacts), state.context)

    monkeypatch.setattr(walking, "stage_task", run)
    walk(Walk(stages, context))
    assert order == ["train.b", "train.c", "train.a"]


def stages_of(tmp_path: Path) -> dict[StageKey, Stage]:
    """A chain of two models, each with an evaluation, a check, and a report that can do without some of them."""
    a, b, check, report = (StageKey("evaluate", "a"), StageKey("evaluate", "b"), StageKey("check"), StageKey("report"))
    needs = {a: (StageKey("train", "a"),), b: (StageKey("train", "b"),), check: (), report: (check, a, b)}
    needs |= {StageKey("train", "a"): (), StageKey("train", "b"): (), StageKey("publish"): (report,)}
    order = [StageKey("train", "a"), StageKey("train", "b"), check, a, b, report, StageKey("publish")]
    optional = {report: frozenset({check})}
    one_of = {report: frozenset({a, b})}
    return {
        key: Stage(key, needs[key], (Empty(key),), optional.get(key, frozenset()), one_of.get(key, frozenset()))
        for key in order
    }


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize(
    ("failing", "complete", "left_out"),
    [
        ({"train.a"}, False, {"evaluate.a"}),
        ({"check"}, False, set()),
        ({"evaluate.b", "check"}, False, set()),
        ({"train.a", "evaluate.b"}, False, {"evaluate.a", "report", "publish"}),
        ({"train.a"}, True, {"evaluate.a", "report", "publish"}),
        ({"check"}, True, {"report", "publish"}),
    ],
)
def test_a_report_goes_on_with_what_is_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: set[str],
    complete: bool,
    left_out: set[str],
    parallel: int,
) -> None:
    context = Context(Store(tmp_path / "runs"), KnownFiles(tmp_path / "known.json"))
    stages, done, skipped = stages_of(tmp_path), set[str](), set[str]()

    def run(key: str, state: Walk) -> None:
        if key in failing:
            raise DataError("broken", "mend it")
        done.add(key)

    monkeypatch.setattr(walking, "stage_task", run)
    unsubscribe = subscribe(lambda notice: skipped.add(notice.stage) if notice.what == "skipped" else None)
    with pytest.raises(StagesFailed) as caught:
        walk(Walk(stages, context, complete), parallel)
    unsubscribe()
    assert set(caught.value.failures) == failing
    assert skipped == left_out
    assert done == set(map(str, stages)) - failing - left_out
