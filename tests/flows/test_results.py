"""Results opened from a store's folder or a config."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.results import Results, open_run
from hpt_core.artifacts import Manifest, Store
from hpt_core.errors import ConfigError, DataError, StoreError
from tasks.execution.config import PipelineConfig

Put = Callable[..., str]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Store an artifact of a pipeline by its key and link it; returns the hash of its output."""
    store = Store(tmp_path / "runs")

    def put(pipeline: str, key: str, kind: str, *inputs: str, version: str = "1") -> str:
        fingerprint = f"{pipeline}-{key.replace('/', '-')}-{version}"
        slot, now = store.slot(kind, fingerprint), datetime.now(UTC)
        slot.output.mkdir(parents=True)
        facts = {"stage": key, "kind": kind, "fingerprint": fingerprint, "config": {}, "versions": {}, "files": ()}
        roles = {f"input {i}": value for i, value in enumerate(inputs)}
        outputs = {kind: f"hash of {fingerprint}"}
        slot.commit(Manifest.model_validate(facts | {"inputs": roles, "outputs": outputs, "start": now, "end": now}))
        store.link(pipeline, key, slot.folder)
        return outputs[kind]

    return put


def keys(results: Results) -> set[str]:
    return {str(key) for key in results.artifacts}


def test_a_store_of_several_pipelines_needs_the_name_of_one(put: Put, tmp_path: Path) -> None:
    put("first", "model.base", "model")
    put("second", "model.other", "model")
    with pytest.raises(ConfigError, match="holds the pipelines first, second"):
        open_run(tmp_path / "runs")
    with pytest.raises(ConfigError, match="did you mean 'second'"):
        open_run(tmp_path / "runs", pipeline="secnd")
    assert keys(open_run(tmp_path / "runs", pipeline="second")) == {"model.other"}


def test_samples_are_not_joined_with_questions_that_have_been_replaced(
    put: Put, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run with another `limit` that ended early leaves links to new questions beside links to old samples."""
    model, questions = put("one", "model.base", "model"), put("one", "benchmark.x", "benchmark")
    samples = put("one", "evaluate.base/samples/x", "samples", model, questions)
    put("one", "evaluate.base/verdicts/x", "verdicts", samples, questions)
    everything = {"model.base", "benchmark.x", "evaluate.base/samples/x", "evaluate.base/verdicts/x"}
    assert keys(open_run(tmp_path / "runs")) == everything
    assert not caplog.text
    put("one", "benchmark.x", "benchmark", version="2")
    assert keys(open_run(tmp_path / "runs")) == {"model.base", "benchmark.x"}
    assert "evaluate.base/samples/x is left out" in caplog.text
    assert "evaluate.base/verdicts/x is left out" in caplog.text


def test_a_folder_that_is_not_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a store"):
        open_run(tmp_path)


def test_a_blocked_stage_is_reported_instead_of_missing_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPT_DATA", str(tmp_path / "nowhere"))
    table = {
        "name": "demo",
        "store": str(tmp_path / "runs"),
        "model": {"base": {"source": {"name": "scratch", "layers": 1, "hidden_size": 32, "heads": 1}}},
        "evaluate": {"models": ["model.base"], "suites": ["aime24"], "engine": "scripted"},
    }
    results = open_run(PipelineConfig.model_validate(table))
    for read in (results.scores, results.samples):
        with pytest.raises(DataError, match="nowhere"):
            read()
    # Training does not need the benchmark.
    with pytest.raises(StoreError, match="no training logs yet"):
        results.training_log()
