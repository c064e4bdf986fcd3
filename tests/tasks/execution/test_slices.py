"""Slices of a model's questions in real worker processes on this machine."""

import threading
from pathlib import Path

import pyarrow as pa
import pytest

from hpt_core.artifacts import KnownFiles, Store
from hpt_core.errors import BudgetError, WorkerStopped
from hpt_core.evaluation import sample
from hpt_core.evaluation.shards import read_samples
from hpt_core.evaluation.spec import SampleSpec
from hpt_core.files import write_parquet
from hpt_core.schemas import QUESTIONS
from tasks.execution import environment, slices
from tasks.execution.context import Context, Notice, subscribe
from tasks.execution.keys import StageKey
from tasks.execution.resources import ResourcesConfig

STAGE = StageKey("evaluate", "m")
COUNT = 8
"""Questions, of two samples each."""


def spec_of(folder: Path, model: Path, **changed: object) -> SampleSpec:
    rows = [
        {"question_id": f"q{i}", "question": f"{i}?", "gold": "1", "kind": "math", "family": ""} for i in range(COUNT)
    ]
    write_parquet(folder / "questions.parquet", pa.Table.from_pylist(rows, schema=QUESTIONS))
    unit = {
        "benchmark": "b",
        "questions": folder / "questions.parquet",
        "prompt": "chat",
        "seed": 1,
        "sampling": {"max_tokens": 8},
        "k": 2,
        "output": folder / "output",
        "work": folder / "work",
    }
    fields = {
        "model": model,
        "engine": "transformers",
        "dtype": "float32",
        "units": [unit],
    }
    return SampleSpec.model_validate(fields | changed)


def context_of(folder: Path, slices: int | None = None, **changed: object) -> Context:
    resources = ResourcesConfig(slices=slices)
    return Context(Store(folder / "runs"), KnownFiles(folder / "known"), resources=resources, **changed)  # type: ignore[arg-type]


@pytest.fixture
def slot(tmp_path: Path):
    return context_of(tmp_path).store.slot("samples", "f" * 64)


@pytest.mark.slow
def test_slices_give_the_same_samples_as_one_process(tmp_path, tiny_model, slot):
    whole = spec_of(tmp_path / "whole", tiny_model)
    sample.run(whole, lambda *_, **__: None)
    spec = spec_of(tmp_path / "sliced", tiny_model)
    notices: list[Notice] = []
    unsubscribe = subscribe(notices.append)
    try:
        cost = slices.sample(STAGE, spec, [slot], context_of(tmp_path, slices=2))
    finally:
        unsubscribe()
    expected, found = (read_samples(s.units[0].output / "samples") for s in (whole, spec))
    assert found.equals(expected)
    assert cost.cpu_seconds > 0
    assert cost.peak_memory_bytes > 0
    assert {n.total for n in notices} == {2 * COUNT}
    assert notices[-1].done == 2 * COUNT
    assert any(n.text.startswith("slice ") for n in notices)
    assert slot.log.read_text().count("of 8 samples are there already") == 2


@pytest.mark.slow
def test_a_failed_slice_ends_the_evaluation(tmp_path, tiny_model, slot):
    spec = spec_of(tmp_path, tiny_model, budget={"tokens": 20})
    with pytest.raises(BudgetError, match="tokens are used up"):
        slices.sample(STAGE, spec, [slot], context_of(tmp_path, slices=2))


@pytest.mark.slow
def test_a_run_ends_its_slices(tmp_path, tiny_model, slot):
    spec = spec_of(tmp_path, tiny_model)
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(WorkerStopped):
        slices.sample(STAGE, spec, [slot], context_of(tmp_path, slices=2, cancelled=cancelled))


@pytest.mark.parametrize(
    ("gpus", "visible", "expected"),
    [(0, None, ()), (2, None, ("0", "1")), (2, "3,GPU-abc", ("3", "GPU-abc")), (1, "1", ("1",))],
)
def test_visible_devices_have_cudas_names(monkeypatch, gpus, visible, expected):
    monkeypatch.setattr(environment, "gpu_memory_bytes", lambda: (2**30,) * gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert environment.visible_devices() == expected


@pytest.mark.parametrize("count", [None, 5])
def test_each_slice_has_its_own_device(tmp_path, tiny_model, slot, monkeypatch, count):
    jobs, at_work, most, both = [], [], [], threading.Event()

    def pretend(job, *_):
        jobs.append(job)
        at_work.append(job.environment["CUDA_VISIBLE_DEVICES"])
        most.append(sorted(at_work))
        if len(at_work) == 2:
            both.set()
        assert both.wait(20)
        at_work.remove(job.environment["CUDA_VISIBLE_DEVICES"])
        return slices.Cost()

    monkeypatch.setattr(environment, "visible_devices", lambda: ("3", "5"))
    monkeypatch.setattr(slices.process.Staying, "run", lambda _, *arguments: pretend(*arguments))
    monkeypatch.setattr(Context, "worker", lambda *_, **__: slices.Cost())
    slices.sample(STAGE, spec_of(tmp_path, tiny_model), [slot], context_of(tmp_path, slices=count))
    assert max(most, key=len) == ["3", "5"]
    assert sorted(job.spec.slice.index for job in jobs) == list(range(count or 2))
    assert len({job.spec_file for job in jobs}) == (count or 2)


def test_an_error_of_any_kind_ends_the_others(tmp_path, tiny_model, slot, monkeypatch):
    ended, all_at_work = [], threading.Barrier(2)

    def pretend(job, show, stop):
        all_at_work.wait(20)
        if job.spec.slice.index == 0:
            raise OSError("disk full")
        ended.append(stop.wait(20))
        raise WorkerStopped("stopped")

    monkeypatch.setattr(slices.process.Staying, "run", lambda _, *arguments: pretend(*arguments))
    with pytest.raises(OSError, match="disk full"):
        slices.sample(STAGE, spec_of(tmp_path, tiny_model), [slot], context_of(tmp_path, slices=2))
    assert ended == [True]


def test_a_slice_without_budget_does_not_take_that_of_others(tmp_path, tiny_model, slot, monkeypatch):
    budgets = []

    def pretend(job, show, stop):
        budgets.append(job.spec.budget.tokens)
        if job.spec.slice.index == 0:
            raise BudgetError("the budget's tokens are used up")
        assert not stop.wait(0.5)
        return slices.Cost()

    monkeypatch.setattr(slices.process.Staying, "run", lambda _, *arguments: pretend(*arguments))
    spec = spec_of(tmp_path, tiny_model, budget={"tokens": 90})
    with pytest.raises(BudgetError):
        slices.sample(STAGE, spec, [slot], context_of(tmp_path, slices=3))
    assert budgets == [30, 30, 30]
