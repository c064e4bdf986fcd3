"""The sampling worker: the real program with the real engine, killed and run again."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import transformers

from hpt_core.errors import BudgetError, DataError, ModelError, PreflightError
from hpt_core.evaluation.budget import Budget
from hpt_core.evaluation.journal import read
from hpt_core.evaluation.own_sampling import options
from hpt_core.evaluation.sample import run
from hpt_core.evaluation.shards import read_samples
from hpt_core.evaluation.spec import SampleSpec, Slice
from hpt_core.files import write_parquet
from hpt_core.rollout.scripted import Scripted
from hpt_core.schemas import QUESTIONS, SAMPLES
from hpt_core.seeds import derive
from tests.warm import Program, Warm

K = {"many": 4, "once": 1}
QUESTIONS_OF = {"many": 12, "once": 20}
TOTAL = sum(K[name] * QUESTIONS_OF[name] for name in K)
PER_SHARD = 16  # samples
PROMPT = {"name": "chat", "instruction": "Think."}


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
            "prompt": PROMPT,
            "seed": 11,
            "instruction": "Say a letter." if name == "once" else None,
            "sampling": {"temperature": 0.8, "top_p": 0.95, "max_tokens": 96},
            "k": K[name],
            "output": folder / name,
            "work": folder / "work" / name,
        }
        for name in K
    ]
    fields = {
        "model": model,
        "engine": {"name": "vllm", "max_num_seqs": 4, "kv_cache_gib": 0.05},
        "dtype": "float32",
        "shard_samples": PER_SHARD,
        "units": units,
    }
    return SampleSpec.model_validate({**fields, **changed})


Start = Callable[[SampleSpec, Path], Program]
Finish = Callable[[SampleSpec, Path], list[dict[str, object]]]


@pytest.fixture(scope="session")
def start(warm: Warm) -> Start:
    """Start the worker on a spec, its events readable from stdout; spec and log are in `folder`."""

    def start(spec: SampleSpec, folder: Path) -> Program:
        path = folder / "spec.json"
        path.write_text(spec.model_dump_json())
        return warm.start("hpt_core.evaluation.sample", str(path), log=folder / "log.txt")

    return start


@pytest.fixture(scope="session")
def finish(start: Start) -> Finish:
    """Run the worker to its end; its events."""

    def finish(spec: SampleSpec, folder: Path) -> list[dict[str, object]]:
        with start(spec, folder) as process:
            events = [json.loads(line) for line in process.stdout]
        assert process.returncode == 0, (folder / "log.txt").read_text()[-3000:]
        return events

    return finish


def plain_spec(folder: Path, model: Path, **changed: object) -> SampleSpec:
    """Short responses of the plain engine, which starts in a moment."""
    folder.mkdir(exist_ok=True)
    units = [u | {"sampling": {"max_tokens": 8}} for u in spec_of(folder, model).model_dump()["units"]]
    return spec_of(folder, model, **{"units": units, "engine": "transformers", **changed})


def here(spec: SampleSpec, capsys) -> list[dict[str, object]]:
    """Run the worker in this process; its events."""
    run(spec)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def journaled(spec: SampleSpec) -> set[tuple[str, str, int]]:
    """Benchmark, question and index of every sample in a journal."""
    rows = [entry.row for unit in spec.units for entry in read(unit.work / "journal")]
    found = {(row["benchmark"], row["question_id"], row["sample_index"]) for row in rows}
    assert len(found) == len(rows)
    return found


def shards(folder: Path) -> dict[Path, int]:
    """Every whole shard with its samples."""
    return {path: pq.read_metadata(path).num_rows for path in sorted(folder.glob("*/samples/part-*.parquet"))}


@pytest.fixture(scope="module")
def undisturbed(tiny_model, finish, tmp_path_factory):
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
def test_progress_counts_all_units_and_estimates_the_time_left(undisturbed):
    _, _, events = undisturbed
    done = [event["done"] for event in events]
    assert {event["event"] for event in events} == {"progress"}
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, TOTAL)
    assert {event["total"] for event in events} == {TOTAL}
    assert all("tokens/s" in event["text"] for event in events[1:])
    assert events[1]["left"] > 0
    assert all(event["left"] >= 0 for event in events[1:-1])
    assert "left" not in events[-1]


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_samples(undisturbed, tiny_model, start, finish, tmp_path):
    """SIGKILL three times, at moments drawn by seed: what had finished stays, and a rerun draws only the rest."""
    spec = spec_of(tmp_path, tiny_model)
    for moment in sorted(random.Random(2).sample(range(4, TOTAL - 12), 3)):
        with start(spec, tmp_path) as process:
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
        kept = journaled(spec)
        assert event["done"] <= len(kept) < TOTAL
        assert not shards(tmp_path)
    events = finish(spec, tmp_path)
    assert events[0]["done"] == len(kept)
    assert len(journaled(spec)) == TOTAL
    reference = undisturbed[0]
    assert [p.relative_to(tmp_path) for p in shards(tmp_path)] == [p.relative_to(reference) for p in shards(reference)]
    for name in K:
        assert read_samples(tmp_path / name / "samples").equals(read_samples(reference / name / "samples"))
        for path in (reference / name / "samples").iterdir():
            assert (tmp_path / name / "samples" / path.name).read_bytes() == path.read_bytes()
        report = json.loads((tmp_path / name / "sampling.json").read_text())
        assert sum(session["samples"] for session in report["sessions"].values()) == K[name] * QUESTIONS_OF[name]
    assert len(report["sessions"]) > 1


def test_slices_end_with_the_samples_of_one_run(tiny_model, tmp_path, capsys):
    whole = plain_spec(tmp_path / "whole", tiny_model)
    here(whole, capsys)
    spec = plain_spec(tmp_path / "sliced", tiny_model)
    for index in range(3):
        events = here(spec.model_copy(update={"slice": Slice(index=index, count=3)}), capsys)
        assert events[-1]["done"] == events[-1]["total"]
        assert not shards(tmp_path / "sliced")
    joined = spec.model_copy(update={"joins": True})
    assert [event["done"] for event in here(joined, capsys)] == [TOTAL]
    for name in K:
        for path in (tmp_path / "whole" / name / "samples").iterdir():
            assert (tmp_path / "sliced" / name / "samples" / path.name).read_bytes() == path.read_bytes()


def test_joining_slices_samples_nothing(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr("hpt_core.evaluation.sample.JOIN_WAIT_S", 0)
    spec = plain_spec(tmp_path, tiny_model, joins=True)
    with pytest.raises(DataError, match=f"{TOTAL} samples are missing"):
        run(spec)
    assert not journaled(spec)


def test_other_shard_bounds_cost_no_sample(tiny_model, tmp_path, capsys):
    spec = plain_spec(tmp_path, tiny_model)
    here(spec, capsys)
    before = {name: read_samples(tmp_path / name / "samples") for name in K}
    shutil.rmtree(tmp_path / "work")
    other = spec.model_copy(update={"shard_samples": PER_SHARD // 2})
    assert [event["done"] for event in here(other, capsys)] == [TOTAL]
    assert len(shards(tmp_path)) > TOTAL / PER_SHARD + 2
    for name in K:
        assert read_samples(tmp_path / name / "samples").equals(before[name])
        report = json.loads((tmp_path / name / "sampling.json").read_text())
        assert report["engines"] == ["transformers " + transformers.__version__]


def test_the_run_reuses_the_samples_of_a_pilot(tiny_model, tmp_path, capsys):
    spec = plain_spec(tmp_path, tiny_model)
    events = here(spec.model_copy(update={"pilot": 2}), capsys)
    assert events[-1]["done"] == events[-1]["total"] == 2 * sum(K.values())
    assert {key[:2] for key in journaled(spec)} == {
        *(("many", q) for q in ("q0", "q6")),
        *(("once", q) for q in ("q0", "q10")),
    }
    assert not shards(tmp_path)
    assert here(spec, capsys)[0]["done"] == 2 * sum(K.values())


def test_a_spent_budget_keeps_the_samples(tiny_model, tmp_path, capsys):
    spec = plain_spec(tmp_path, tiny_model)
    small = spec.model_copy(update={"budget": Budget(tokens=200)})
    with pytest.raises(BudgetError, match="tokens are used up") as error:
        run(small)
    assert "evaluate.budget.tokens" in error.value.remedy
    kept = len(journaled(spec))
    assert 0 < kept < TOTAL
    with pytest.raises(BudgetError):
        run(small)
    assert len(journaled(spec)) == kept
    capsys.readouterr()
    assert here(spec, capsys)[0]["done"] == kept


@pytest.mark.slow
def test_finished_units_start_no_engine_and_damage_is_redone(undisturbed, finish):
    folder, spec, _ = undisturbed
    assert [event["done"] for event in finish(spec, folder)] == [TOTAL]
    shutil.rmtree(folder / "work")
    path = folder / "many" / "samples" / "part-00001.parquet"
    before = path.read_bytes()
    path.write_bytes(before[: len(before) // 2])
    (path.parent / ".part-00002.parquet.abc.tmp").write_bytes(b"half")
    events = finish(spec, folder)
    assert events[0]["done"] == TOTAL - PER_SHARD
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".*"))


@pytest.mark.slow
def test_temperature_zero_repeats_the_one_greedy_answer(tiny_model, finish, tmp_path):
    unit = {
        "benchmark": "greedy",
        "questions": questions(tmp_path / "greedy.parquet", 3),
        "prompt": PROMPT,
        "seed": 11,
        "sampling": {"temperature": 0, "top_p": 0.95, "max_tokens": 16},
        "k": 4,
        "output": tmp_path / "greedy",
        "work": tmp_path / "work" / "greedy",
    }
    events = finish(spec_of(tmp_path, tiny_model, units=[unit]), tmp_path)
    table = read_samples(tmp_path / "greedy" / "samples")
    assert events[-1]["done"] == 12
    assert table.column("sample_index").to_pylist() == [0, 1, 2, 3] * 3
    responses = table.column("response").to_pylist()
    assert all(len(set(responses[i : i + 4])) == 1 for i in (0, 4, 8))
    assert "the 4 samples of a question are equal" in (tmp_path / "log.txt").read_text()


def test_a_prompt_over_the_context_names_question_and_limit(tiny_model, tmp_path):
    unit = {
        "benchmark": "long",
        "questions": questions(tmp_path / "long.parquet", 3, length=100),
        "prompt": PROMPT,
        "seed": 11,
        "sampling": {"max_tokens": 200},
        "k": 1,
        "output": tmp_path / "long",
        "work": tmp_path / "work" / "long",
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


def test_the_program_reports_its_error_as_an_event(tiny_model, start, tmp_path):
    spec = spec_of(tmp_path, tmp_path / "nowhere")
    with start(spec, tmp_path) as process:
        events = [json.loads(line) for line in process.stdout]
    assert process.returncode == 2
    assert events[-1]["type"] == "ModelError"
    assert "nowhere" in events[-1]["cause"]


def one_unit(folder: Path, model: Path, **changed: object) -> SampleSpec:
    """Three questions on the plain engine, with other settings of the unit."""
    unit = {
        "benchmark": "some",
        "questions": questions(folder / "some.parquet", 3),
        "prompt": PROMPT,
        "seed": 11,
        "sampling": {"max_tokens": 8},
        "k": 2,
        "output": folder / "some",
        "work": folder / "work" / "some",
        **changed,
    }
    return spec_of(folder, model, units=[unit], engine="transformers")


def sampled(spec: SampleSpec) -> list[dict[str, object]]:
    run(spec)
    return read_samples(spec.units[0].output / "samples").to_pylist()


def test_counted_seeds_are_the_same_for_every_question(tiny_model, tmp_path):
    rows = sampled(one_unit(tmp_path, tiny_model, seed=42, seeds="counted", k=3))
    assert [row["seed"] for row in rows] == [42, 43, 44] * 3
    assert len({row["response"] for row in rows if row["question_id"] == "q0"}) == 3


def test_prompt_and_response_share_a_limit(tiny_model, tmp_path):
    spec = one_unit(tmp_path, tiny_model, sampling={"max_tokens": 200, "temperature": 0})
    write_parquet(
        spec.units[0].questions,
        pa.Table.from_pylist(
            [
                {"question_id": f"q{i}", "question": "x" * length, "gold": "1", "kind": "math", "family": ""}
                for i, length in enumerate((1, 9, 20))
            ],
            schema=QUESTIONS,
        ),
    )
    shortest = sampled(spec)[0]["prompt_tokens"]
    assert isinstance(shortest, int)
    # The model never ends by itself here: every response takes what is left.
    total = shortest + 19 + 5
    limited = spec.units[0].model_copy(
        update={"max_total_tokens": total, "output": tmp_path / "b", "work": tmp_path / "c"}
    )
    rows = sampled(spec.model_copy(update={"units": (limited,)}))
    lengths = {row["question_id"]: (row["prompt_tokens"], row["tokens"], row["finish_reason"]) for row in rows}
    assert lengths["q2"] == (shortest + 19, 5, "length")
    assert lengths["q1"] == (shortest + 8, 16, "length")
    assert lengths["q0"] == (shortest, 24, "length")
    # max_tokens counts too.
    fewer = limited.model_copy(
        update={
            "sampling": limited.sampling.model_copy(update={"max_tokens": 6}),
            "output": tmp_path / "d",
            "work": tmp_path / "e",
        }
    )
    assert [row["tokens"] for row in sampled(spec.model_copy(update={"units": (fewer,)}))] == [6, 6, 6, 6, 5, 5]
    full = limited.model_copy(update={"max_total_tokens": shortest + 19})
    with pytest.raises(PreflightError, match=r"question q2\) leaves no room for a response within max_total_tokens"):
        run(spec.model_copy(update={"units": (full,)}))
    wide = limited.model_copy(
        update={"max_total_tokens": 300, "sampling": limited.sampling.model_copy(update={"max_tokens": 300})}
    )
    with pytest.raises(PreflightError, match="may take max_total_tokens 300; the model's context has 256") as error:
        run(spec.model_copy(update={"units": (wide,)}))
    assert "set evaluate.max_total_tokens to 256" in error.value.remedy


@pytest.mark.parametrize(
    ("end", "begin"), [("<think>\n", "<think>\n"), ("<think>", "<think>"), ("<think>\n\n</think>\n", ""), ("", "")]
)
def test_a_response_begins_with_the_thinking_that_its_prompt_opens(tiny_model, tmp_path, end, begin):
    prompt = {"name": "plain", "template": "{question}" + end, "instruction": ""}
    spec = one_unit(tmp_path, tiny_model, prompt=prompt)
    spec = spec.model_copy(update={"engine": Scripted(otherwise="so \\boxed{1}")})
    assert {row["response"] for row in sampled(spec)} == {begin + "so \\boxe"}


def with_generation_config(model: Path, folder: Path, **options: object) -> Path:
    shutil.copytree(model, folder)
    (folder / "generation_config.json").write_text(json.dumps(options))
    return folder


def test_a_models_own_sampling_counts_only_on_request(tiny_model, tmp_path):
    own = {"do_sample": True, "temperature": 0.2, "top_k": 5, "top_p": 0.9, "length_penalty": 1.0, "pad_token_id": 0}
    model = with_generation_config(tiny_model, tmp_path / "model", **own)
    plain = sampled(one_unit(tmp_path / "plain", tiny_model))
    assert [row["response"] for row in sampled(one_unit(tmp_path / "not", model))] == [r["response"] for r in plain]
    spec = one_unit(tmp_path / "own", model, from_model=["temperature", "top_k", "min_p"])
    assert [row["response"] for row in sampled(spec)] != [row["response"] for row in plain]
    recorded = json.loads((tmp_path / "own" / "some" / "sampling.json").read_text())
    # top_p is not asked for, and the file says nothing of min_p.
    assert recorded["sampling"] == {"temperature": 0.2, "top_p": 1.0, "max_tokens": 8, "top_k": 5}
    assert recorded["from_model"] == ["temperature", "top_k", "min_p"]


@pytest.mark.parametrize(
    ("file", "taken"),
    [
        ({"do_sample": False, "temperature": 0.6}, {"temperature": 0.0}),
        ({"temperature": 0.6, "top_k": -1}, {"temperature": 0.6, "top_k": 0}),
        ({"repetition_penalty": 1.05, "top_p": None, "max_new_tokens": 2048}, {"repetition_penalty": 1.05}),
        ({}, {}),
    ],
)
def test_options_of_a_generation_config(file, taken):
    assert options(file) == taken


def test_a_wrong_generation_config_is_named(tiny_model, tmp_path):
    model = with_generation_config(tiny_model, tmp_path / "model", temperature=-1)
    spec = one_unit(tmp_path, model, from_model=["temperature"])
    with pytest.raises(ModelError, match=r"generation_config\.json: temperature = -1"):
        run(spec)
    (model / "generation_config.json").unlink()
    with pytest.raises(ModelError, match=r"generation_config\.json does not exist.*generation_config = false"):
        run(spec)
