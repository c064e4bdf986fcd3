"""One engine for several models of one architecture."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from hpt_core.evaluation.engines import Kept
from hpt_core.evaluation.sample import needs_only_tokenizer, run
from hpt_core.evaluation.spec import SampleSpec
from hpt_core.files import write_parquet
from hpt_core.models.scratch import ScratchModel
from hpt_core.rollout.endpoint import Endpoint
from hpt_core.rollout.scripted import Scripted
from hpt_core.rollout.transformers import Transformers, TransformersEngine
from hpt_core.rollout.vllm import VLLM
from hpt_core.schemas import QUESTIONS
from hpt_core.worker import Declined
from tasks.execution.process import Event, Staying, WorkerRun

SHAPE = {"layers": 1, "hidden_size": 64, "intermediate_size": 64, "heads": 2, "initializer_range": 0.3}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models of one architecture, and one with another number of layers."""
    folder = tmp_path_factory.mktemp("models")
    for name, changes in {"one": {}, "two": {"seed": 5}, "deep": {"layers": 2}}.items():
        ScratchModel(**SHAPE | changes).materialize(folder / name, lambda done, total, text: None)  # type: ignore[arg-type]
    return {path.name: path for path in folder.iterdir()}


def spec_of(folder: Path, model: Path, engine: object = "transformers", max_tokens: int = 12) -> SampleSpec:
    folder.mkdir()
    row = {"gold": "1", "kind": "math", "family": ""}
    rows = [{"question_id": f"q{i}", "question": f"1 + {i}", **row} for i in range(4)]
    write_parquet(folder / "questions.parquet", pa.Table.from_pylist(rows, schema=QUESTIONS))
    unit = {
        "benchmark": "some",
        "questions": folder / "questions.parquet",
        "prompt": {"name": "plain", "template": "{question}=", "instruction": None},
        "sampling": {"max_tokens": max_tokens},
        "k": 2,
        "seed": 3,
        "output": folder / "output",
        "work": folder / "work",
    }
    return SampleSpec.model_validate({"model": model, "engine": engine, "dtype": "float32", "units": [unit]})


def samples(folder: Path) -> bytes:
    (part,) = (folder / "output" / "samples").glob("part-*.parquet")
    return part.read_bytes()


def quiet(done: int, total: int, text: str = "", left: float | None = None) -> None:
    pass


def test_models_that_share_an_engine_give_the_samples_of_their_own(models: dict[str, Path], tmp_path: Path) -> None:
    said: list[str] = []

    def report(done: int, total: int, text: str = "", left: float | None = None) -> None:
        said.append(text)

    with Kept() as kept:
        for name in ("one", "two"):
            run(spec_of(tmp_path / name, models[name]), report, kept)
    assert [text for text in said if text in ("starting transformers", "loading weights")] == [
        "starting transformers",
        "loading weights",
    ]
    run(spec_of(tmp_path / "alone", models["two"]), quiet)
    assert samples(tmp_path / "two") == samples(tmp_path / "alone") != samples(tmp_path / "one")


@pytest.mark.parametrize("change", ["architecture", "tokenizer", "stop tokens", "length", "precision", "engine"])
def test_what_does_not_fit_is_declined(models: dict[str, Path], tmp_path: Path, change: str) -> None:
    model = tmp_path / "model"
    shutil.copytree(models["deep" if change == "architecture" else "two"], model)
    file = {"tokenizer": "tokenizer_config.json", "stop tokens": "generation_config.json"}.get(change)
    if file is not None:
        found = json.loads((model / file).read_text()) if (model / file).exists() else {}
        (model / file).write_text(json.dumps(found | {"eos_token_id": 7}))
    engine = "scripted" if change == "engine" else "transformers"
    other = spec_of(tmp_path / "other", model, engine, 13 if change == "length" else 12)
    if change == "precision":
        other = other.model_copy(update={"dtype": "bfloat16"})
    with Kept() as kept:
        run(spec_of(tmp_path / "one", models["one"]), quiet, kept)
        with pytest.raises(Declined):
            run(other, quiet, kept)
    assert not (tmp_path / "other" / "output").exists()


def test_an_engine_that_keeps_its_weights_is_caught(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Kept() as kept:
        run(spec_of(tmp_path / "one", models["one"]), quiet, kept)
        monkeypatch.setattr(TransformersEngine, "sync_weights", lambda self, weights: None)
        with pytest.raises(Declined):
            run(spec_of(tmp_path / "two", models["two"]), quiet, kept)
    assert f"{models['two']} gets an engine of its own: {models['two']}: the engine's logprobs differ" in caplog.text
    assert not (tmp_path / "two" / "output").exists()


@pytest.mark.slow
def test_a_vllm_worker_takes_the_models_in_turn(models: dict[str, Path], tmp_path: Path) -> None:
    """The first model again after the second: its weights are those of a file, not of the engine's start."""
    staying, events = Staying(), list[Event]()
    engine = {"name": "vllm", "kv_cache_gib": 0.05, "max_num_seqs": 4}
    for name, model in {"one": "one", "two": "two", "again": "one"}.items():
        spec = spec_of(tmp_path / name, models[model], engine)
        job = WorkerRun(
            *(f"evaluate.{name}", "hpt_core.evaluation.sample", spec, tmp_path / name / "spec.json"),
            [tmp_path / name / "log.txt"],
            environment={"OMP_NUM_THREADS": "1"},
        )
        staying.run(job, events.append)
    staying.close()
    texts = [event["text"] for event in events]
    assert (texts.count("starting vllm"), texts.count("loading weights")) == (1, 2)
    assert samples(tmp_path / "again") == samples(tmp_path / "one") != samples(tmp_path / "two")


def test_engines_that_read_only_a_tokenizer_start_without_torch() -> None:
    class Mine(Scripted):
        """May use a model."""

    found = [needs_only_tokenizer(e) for e in (Scripted(), Endpoint(url="http://127.0.0.1:1/v1"))]
    others = [needs_only_tokenizer(e) for e in (Endpoint(), VLLM(), Transformers(), Mine())]
    assert found == [True, True] and others == [False] * 4, "an endpoint without an address serves the model itself"
