"""The catalog of stores that were made up: what is derived from manifests, verdicts and records of runs."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.stores import MadeUp, drawn
from benchmarks.catalog.board import make_board
from benchmarks.catalog.compare import side
from benchmarks.catalog.records import Records
from benchmarks.catalog.schemas import MEANING, QUESTION_SCORES, TABLES
from hpt_core.errors import ConfigError, StoreError
from tasks.execution.catalog import fill

HPT = np.array([[1, 1], [1, 0], [0, 0], [1, 1]], bool)
SFT = np.array([[1, 1], [0, 0], [1, 1], [0, 1]], bool)


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    """One run with two models on two benchmarks, of which one was asked in part, and with a failed stage."""
    found = MadeUp(tmp_path / "runs")
    answers = {"hpt": {"aime24": HPT, "math500": HPT[:, :1]}, "sft_seed_1": {"aime24": SFT, "math500": SFT[:, :1]}}
    found.run(
        "demo",
        answers,
        failed={"train.grpo": "out of memory"},
        whole={"math500": 500},
        options={"overrides": ["train.hpt.steps=6"], "only": ["train"]},
    )
    return found


def test_scores_are_those_computed_by_hand(made: MadeUp) -> None:
    rows = {(r["label"], r["benchmark"]): r for r in fill(made.store).scores.to_pylist()}
    hpt = rows["hpt", "aime24"]
    assert (hpt["correct"], hpt["k"], hpt["questions"], hpt["samples"]) == ([2, 1, 0, 2], 2, 4, 8)
    assert hpt["avg_at_k"] == pytest.approx(5 / 8)
    assert hpt["interval_low"] < 5 / 8 < hpt["interval_high"]
    assert (hpt["solved"], hpt["complete"], hpt["title"], hpt["group"]) == (2, True, "AIME 2024", "in")
    assert (hpt["pipeline"], hpt["suites"], hpt["latest"]) == ("demo", ["aime24", "math500"], True)
    part = rows["sft_seed_1", "math500"]
    assert (part["questions"], part["rows"], part["complete"]) == (4, 500, False)
    assert rows["hpt", "aime24"]["evaluation"] == rows["sft_seed_1", "math500"]["evaluation"]
    assert rows["hpt", "aime24"]["protocol"] == rows["sft_seed_1", "aime24"]["protocol"]


def test_runs_models_stages_and_protocols(made: MadeUp) -> None:
    tables = fill(made.store)
    (run,) = tables.runs.to_pylist()
    assert (run["pipeline"], run["outcome"], run["error"]) == ("demo", "failed", "out of memory")
    assert run["overrides"] == ["train.hpt.steps=6"]
    assert json.loads(run["options"]) == {"only": ["train"]}
    assert {"stage": "train.grpo", "state": "failed", "seconds": 1.0, "text": "out of memory"} in run["stages"]
    models = {r["label"]: r for r in tables.models.to_pylist()}
    assert set(models) == {"base", "hpt", "sft_seed_1"}
    hpt, base = models["hpt"], models["base"]
    assert (hpt["algorithm"], hpt["parents"], hpt["base"]) == ("hpt", [base["model"]], base["model"])
    assert (hpt["family"], hpt["parameters"], hpt["seed"]) == ("Qwen2ForCausalLM", 1_500_000_000, 1)
    assert (len(hpt["data"]), base["parents"], base["seed"]) == (1, [], None)
    assert models["sft_seed_1"]["method"] == "sft"
    stages = {r["artifact"] or r["stage"]: r for r in tables.stages.to_pylist()}
    trained = stages["train.hpt"]
    assert (trained["state"], trained["tokens"], trained["trained_tokens"]) == ("made", 1000, 2000)
    assert (trained["seconds"], trained["device_seconds"], trained["gpus"]) == (1.0, pytest.approx(3.6), ["a GPU"])
    assert (stages["train.grpo"]["state"], stages["train.grpo"]["text"]) == ("failed", "out of memory")
    assert {r["run"] for r in stages.values()} == {run["run"]}
    protocols = {r["benchmark"]: r for r in tables.protocols.to_pylist()}
    assert (protocols["math500"]["asked"], protocols["math500"]["rows"], protocols["aime24"]["k"]) == (4, 500, 2)
    assert (protocols["aime24"]["temperature"], protocols["aime24"]["name"]) == (0.6, "benchmark")


def test_only_what_is_new_is_read(made: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(made.store)
    read: list[str] = []
    whole = type(made.store.slot("a", "b")).manifest

    def counted(slot: Any) -> Any:
        read.append(slot.kind)
        return whole(slot)

    monkeypatch.setattr("hpt_core.artifacts.Slot.manifest", counted)
    assert fill(made.store).scores.num_rows == 4
    assert read == []
    made.run("demo", {"third": {"aime24": SFT}}, version="2")
    assert fill(made.store).scores.num_rows == 5
    assert set(read) == {"model", "train", "benchmark", "samples", "verdicts"}
    assert len(read) <= 7


def test_what_is_gone_from_the_store_stays_in_the_catalog(made: MadeUp) -> None:
    before = fill(made.store)
    for kind in ("samples", "verdicts", "train"):
        shutil.rmtree(made.store.root / kind)
    for file in (made.store.root / "history").iterdir():
        file.unlink()
    (made.store.root / "catalog" / "scores.parquet").unlink()
    after = fill(made.store)
    assert after.scores.equals(before.scores) and after.models.equals(before.models) and after.runs.equals(before.runs)


def test_an_artifact_that_was_produced_again_has_a_second_record(made: MadeUp) -> None:
    fill(made.store)
    (slot,) = [
        s for s in made.store.slots("verdicts") if (m := s.manifest()) and m.stage == "evaluate.hpt/verdicts/aime24"
    ]
    manifest = slot.manifest()
    assert manifest is not None
    later = manifest.end.replace(year=2027)
    slot.manifest_file.write_text(manifest.model_copy(update={"end": later}).model_dump_json())
    rows = [r for r in fill(made.store).scores.to_pylist() if (r["label"], r["benchmark"]) == ("hpt", "aime24")]
    assert [(r["end"].year, r["latest"]) for r in rows] == [(2026, False), (2027, True)]


def test_a_copied_store_is_not_read_again(made: MadeUp, tmp_path: Path) -> None:
    """A copy gives every file a new time."""
    fill(made.store)
    for file in made.store.root.glob("*/*/manifest.json"):
        os.utime(file)
    names = Records(made.store.root).names()
    assert fill(made.store).scores.num_rows == 4
    assert Records(made.store.root).names() == names


def test_verdicts_that_do_not_fit_their_samples_are_left_out_and_named(
    made: MadeUp, caplog: pytest.LogCaptureFixture
) -> None:
    (slot,) = [
        s for s in made.store.slots("verdicts") if (m := s.manifest()) and m.stage == "evaluate.hpt/verdicts/aime24"
    ]
    file = slot.output / "verdicts.parquet"
    table = pq.read_table(file)
    pq.write_table(table.slice(0, 7), file)
    assert fill(made.store).scores.num_rows == 3
    assert "does not have the samples 0 to 1 of each question" in caplog.text
    pq.write_table(table, file)
    assert fill(made.store).scores.num_rows == 4, "what was not written is tried again"


def test_the_catalog_of_a_later_release_is_not_read(made: MadeUp) -> None:
    fill(made.store)
    file = next((made.store.root / "catalog" / "records").glob("*.json"))
    file.write_text(json.dumps({"version": 99, "rows": {}}))
    (made.store.root / "catalog" / "stages.parquet").unlink()
    with pytest.raises(StoreError, match="has version 99"):
        fill(made.store)


def pandas_rows(path: Path) -> list[str]:
    return list(pd.read_parquet(path).columns)


def polars_rows(path: Path) -> list[str]:
    return pl.read_parquet(path).columns


def duckdb_rows(path: Path) -> list[str]:
    return [row[0] for row in duckdb.sql(f"describe select * from '{path}'").fetchall()]


@pytest.mark.parametrize("read", [pandas_rows, polars_rows, duckdb_rows])
def test_other_libraries_read_the_tables(made: MadeUp, read: Callable[[Path], list[str]]) -> None:
    fill(made.store)
    for name, schema in TABLES.items():
        assert read(made.store.root / "catalog" / f"{name}.parquet") == schema.names
    shard = next((made.store.root / "catalog" / "question_scores").rglob("*.parquet"))
    assert set(read(shard)) >= set(QUESTION_SCORES.names)


def test_other_libraries_read_the_partitions(made: MadeUp) -> None:
    """The names of benchmark and model are in the folders' names."""
    tables = fill(made.store)
    folder = made.store.root / "catalog" / "question_scores"
    models = set(tables.scores.column("model").to_pylist())
    query = (
        f"select benchmark, model, sum(correct) from read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
    )
    by_duckdb = {(b, m): n for b, m, n in duckdb.sql(f"{query} group by all").fetchall()}
    frame = pd.read_parquet(folder)
    by_pandas = frame.groupby(["benchmark", "model"], observed=True).correct.sum().to_dict()
    by_polars = pl.scan_parquet(f"{folder}/**/*.parquet", hive_partitioning=True).collect()
    assert by_duckdb == by_pandas
    assert {m for _, m in by_duckdb} == models
    assert sum(by_duckdb.values()) == by_polars["correct"].sum() == 5 + 5 + 3 + 2


