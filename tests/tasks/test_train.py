"""The training stage: what its worker is told, and how many processes there are of it."""

import os
import sys
from pathlib import Path

import pytest

from hpt_core.artifacts import KnownFiles, Store
from hpt_core.plugins import load
from hpt_core.training.config import TrainConfig
from tasks import environment
from tasks.context import Context
from tasks.part import Made
from tasks.train import TrainPart

CONFIG = TrainConfig.model_validate({"from": "model.a", "data": "data.a", "algorithm": "sft", "steps": 3, "seed": 5})
PROMPT = load("hpt_core.prompts", "plain")()


def part() -> TrainPart:
    return TrainPart("train.sft", CONFIG, PROMPT, seed=1)


def made(tmp_path: Path) -> dict[str, Made]:
    return {
        key: Made(key, kind, "f" * 64, str(tmp_path / key), {name: "hash"})  # type: ignore[arg-type]
        for key, kind, name in (("model.a", "model", "model"), ("data.a", "data", "prepared"))
    }


@pytest.mark.parametrize(
    ("processes", "threads", "expected"),
    [(1, None, None), (1, 3, 3), (2, None, max(1, len(os.sched_getaffinity(0)) // 2)), (2, 3, 3), (4096, None, 1)],
)
def test_several_processes_share_the_cores(
    tmp_path: Path, processes: int, threads: int | None, expected: int | None
) -> None:
    context = Context(Store(tmp_path / "runs"), KnownFiles(tmp_path / "known"), threads=threads, processes=processes)
    (unit,) = part().units(made(tmp_path), context)
    spec = part().spec(context.store.slot(unit.kind, unit.fingerprint), made(tmp_path), context)
    assert spec.threads == expected


def test_what_trackers_write_lies_beside_the_output(tmp_path: Path) -> None:
    trackers = (load("hpt_core.trackers", "wandb")(mode="offline"),)
    store = Store(tmp_path / "runs")
    context = Context(store, KnownFiles(tmp_path / "known"), pipeline="demo", trackers=trackers)
    (unit,) = part().units(made(tmp_path), context)
    slot = store.slot(unit.kind, unit.fingerprint)
    spec = part().spec(slot, made(tmp_path), context)
    assert (spec.trackers, spec.run_name, spec.seed) == (trackers, "demo train.sft", 5)
    assert spec.tracking == slot.folder / "tracking"
    assert not spec.tracking.is_relative_to(slot.output), "the output's hash does not depend on it"
    assert type(spec).model_validate_json(spec.model_dump_json(by_alias=True)) == spec


def test_how_a_stage_is_started_and_shown_is_no_part_of_its_fingerprint(tmp_path: Path) -> None:
    store, known = Store(tmp_path / "runs"), KnownFiles(tmp_path / "known")
    trackers = (load("hpt_core.trackers", "tensorboard")(),)
    plain = Context(store, known)
    other = Context(store, known, pipeline="x", threads=2, processes=8, launcher="srun torchrun", trackers=trackers)
    assert part().units(made(tmp_path), plain) == part().units(made(tmp_path), other)


@pytest.mark.skipif(bool(environment.gpus()), reason="there is a GPU")
def test_without_a_gpu_there_is_one_process_unless_more_are_asked_for() -> None:
    assert environment.training_processes(None) == 1
    assert environment.training_processes(3) == 3


@pytest.mark.parametrize(("gpus", "processes"), [((), 1), ((10, 10), 2), (None, 1)])
def test_each_visible_gpu_gets_a_process(
    monkeypatch: pytest.MonkeyPatch, gpus: tuple[int, ...] | None, processes: int
) -> None:
    monkeypatch.setattr(environment, "gpu_memory_bytes", lambda: gpus)
    assert environment.training_processes(None) == processes
    assert environment.training_processes(5) == 5


def test_the_worker_is_started_by_the_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A launcher of one's own gets the module and the spec, and the threads that each process may use."""
    from tasks.part import Making

    launcher = tmp_path / "launch"
    launcher.write_text(f'#!{sys.executable}\nimport os, sys\nprint(sys.argv[1:], os.environ["OMP_NUM_THREADS"])\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("HERE", str(tmp_path))
    store, known = Store(tmp_path / "runs"), KnownFiles(tmp_path / "known")
    context = Context(store, known, threads=2, processes=2, launcher="$HERE/launch --nodes 2")
    (unit,) = part().units(made(tmp_path), context)
    slot = store.slot(unit.kind, unit.fingerprint)
    part().make([Making(unit, slot)], made(tmp_path), context)
    spec = slot.folder / "spec.json"
    assert f"{['--nodes', '2', '-m', 'hpt_core.train', str(spec)]} 2" in slot.log.read_text()
