"""The training stage: its worker's spec and the number of processes."""

import os
import sys
from pathlib import Path

import pytest

from hpt_core.artifacts import KnownFiles, Store
from hpt_core.models.materialize import ModelConfig
from hpt_core.models.scratch import ScratchModel
from hpt_core.prompts.plain import PlainText
from hpt_core.trackers.base import TrackerConfig
from hpt_core.training.config import TrainSpec
from tasks.execution import environment
from tasks.execution.artifact import Artifact, Artifacts, Job
from tasks.execution.context import Context
from tasks.execution.keys import ArtifactKey, StageKey
from tasks.execution.resources import ResourcesConfig
from tasks.train import Config, TrainStep

CONFIG = Config.model_validate({"from": "model.a", "data": "data.a", "algorithm": "sft", "steps": 3, "seed": 5})
MODEL, DATA = StageKey("model", "a"), StageKey("data", "a")


def step() -> TrainStep:
    root = MODEL, ModelConfig(source=ScratchModel())
    return TrainStep(StageKey("train", "sft"), CONFIG, PlainText(), seed=1, root=root)


def artifacts(tmp_path: Path) -> Artifacts:
    found = Artifacts()
    for key, name in ((MODEL, "model"), (DATA, "prepared")):
        artifact = Artifact(ArtifactKey(key), key.kind, "f" * 64, tmp_path / str(key), {name: "hash"})
        found[artifact.key] = artifact
    return found


@pytest.mark.parametrize(
    ("processes", "threads", "expected"),
    [(1, None, None), (1, 3, 3), (2, None, max(1, len(os.sched_getaffinity(0)) // 2)), (2, 3, 3), (4096, None, 1)],
)
def test_several_processes_share_the_cores(
    tmp_path: Path, processes: int, threads: int | None, expected: int | None
) -> None:
    context = Context(
        Store(tmp_path / "runs"),
        KnownFiles(tmp_path / "known"),
        resources=ResourcesConfig(threads=threads, processes=processes),
    )
    (target,) = step().targets(artifacts(tmp_path), context)
    spec = step().spec(context.store.slot(target.kind, target.fingerprint), artifacts(tmp_path), context)
    assert spec.threads == expected


def test_tracker_files_are_beside_the_artifacts_files(tmp_path: Path) -> None:
    trackers = (TrackerConfig.from_value({"name": "wandb", "mode": "offline"}),)
    store = Store(tmp_path / "runs")
    context = Context(store, KnownFiles(tmp_path / "known"), pipeline="demo", trackers=trackers)
    (target,) = step().targets(artifacts(tmp_path), context)
    slot = store.slot(target.kind, target.fingerprint)
    spec = step().spec(slot, artifacts(tmp_path), context)
    assert (spec.trackers, spec.run_name, spec.seed) == (trackers, "demo train.sft", 5)
    assert spec.tracking == slot.folder / "tracking"
    assert not spec.tracking.is_relative_to(slot.output), "the output's hash does not depend on it"
    read = TrainSpec.model_validate_json(spec.model_dump_json(by_alias=True))
    assert read.model_dump() == spec.model_dump()
    assert read.config.identity() == CONFIG.identity(), "where the stage's inputs come from decides nothing"


def test_launcher_and_trackers_do_not_enter_the_fingerprint(tmp_path: Path) -> None:
    store, known = Store(tmp_path / "runs"), KnownFiles(tmp_path / "known")
    trackers = (TrackerConfig.from_value("tensorboard"),)
    plain = Context(store, known)
    other = Context(
        store,
        known,
        pipeline="x",
        resources=ResourcesConfig(threads=2, processes=8, launcher="srun torchrun"),
        trackers=trackers,
    )
    assert step().targets(artifacts(tmp_path), plain) == step().targets(artifacts(tmp_path), other)


def test_graders_are_those_of_the_datas_kinds(tmp_path: Path) -> None:
    grpo = Config.model_validate(CONFIG.model_dump(by_alias=True) | {"algorithm": "grpo"})
    trained = TrainStep(StageKey("train", "x"), grpo, PlainText(), 1, (MODEL, ModelConfig(source=ScratchModel())))
    given = artifacts(tmp_path)
    for kinds in ("math", "choice,math"):
        given[ArtifactKey(DATA)].outputs["kinds"] = kinds  # type: ignore[index]
        (target,) = trained.targets(given, Context(Store(tmp_path / "runs"), KnownFiles(tmp_path / "known")))
        assert {"math", "choice"} & set(target.versions) == set(kinds.split(","))
        modules = {f"hpt_core.verifiers.{kind}" for kind in ("math", "choice")} & set(target.versions)
        assert modules == {f"hpt_core.verifiers.{kind}" for kind in kinds.split(",")}


@pytest.mark.skipif(bool(environment.gpus()), reason="there is a GPU")
def test_without_a_gpu_there_is_one_process_by_default() -> None:
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
    launcher = tmp_path / "launch"
    launcher.write_text(f'#!{sys.executable}\nimport os, sys\nprint(sys.argv[1:], os.environ["OMP_NUM_THREADS"])\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("HERE", str(tmp_path))
    store, known = Store(tmp_path / "runs"), KnownFiles(tmp_path / "known")
    context = Context(
        store, known, resources=ResourcesConfig(threads=2, processes=2, launcher="$HERE/launch --nodes 2")
    )
    (target,) = step().targets(artifacts(tmp_path), context)
    slot = store.slot(target.kind, target.fingerprint)
    step().make([Job(target, slot)], artifacts(tmp_path), context)
    spec = slot.folder / "spec.json"
    assert f"{['--nodes', '2', '-m', 'hpt_core.train', str(spec)]} 2" in slot.log.read_text()