def test_no_value_is_nan_and_every_column_has_a_meaning(made: MadeUp) -> None:
    made.run("one", {"hpt": {"aime25": HPT[:1]}})
    tables = fill(made.store)
    for name, schema in TABLES.items():
        for field in getattr(tables, name).schema:
            column = getattr(tables, name).column(field.name)
            if str(field.type) == "double":
                values = [value for value in column.to_pylist() if value is not None]
                assert all(value == value for value in values), (name, field.name)
        assert all(field.metadata and field.metadata[MEANING] for field in schema)
    (error,) = [r["standard_error"] for r in tables.scores.to_pylist() if r["benchmark"] == "aime25"]
    assert error is None, "one question has no standard error"


def test_a_run_in_progress_is_in_the_tables_until_it_ends(made: MadeUp) -> None:
    log = made.store.history.begin("night", {"evaluate": None})
    running = fill(made.store).runs.to_pylist()[-1]
    assert (running["pipeline"], running["outcome"], running["end"]) == ("night", "running", None)
    log.end("done")
    tables = fill(made.store)
    assert [r["outcome"] for r in tables.runs.to_pylist()] == ["failed", "done"]
    assert fill(made.store).runs.equals(tables.runs)


def test_random_answers_are_counted_as_numpy_counts_them(tmp_path: Path) -> None:
    made = MadeUp(tmp_path)
    answers = drawn(np.random.default_rng(1), 30, 8, 0.4)
    made.run("demo", {"a": {"aime24": answers}})
    (row,) = fill(made.store).scores.to_pylist()
    assert row["correct"] == answers.sum(axis=1).tolist()
    assert row["solved"] == int((answers.sum(axis=1) > 4).sum())
    assert sum(row["lengths"]) == 240
    table = Records(made.store.root).questions("aime24", row["model"], row["record"])
    assert sum(table.column("truncated").to_pylist()) == 24
    assert row["truncated_share"] == 0.1
    assert row["mean_tokens"] == sum(table.column("tokens").to_pylist()) / 240


