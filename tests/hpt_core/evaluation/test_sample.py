"""The sampling worker: the real program with the real engine, killed and run again."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpt_core.config import SampleSpec
from hpt_core.errors import DataError, PreflightError
from hpt_core.evaluation.sample import run
from hpt_core.evaluation.shards import read_samples
from hpt_core.files import write_parquet
from hpt_core.schemas import QUESTIONS, SAMPLES
from hpt_core.seeds import derive

K = {"many": 4, "once": 1}
QUESTIONS_OF = {"many": 12, "once": 20}
TOTAL = sum(K[name] * QUESTIONS_OF[name] for name in K)
PER_SHARD = 16  # samples


def questions(path: Path, count: int, length: int = 0) -> Path:
    rows = [
        {"question_id": f"q{i}", "question": f"{i} + {i} = ?" + "x" * length, "gold": str(2 * i), "kind": "math"}
        for i in range(count)
    ]
    write_parquet(path, pa.Table.from_pylist([{**row, "family": ""} for row in rows], schema=QUESTIONS))
    return path


def spec_of(folder: Path, model: Path, **changed: object) -> SampleSpec:
    units = [
        {
            "benchmark": name,
            "questions": questions(folder / f"{name}.parquet", QUESTIONS_OF[name]),
            "instruction": "Say a letter." if name == "once" else None,
            "sampling": {"temperature": 0.8, "top_p": 0.95, "max_tokens": 96},
            "k": K[name],
            "output": folder / name,
        }
        for name in K
    ]
    fields = {
        "model": model,
        "prompt": {"name": "chat", "instruction": "Think."},
        "engine": {"name": "vllm", "max_num_seqs": 4, "kv_cache_gib": 0.05},
        "dtype": "float32",
        "seed": 11,
        "shard_samples": PER_SHARD,
        "units": units,
    }
    return SampleSpec.model_validate({**fields, **changed})


def start(spec: SampleSpec, folder: Path) -> subprocess.Popen[str]:
    path = folder / "spec.json"
    path.write_text(spec.model_dump_json())
    with (folder / "log.txt").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "hpt_core.evaluation.sample", str(path)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def finish(spec: SampleSpec, folder: Path) -> list[dict[str, object]]:
    """Run the worker to its end; its events."""
    with start(spec, folder) as process:
        assert process.stdout is not None
        events = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0, (folder / "log.txt").read_text()[-3000:]
    return events


def shards(folder: Path) -> dict[Path, int]:
    """Every whole shard with its samples."""
    return {path: pq.read_metadata(path).num_rows for path in sorted(folder.glob("*/samples/part-*.parquet"))}


@pytest.fixture(scope="module")
def undisturbed(tiny_model, tmp_path_factory):
    """Folder, spec and events of a run that was left alone."""
    folder = tmp_path_factory.mktemp("undisturbed")
    spec = spec_of(folder, tiny_model)
    return folder, spec, finish(spec, folder)


@pytest.mark.slow
def test_samples_have_their_schema_order_and_seeds(undisturbed):
    folder, _, _ = undisturbed
    for name, k in K.items():
        table = read_samples(folder / name / "samples")
        assert table.schema == SAMPLES
        keys = list(zip(*(table.column(c).to_pylist() for c in ("question_id", "sample_index", "seed")), strict=True))
        ids = [f"q{i}" for i in range(QUESTIONS_OF[name])]
        assert keys == [(q, i, derive(11, "evaluation", name, q, i)) for q in ids for i in range(k)]
        assert all(1 <= tokens <= 96 for tokens in table.column("tokens").to_pylist())
        ended = zip(table.column("finish_reason").to_pylist(), table.column("tokens").to_pylist(), strict=True)
        assert all(reason == "stop" or tokens == 96 for reason, tokens in ended)
        responses = table.column("response").to_pylist()
        assert len(set(responses)) == len(responses)


@pytest.mark.slow
def test_sampling_json_holds_engine_cost_and_prompt(undisturbed):
    folder, _, _ = undisturbed
    report = json.loads((folder / "once" / "sampling.json").read_text())
    table = read_samples(folder / "once" / "samples")
    assert report["engines"][0].startswith("vllm ")
    assert report["tokens"] == sum(table.column("tokens").to_pylist())
    assert report["samples"] == table.num_rows
    assert report["seconds"] > 0
    assert "0 + 0 = ?\nSay a letter." in report["prompt_example"]
    other = json.loads((folder / "many" / "sampling.json").read_text())
    assert "0 + 0 = ?\nThink." in other["prompt_example"]
    assert not {"seconds", "engine"} & set(table.schema.names)


@pytest.mark.slow
def test_progress_counts_all_units(undisturbed):
    _, _, events = undisturbed
    done = [event["done"] for event in events]
    assert {event["event"] for event in events} == {"progress"}
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, TOTAL)
    assert len(set(done)) > len(shards(undisturbed[0]))
    assert {event["total"] for event in events} == {TOTAL}
    assert "once" in events[-1]["text"]
    assert "tokens/s" in events[-1]["text"]


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_samples(undisturbed, tiny_model, tmp_path):
    """SIGKILL three times mid-shard, at moments drawn by seed: a rerun draws that shard and what had not begun."""
    spec = spec_of(tmp_path, tiny_model)
    generator = random.Random(2)
    moments = sorted(
        shard * PER_SHARD + generator.randint(3, 9) for shard in generator.sample(range(TOTAL // PER_SHARD), 3)
    )
    kept: dict[Path, int] = {}
    for moment in moments:
        with start(spec, tmp_path) as process:
            assert process.stdout is not None
            for line in process.stdout:
                event = json.loads(line)
                if event["done"] >= moment:
                    break
            process.kill()
            # What it had reported by then: this reader may lag behind.
            for line in process.stdout:
                if line.endswith("\n"):
                    event = json.loads(line)
        assert process.returncode == -9
        whole = shards(tmp_path)
        assert sum(whole.values()) < event["done"] < TOTAL  # samples were drawn whose shard was not written yet
        assert all(path.stat().st_mtime_ns == kept[path] for path in kept)
        kept = {path: path.stat().st_mtime_ns for path in whole}
    done = [event["done"] for event in finish(spec, tmp_path)]
    assert done[0] == sum(whole.values())
    assert all(path.stat().st_mtime_ns == kept[path] for path in kept)
    reference = undisturbed[0]
    assert [p.relative_to(tmp_path) for p in shards(tmp_path)] == [p.relative_to(reference) for p in shards(reference)]
    for name in K:
        assert read_samples(tmp_path / name / "samples").equals(read_samples(reference / name / "samples"))
        for path in (reference / name / "samples").iterdir():
            assert (tmp_path / name / "samples" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_finished_units_start_no_engine_and_damage_is_redone(undisturbed, tmp_path, tiny_model):
    folder, spec, _ = undisturbed
    assert [event["done"] for event in finish(spec, folder)] == [TOTAL]
    path = folder / "many" / "samples" / "part-00001.parquet"
    before = path.read_bytes()
    path.write_bytes(before[: len(before) // 2])
    (path.parent / ".part-00002.parquet.abc.tmp").write_bytes(b"half")
    events = finish(spec, folder)
    assert events[0]["done"] == TOTAL - PER_SHARD
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".*"))


@pytest.mark.slow
def test_temperature_zero_repeats_the_one_greedy_answer(tiny_model, tmp_path):
    unit = {
        "benchmark": "greedy",
        "questions": questions(tmp_path / "greedy.parquet", 3),
        "sampling": {"temperature": 0, "top_p": 0.95, "max_tokens": 16},
        "k": 4,
        "output": tmp_path / "greedy",
    }
    events = finish(spec_of(tmp_path, tiny_model, units=[unit]), tmp_path)
    table = read_samples(tmp_path / "greedy" / "samples")
    assert events[-1]["done"] == 12
    assert table.column("sample_index").to_pylist() == [0, 1, 2, 3] * 3
    responses = table.column("response").to_pylist()
    assert all(len(set(responses[i : i + 4])) == 1 for i in (0, 4, 8))
    assert "the 4 samples of a question are the same" in (tmp_path / "log.txt").read_text()


def test_too_long_for_the_context_names_the_question_and_the_room(tiny_model, tmp_path):
    unit = {
        "benchmark": "long",
        "questions": questions(tmp_path / "long.parquet", 3, length=100),
        "sampling": {"max_tokens": 200},
        "k": 1,
        "output": tmp_path / "long",
    }
    spec = spec_of(tmp_path, tiny_model, units=[unit])
    message = r"long: the longest prompt \((\d+) tokens, question q0\) and max_tokens 200 .* context has 256"
    with pytest.raises(PreflightError, match=message) as error:
        run(spec)
    assert "set evaluate.max_tokens to" in error.value.remedy
    assert not (tmp_path / "long").exists()


def test_wrong_inputs_stop_before_the_engine(tiny_model, tmp_path):
    spec = spec_of(tmp_path, tiny_model)
    (tmp_path / "once.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"once\.parquet"):
        run(spec)
    questions(tmp_path / "once.parquet", 0)
    with pytest.raises(PreflightError, match="once has no questions"):
        run(spec)
    assert not (tmp_path / "many").exists()


def test_the_program_reports_its_error_as_an_event(tiny_model, tmp_path):
    spec = spec_of(tmp_path, tmp_path / "nowhere")
    with start(spec, tmp_path) as process:
        assert process.stdout is not None
        events = [json.loads(line) for line in process.stdout]
    assert process.returncode == 2
    assert events[-1]["type"] == "ModelError"
    assert "nowhere" in events[-1]["cause"]