def test_outcomes_are_counted_and_add_up_in_other_libraries(made: MadeUp) -> None:
    """In one score there is each of them; the other three have correct and incorrect answers."""
    (slot,) = [
        s for s in made.store.slots("verdicts") if (m := s.manifest()) and m.stage == "evaluate.hpt/verdicts/aime24"
    ]
    file = slot.output / "verdicts.parquet"
    table = pq.read_table(file)
    found = ["correct", "timeout", "incorrect", "no_answer", "crash", "gold_error", "correct", "no_answer"]
    pq.write_table(table.set_column(table.schema.get_field_index("outcome"), "outcome", pa.array(found)), file)
    scores = fill(made.store).scores.to_pylist()
    counts = {(row["label"], row["benchmark"]): row["outcomes"] for row in scores}
    assert counts["hpt", "aime24"] == {
        "correct": 2, "incorrect": 1, "no_answer": 2, "timeout": 1, "crash": 1, "gold_error": 1,
    }  # fmt: skip
    assert [sum(row["outcomes"].values()) for row in scores] == [row["samples"] for row in scores]
    path = made.store.root / "catalog" / "scores.parquet"
    (by_duckdb,) = duckdb.sql(f"select sum(outcomes.no_answer) from '{path}'").fetchall()
    by_polars = pl.read_parquet(path).select(pl.col("outcomes").struct.field("no_answer").sum()).item()
    by_pandas = pd.json_normalize(pd.read_parquet(path)["outcomes"])["no_answer"].sum()
    assert (*by_duckdb, by_polars, by_pandas) == (2, 2, 2)


def test_a_trial_has_rows_of_its_own(made: MadeUp) -> None:
    change = "train.hpt.steps=6"
    made.run("demo", {"hpt": {"aime24": SFT}}, {"train.sft": "broken"}, version="2", overrides=[change])
    board = make_board(fill(made.store))
    rows = [(line.pipeline, line.label) for section in board.sections for line in section.lines]
    assert sorted(rows) == [("demo", "hpt"), ("demo", "sft_seed_1"), (f"demo ({change})", "hpt")]
    assert {(f.pipeline, f.stage) for f in board.failures} == {("demo", "train.grpo")}, (
        "a failed trial is its own affair"
    )
    alone = make_board(fill(made.store), "demo")
    assert [line.label for section in alone.sections for line in section.lines] == ["hpt", "sft_seed_1"]


def test_what_a_trial_makes_as_its_pipeline_would_is_the_pipelines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = MadeUp(tmp_path / "runs")
    change = "train.hpt.label=/home/me/x/y"
    found.run("demo", {"hpt": {"aime24": HPT}, "sft": {"aime24": SFT}}, overrides=[change])
    tables = fill(found.store)
    trial = "demo (train.hpt.label=.../y)"
    assert {(r["pipeline"], r["label"]) for r in tables.scores.to_pylist()} == {(trial, "hpt"), ("demo", "sft")}
    of = {r["artifact"]: r["pipeline"] for r in tables.stages.to_pylist()}
    assert (of["model.base"], of["train.hpt"], of["train.sft"]) == ("demo", trial, "demo")
    everything = MadeUp(tmp_path / "seeds")
    everything.run("demo", {"hpt": {"aime24": HPT}}, overrides=["seed=2"])
    assert {r["pipeline"] for r in fill(everything.store).stages.to_pylist()} == {"demo (seed=2)"}
    assert "is not installed" not in caplog.text


def test_models_have_the_labels_of_the_latest_run(made: MadeUp) -> None:
    """A label changes nothing that was made, no model is taken for another because of it, and a trial's is its own."""

    def labels() -> dict[str, str]:
        found = fill(made.store).labels
        return {name: found.of("demo", name) for name in ("base", "hpt", "sft_seed_1")}

    made.run("demo", {}, labels={"hpt": "HPT", "sft_seed_1": "SFT (1 epoch)_seed_1"})
    made.run("demo", {}, labels={"hpt": "HPT, γ = 0"})
    made.run("demo", {}, labels={"sft_seed_1": "SFT (1 epoch)_seed_1"})
    made.run("demo", {}, labels={"hpt": "a trial"}, overrides=["train.hpt.label=a trial"])
    made.run("other", {"hpt": {"aime24": SFT}})
    assert labels() == {"base": "base", "hpt": "HPT, γ = 0", "sft_seed_1": "SFT (1 epoch)_seed_1"}
    tables = fill(made.store)
    assert tables.labels.of("other", "hpt") == tables.labels.of("never", "hpt") == "hpt"
    assert tables.labels.of_method("demo", "sft", ["sft_seed_1"]) == "SFT (1 epoch)"
    assert tables.labels.of_method("demo", "any", ["hpt", "sft_seed_1"]) == "any"
    assert tables.labels.of_method("demo", "any", ["one", "two"]) == "any"
    assert set(tables.scores.column("label").to_pylist()) == {"hpt", "sft_seed_1"}, "which tells models apart"
    for text in ("demo/HPT, γ = 0", "HPT, γ = 0", "demo/hpt"):
        assert side(tables, text).name == "demo/HPT, γ = 0"
    with pytest.raises(ConfigError, match=r"did you mean 'HPT, γ = 0'"):
        side(tables, "HPT, γ = 1")
    with pytest.raises(ConfigError, match="'hpt' names 2 models: demo/hpt, other/hpt"):
        side(tables, "hpt")
    made.run("demo", {}, labels={"hpt": "sft_seed_1", "sft_seed_1": None})
    assert labels() == {"base": "base", "hpt": "sft_seed_1 (hpt)", "sft_seed_1": "sft_seed_1"}
    made.run("demo", {}, labels={"hpt": None})
    assert labels()["hpt"] == "hpt"
