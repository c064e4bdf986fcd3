"""The files of a site, built over stores that were made up."""

import html
import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bench.stores import MadeUp, drawn
from benchmarks.catalog.compare import compare_models
from benchmarks.catalog.records import Records
from benchmarks.catalog.tables import Tables
from benchmarks.effects import effect
from benchmarks.significance import holm, sign_flip_exact
from benchmarks.site.build import STATIC, Site
from benchmarks.site.facts import public, short_id
from benchmarks.site.files import STATE, SiteFiles
from benchmarks.site.history import history_data
from benchmarks.site.questions import is_public, shows_text
from benchmarks.site.typeset import ELEMENTS, pieces
from benchmarks.suite import get_suite
from tasks.execution.catalog import fill

SUITES = {"aime24": (30, 4), "math500": (40, 1), "gpqa_diamond": (25, 1)}


def answers(seed: int, chance: float) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {name: drawn(generator, count, k, chance) for name, (count, k) in SUITES.items()}


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    return MadeUp(tmp_path / "runs")


def build(made: MadeUp, folder: Path, responses: bool = False) -> list[str]:
    return Site(made.store, fill(made.store)).build(folder, responses)


def read(folder: Path, path: str) -> Any:
    return json.loads((folder / path).read_bytes())


def test_an_empty_store_has_every_page(made: MadeUp, tmp_path: Path) -> None:
    build(made, tmp_path / "site")
    assert read(tmp_path / "site", "data/board.json")["sections"] == []
    assert read(tmp_path / "site", "data/models.json") == {}
    assert (tmp_path / "site" / "index.html").is_file()


def test_only_what_changed_is_written(made: MadeUp, tmp_path: Path) -> None:
    site = tmp_path / "site"
    first = made.run("demo", {"hpt": answers(1, 0.5), "sft": answers(2, 0.4)})
    assert "index.html" in build(made, site)
    assert build(made, site) == []
    second = made.run("demo", {"grpo": answers(3, 0.4)})
    written = build(made, site)
    assert f"data/models/{short_id(second['grpo'])}.json" in written
    assert not {f"data/models/{short_id(model)}.json" for model in first.values()} & set(written)
    assert not [path for path in written if path.endswith((".html", *STATIC)) or path == "tables/questions.parquet"]
    assert {"data/board.json", "data/site.json"} <= set(written)


def test_a_new_label_changes_every_file_that_shows_it_and_no_other(made: MadeUp, tmp_path: Path) -> None:
    site = tmp_path / "site"
    first = made.run("demo", {"hpt": answers(1, 0.5), "sft": answers(2, 0.4)})
    made.run("demo", {"hpt": answers(3, 0.5)}, version="2")
    build(made, site)
    ids = {name: short_id(model) for name, model in first.items()}
    shown = [path for path in site.rglob("*") if path.is_file() and b"demo/hpt" in path.read_bytes()]
    assert shown
    made.run("demo", {}, labels={"hpt": "HPT (ours)"})
    written = build(made, site)
    assert {"data/board.json", "data/history.json", "data/models.json"} <= set(written)
    assert f"data/models/{ids['hpt']}.json" in written
    assert not [path for path in written if path == "tables/scores.parquet" or ids["sft"] in path]
    for path in shown:
        assert b"demo/hpt" not in path.read_bytes(), path
    assert read(site, "data/models.json")[ids["hpt"]] == "demo/HPT (ours)"
    (line,) = {line["name"] for line in read(site, "data/history.json")["lines"]}
    assert line == "demo/HPT (ours)"
    assert {line["label"] for line in read(site, "data/board.json")["sections"][0]["lines"]} == {"HPT (ours)", "sft"}


def test_labels_neither_join_methods_nor_part_them(made: MadeUp) -> None:
    names = ["hpt_seed_1", "hpt_seed_2", "sft_seed_3", "sft_seed_4", "grpo_seed_1", "grpo_seed_2"]
    made.run("demo", {name: answers(place, 0.5) for place, name in enumerate(names)})
    shown = ["X_seed_1", "X_seed_2", "X_seed_3", "X_seed_4", "one", "another"]
    made.run("demo", {}, labels=dict(zip(names, shown, strict=True)))
    (section,) = Site(made.store, fill(made.store)).board_data()["sections"]
    assert {group["label"]: sorted(group["members"]) for group in section["methods"]} == {
        "X (hpt)": ["demo/X_seed_1", "demo/X_seed_2"],
        "X (sft)": ["demo/X_seed_3", "demo/X_seed_4"],
        "grpo": ["demo/another", "demo/one"],
    }


def test_files_that_no_longer_belong_to_a_site_are_removed(tmp_path: Path) -> None:
    files = SiteFiles(tmp_path)
    files.put_value("data/a.json", 1)
    files.put_value("data/old/b.json", 2)
    files.finish()
    (tmp_path / "data" / "mine.txt").write_text("not of the site")
    files = SiteFiles(tmp_path)
    files.put_value("data/a.json", 1)
    files.finish()
    assert files.written == []
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == [STATE, "data/a.json", "data/mine.txt"]


def test_a_state_file_cannot_remove_anything_outside(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "kept").write_text("")
    (tmp_path / "site" / STATE).write_text(
        json.dumps({"../kept": "x", "data/../../kept": "x", str(tmp_path / "kept"): "x"})
    )
    SiteFiles(tmp_path / "site").finish()
    assert (tmp_path / "kept").exists()


def test_the_pages_are_small_and_have_no_script_of_their_own(made: MadeUp, tmp_path: Path) -> None:
    site = tmp_path / "site"
    build(made, site)
    pages = [site / "index.html", *(site / name for name in STATIC)]
    assert sum(path.stat().st_size for path in pages) < 300_000
    for page in site.glob("*.html"):
        text = html.unescape(page.read_text())
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in text
        assert not re.search(r"<script(?! src=\"site\.js\" defer>)|\son\w+=|style=|<style|https?://", text), page


def test_no_text_of_a_model_or_of_data_is_in_a_page(made: MadeUp, tmp_path: Path) -> None:
    """They are in JSON files only, and one script makes text nodes of them."""
    made.run("<i>demo</i>", {"<b>evil<b>": answers(1, 0.5)}, failed={"train.x": "<img src=x>"})
    build(made, tmp_path / "site")
    assert not [page for page in (tmp_path / "site").glob("*.html") if "evil" in page.read_text()]
    script = (tmp_path / "site" / "site.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", script)


def test_a_pair_holds_what_hpt_compare_says(made: MadeUp, tmp_path: Path) -> None:
    hashes = made.run("demo", {"hpt": answers(1, 0.6), "sft": answers(2, 0.3)})
    build(made, tmp_path / "site")
    (first, one), (second, two) = sorted((short_id(hash_), name) for name, hash_ in hashes.items())
    found = read(tmp_path / "site", f"data/compare/{first}-{second}.json")
    expected = compare_models(Records(made.store.root), fill(made.store), one, two)
    for ours, theirs in zip(found["benchmarks"], expected.pairs, strict=True):
        assert (ours["difference"], ours["low"], ours["high"], ours["p_value"]) == theirs.found[:4]
        assert ours["only"] == [list(theirs.only_first), list(theirs.only_second)]
    assert [a["p_value"] for a in found["averages"]] == [a.found.p_value for a in expected.averages]


def test_benchmarks_are_in_the_order_of_the_board(made: MadeUp, tmp_path: Path) -> None:
    """Not in the order in which they were measured."""
    names = ["gpqa_diamond", "math500", "aime24"]
    hashes = made.run("demo", {m: {n: answers(i, 0.5)[n] for n in names} for i, m in enumerate(("hpt", "sft"))})
    build(made, tmp_path / "site")
    expected = ["math500", "aime24", "gpqa_diamond"]
    board = read(tmp_path / "site", "data/board.json")["sections"][0]["columns"]
    assert [column["benchmark"] for column in board if column["benchmark"]] == expected
    model = read(tmp_path / "site", f"data/models/{short_id(hashes['hpt'])}.json")
    assert [score["benchmark"] for score in model["scores"]] == expected
    first, second = sorted(map(short_id, hashes.values()))
    pair = read(tmp_path / "site", f"data/compare/{first}-{second}.json")
    assert [each["benchmark"] for each in pair["benchmarks"]] == expected


def test_a_pair_that_was_not_built_is_made_on_demand(made: MadeUp) -> None:
    hashes = made.run("demo", {f"m{i}": answers(i, 0.5) for i in range(2)})
    first, second = sorted(map(short_id, hashes.values()))
    site = Site(made.store, fill(made.store))
    content = site.on_demand(f"data/compare/{first}-{second}.json")
    assert content is not None and len(json.loads(content)["benchmarks"]) == 3
    for wrong in (f"{second}-{first}", f"{first}-{first}", f"{first}-{'0' * 16}", "../runs", ""):
        assert site.on_demand(f"data/compare/{wrong}.json") is None


def test_answers_are_in_the_order_of_the_question_ids(made: MadeUp, tmp_path: Path) -> None:
    correct = answers(1, 0.5)
    hashes = made.run("demo", {"hpt": correct})
    build(made, tmp_path / "site")
    model = read(tmp_path / "site", f"data/models/{short_id(hashes['hpt'])}.json")
    for score in model["scores"]:
        questions = read(tmp_path / "site", f"data/questions/{score['set']}.json")
        assert questions["ids"] == [f"q{i:04}" for i in range(len(correct[score["benchmark"]]))]
        assert score["correct"] == correct[score["benchmark"]].sum(axis=1).tolist()
        assert score["outcomes"]["correct"] == correct[score["benchmark"]].sum()
        assert score["pass_at"][0] == pytest.approx(score["avg_at_k"])


def test_questions_are_as_easy_as_the_latest_scores_say(made: MadeUp, tmp_path: Path) -> None:
    """Of the first two, or four: a third model changes no file of questions."""
    correct = [answers(seed, chance) for seed, chance in ((1, 0.9), (2, 0.5))]
    # The model of the first run counts: it is another one, not an earlier measurement.
    made.run("demo", {"hpt": correct[0]}, version="old")
    hashes = made.run("demo", {"sft": correct[1]})
    build(made, tmp_path / "site")
    made.run("demo", {"hpt": answers(3, 0.3)})
    written = build(made, tmp_path / "site")
    assert not [path for path in written if path.startswith("data/questions/")]
    model = read(tmp_path / "site", f"data/models/{short_id(hashes['sft'])}.json")
    sets = {score["benchmark"]: score["set"] for score in model["scores"]}
    for benchmark, set_ in sets.items():
        found = read(tmp_path / "site", f"data/questions/{set_}.json")
        expected = np.mean([each[benchmark].mean(axis=1) for each in correct], axis=0)
        assert found["shares"] == pytest.approx(expected, abs=1e-3)


def test_texts_are_shown_only_where_they_may_be_public() -> None:
    assert shows_text("math500")
    assert not shows_text("gpqa_diamond"), "its authors ask that no question appear in public text"
    assert not shows_text("a benchmark that is not installed")
    assert not is_public(get_suite("math500").model_copy(update={"gated": True})), "whatever its source says"


def test_no_text_of_a_gated_benchmark_is_in_the_site(made: MadeUp, tmp_path: Path) -> None:
    """Nor what a model answered to it."""
    made.run("demo", {"hpt": answers(1, 0.5)})
    tables = fill(made.store)
    site = Site(made.store, tables)
    site.build(tmp_path / "site", responses=True)
    rows = tables.scores.select(["record", "benchmark"]).to_pylist()
    by_benchmark = {row["benchmark"]: row["record"] for row in rows}
    gated = by_benchmark.pop("gpqa_diamond")
    assert not (tmp_path / "site" / "data" / "responses" / gated).exists()
    assert site.on_demand(f"data/responses/{gated}/0.json") is None
    found = read(tmp_path / "site", f"data/responses/{by_benchmark['math500']}/1.json")
    assert len(found) == 20 and found["q0020"]["samples"][0]["response"] == ["so the answer is 1"]
    assert {entry["benchmark"] for entry in read(tmp_path / "site", "data/lighteval.json")} == set(by_benchmark)
    assert not (tmp_path / "site" / "data" / "lighteval" / gated).exists()
    texts = [pq.read_table(path).to_pylist() for path in (tmp_path / "site" / "data" / "lighteval").rglob("*.parquet")]
    asked = {row["doc"]["task_name"] for rows in texts for row in rows}
    assert asked == set(by_benchmark), "the texts inside of the files, which are compressed"


def test_responses_say_why_a_gold_answer_cannot_be_read(made: MadeUp, tmp_path: Path) -> None:
    made.run("demo", {"hpt": {"math500": answers(1, 0.5)["math500"]}})
    for name, column, value in (("asked.parquet", "gold", r"\frac{1"), ("verdicts.parquet", "outcome", "gold_error")):
        (path,) = made.store.root.glob(f"*/*/output/{name}")
        table = pq.read_table(path)
        values = table.column(column).to_pylist()
        values[table.column("question_id").to_pylist().index("q0003")] = value
        pq.write_table(table.set_column(table.column_names.index(column), column, pa.array(values)), path)
    (entry,) = fill(made.store).scores.select(["record"]).to_pylist()
    build(made, tmp_path / "site", responses=True)
    found = read(tmp_path / "site", f"data/responses/{entry['record']}/0.json")
    assert found["q0003"]["fault"] and {asked["fault"] for name, asked in found.items() if name != "q0003"} == {""}


def test_samples_are_there_in_the_style_of_lighteval(made: MadeUp, tmp_path: Path) -> None:
    correct = answers(1, 0.5)
    made.run("demo", {"hpt": correct})
    build(made, tmp_path / "site", responses=True)
    index = {entry["benchmark"]: entry for entry in read(tmp_path / "site", "data/lighteval.json")}
    assert index["aime24"]["model"] == "demo/hpt" and index["aime24"]["title"] == "AIME 2024"
    paths = index["aime24"]["paths"]
    rows = [row for path in paths for row in pq.read_table(tmp_path / "site" / path).to_pylist()]
    shares = correct["aime24"].mean(axis=1)
    assert [row["doc"]["id"] for row in rows] == [f"q{i:04}" for i in range(len(shares))]
    assert [row["metric"]["avg_at_k"] for row in rows] == pytest.approx(shares)
    for row, own in zip(rows, correct["aime24"], strict=True):
        assert row["doc"]["choices"][row["doc"]["gold_index"]] and row["doc"]["query"]
        outcomes = row["metric"]["outcome"]
        assert [outcome == "correct" for outcome in outcomes] == list(own[: len(outcomes)])
        assert len(row["model_response"]["text"]) == len(outcomes) == min(4, row["metric"]["k"])


def test_a_served_site_lists_the_same_samples_and_makes_the_same_files_on_demand(made: MadeUp, tmp_path: Path) -> None:
    made.run("demo", {"hpt": answers(1, 0.5), "sft": answers(2, 0.5)})
    built, served = tmp_path / "built", tmp_path / "served"
    build(made, built, responses=True)
    site = Site(made.store, fill(made.store))
    site.build(served, live=True)
    assert not (served / "data" / "lighteval.json").exists(), "it depends on files that may be removed meanwhile"
    index = site.on_demand("data/lighteval.json")
    assert index is not None and json.loads(index) == read(built, "data/lighteval.json")
    paths = [path for entry in json.loads(index) for path in entry["paths"]]
    assert paths and all(site.on_demand(path) == (built / path).read_bytes() for path in paths)
    folder, _, file = paths[0].rpartition("/")
    end = file.rpartition("_")[2]
    for wrong in (f"details_math500_{end}", f"details_gpqa_diamond_{end}", end, file.replace("_0", "_99")):
        assert wrong == file or site.on_demand(f"{folder}/{wrong}") is None


def test_samples_that_the_store_no_longer_has_are_not_listed(made: MadeUp, tmp_path: Path) -> None:
    made.run("demo", {"hpt": answers(1, 0.5)})
    tables = fill(made.store)
    shutil.rmtree(made.store.root / "samples")
    Site(made.store, tables).build(tmp_path / "site", responses=True)
    assert read(tmp_path / "site", "data/lighteval.json") == []
    assert Site(made.store, tables).on_demand("data/lighteval.json") == b"[]"


def test_responses_stay_out_unless_they_are_wanted(made: MadeUp, tmp_path: Path) -> None:
    made.run("demo", {"hpt": answers(1, 0.5)})
    build(made, tmp_path / "site")
    assert not [p for p in (tmp_path / "site").rglob("*.json") if b"so the answer is" in p.read_bytes()]
    assert read(tmp_path / "site", "data/lighteval.json") == []
    assert not (tmp_path / "site" / "data" / "lighteval").exists()


def test_seeds_are_grouped_with_an_interval_over_seeds_and_questions(made: MadeUp) -> None:
    correct = {f"hpt_seed_{seed}": answers(seed, 0.5) for seed in (1, 2, 3)}
    made.run("demo", {**correct, "sft": answers(9, 0.3)})
    tables = fill(made.store)
    site = Site(made.store, tables)
    (section,) = site.board_data()["sections"]
    (group,) = section["methods"]
    assert (group["label"], sorted(group["members"])) == ("hpt", [f"demo/hpt_seed_{seed}" for seed in (1, 2, 3)])
    means = [found["aime24"].mean() for found in correct.values()]
    aime = next(i for i, column in enumerate(section["columns"]) if column["benchmark"] == "aime24")
    cell = group["cells"][aime]
    assert cell["value"] == pytest.approx(np.mean(means), rel=1e-5)
    assert cell["spread"] == pytest.approx([min(means), max(means)], rel=1e-5)
    shares = np.array([correct[f"hpt_seed_{seed}"]["aime24"].mean(axis=1) for seed in (1, 2, 3)])
    assert (cell["low"], cell["high"]) == pytest.approx(effect([shares]).interval(), rel=1e-5)
    average = next(i for i, column in enumerate(section["columns"]) if not column["benchmark"])
    assert group["cells"][average]["value"] == pytest.approx(
        np.mean([np.mean([found[name].mean() for name in ("aime24", "math500")]) for found in correct.values()]),
        rel=1e-5,
    )


def test_a_group_that_solves_nothing_has_no_interval(made: MadeUp) -> None:
    made.run("demo", {f"hpt_seed_{seed}": answers(seed, 0.0) for seed in (1, 2, 3)})
    (section,) = Site(made.store, fill(made.store)).board_data()["sections"]
    (group,) = section["methods"]
    assert {(cell["value"], cell["low"], cell["high"]) for cell in group["cells"] if cell} == {(0.0, None, None)}


def test_a_group_of_seeds_has_no_number_that_one_of_them_lacks(made: MadeUp) -> None:
    part = {name: value for name, value in answers(2, 0.5).items() if name != "aime24"}
    made.run("demo", {"hpt_seed_1": answers(1, 0.5), "hpt_seed_2": part})
    (section,) = Site(made.store, fill(made.store)).board_data()["sections"]
    (group,) = section["methods"]
    lacking = {c["title"] for c, cell in zip(section["columns"], group["cells"], strict=True) if cell is None}
    assert lacking == {"AIME 2024", "average in"}


def test_a_planted_weaker_model_is_a_regression_and_an_equal_one_is_not(made: MadeUp, tmp_path: Path) -> None:
    for night, chance in enumerate((0.7, 0.7, 0.2)):
        made.run("nightly", {"hpt": answers(night, chance), "sft": answers(10, 0.5)}, version=str(night))
    build(made, tmp_path / "site")
    lines = read(tmp_path / "site", "data/history.json")["lines"]
    changes = {(line["name"], line["benchmark"]): [p["change"] for p in line["points"]] for line in lines}
    assert changes["nightly/hpt", "math500"] == [None, None, "worse"]
    assert changes["nightly/sft", "math500"] == [None, None, None]
    assert lines[0]["name"] == "nightly/hpt", "what got worse comes first"
    pair = sorted(point["id"] for point in lines[0]["points"][-2:])
    assert read(tmp_path / "site", f"data/compare/{pair[0]}-{pair[1]}.json")["benchmarks"]


def fetched(tables: Tables) -> Tables:
    """The same, as if a sweep of `[model.checkpoint]` had made the models."""
    models = tables.models.to_pylist()
    rows = [{**row, "kind": "model", "swept": json.dumps({"model.checkpoint.grid": row["label"]})} for row in models]
    return replace(tables, models=pa.Table.from_pylist(rows, tables.models.schema))


def test_checkpoints_are_a_line_over_the_steps_and_are_not_tested(made: MadeUp) -> None:
    for night, chances in enumerate(({9: 0.9, 10: 0.5}, {10: 0.1, 100: 0.1})):
        models = {f"step-{step}": answers(night + step, chance) for step, chance in chances.items()}
        made.run("watched", models, version=str(night))
    tables = fill(made.store)
    assert {line["name"] for line in history_data(tables)["lines"]} == {"watched/step-10"}, "trained models"
    lines = {(line["name"], line["benchmark"]): line["points"] for line in history_data(fetched(tables))["lines"]}
    found = lines["watched/step-*", "math500"]
    told = [(point["step"], point["change"], point["p"]) for point in found]
    assert told == [(step, None, None) for step in (9, 10, 100)]
    by_step = dict(zip((9, 10, 100), found, strict=True))
    assert by_step[9]["value"] > 0.5 > by_step[10]["value"], "the latest score of a step"
    again = lines["watched/step-10", "math500"]
    assert [point["change"] for point in again] == [None, "worse"], "another model of the same step is tested"
    assert by_step[10] == {"step": 10, **again[1], "p": None, "change": None}


def test_regressions_are_corrected_within_each_run(made: MadeUp, tmp_path: Path) -> None:
    nights = [{"hpt": answers(night, 0.6 - 0.15 * night)} for night in range(2)]
    for night, models in enumerate(nights):
        made.run("nightly", models, version=str(night))
    build(made, tmp_path / "site")
    found = {
        line["benchmark"]: line["points"][-1]["p"] for line in read(tmp_path / "site", "data/history.json")["lines"]
    }
    counts = [{name: correct.sum(axis=1) for name, correct in models["hpt"].items()} for models in nights]
    exact = holm([sign_flip_exact(counts[1][name] - counts[0][name]) for name in found])
    assert list(found.values()) == pytest.approx(exact)


def trained(steps: int) -> pa.Table:
    """A training log, in which validation runs every tenth step."""
    rows = [
        {
            "step": step,
            "reward": step / steps,
            "validation_reward": step / 10 if step % 10 == 0 else math.nan,
            "demonstration_nll": math.nan,
            "seconds_update": 1.0,
        }
        for step in range(1, steps + 1)
    ]
    return pa.Table.from_pylist(rows)


def test_training_curves_are_thinned_and_lack_what_was_never_logged(made: MadeUp, tmp_path: Path) -> None:
    logs = {"hpt": trained(1001), "sft": trained(20)}
    hashes = made.run("demo", {name: answers(1, 0.5) for name in ("hpt", "sft", "grpo")}, logs=logs)
    build(made, tmp_path / "site")
    ids = {name: short_id(hash_) for name, hash_ in hashes.items()}
    assert read(tmp_path / "site", "data/training.json") == sorted([ids["hpt"], ids["sft"]])
    short = read(tmp_path / "site", f"data/training/{ids['sft']}.json")
    assert short["steps"] == list(range(1, 21))
    assert [title for title, _ in short["curves"]] == ["Reward, mean over rollouts", "Reward on held-out questions"]
    validation = dict(short["curves"])["Reward on held-out questions"]
    assert [step for step, value in zip(short["steps"], validation, strict=True) if value is not None] == [10, 20]
    long = read(tmp_path / "site", f"data/training/{ids['hpt']}.json")
    assert long["steps"] == [*range(6, 1000, 6), 1001]
    assert long["steps_per_point"] == 6
    reward = dict(long["curves"])["Reward, mean over rollouts"]
    assert reward[0] == pytest.approx(3.5 / 1001, rel=1e-5)
    assert len(reward) == len(long["steps"])


def test_each_signal_has_a_curve(made: MadeUp, tmp_path: Path) -> None:
    """Of its tokens: the value of a surrogate says nothing."""
    names = ("signal", "surrogate", "tokens", "clipped")
    steps = [("rl", -0.5, 8, 0), ("sft", 0.0, 0, 0)], [("rl", 0.0, 0, 0), ("sft", 2.5, 4, 0)]
    rows = [
        {"step": i, "reward": 0.5, "signals": [dict(zip(names, each, strict=True)) for each in step]}
        for i, step in enumerate(steps, 1)
    ]
    hashes = made.run("demo", {"hpt": answers(1, 0.5)}, logs={"hpt": pa.Table.from_pylist(rows)})
    build(made, tmp_path / "site")
    curves = dict(read(tmp_path / "site", f"data/training/{short_id(hashes['hpt'])}.json")["curves"])
    assert curves["Tokens that the signal rl trained on"] == [8, 0]
    assert curves["Tokens that the signal sft trained on"] == [0, 4]


def test_a_run_that_reused_everything_names_the_packages(made: MadeUp, tmp_path: Path) -> None:
    made.run("demo", {"hpt": answers(1, 0.5)})
    (file,) = made.store.history.folder.glob("*.json")
    record = json.loads(file.read_text())
    reused = {key: {**stage, "what": "reused"} for key, stage in record["stages"].items()}
    later = {"id": "20260102-000000-demo-0001", "start": "2026-01-02T00:00:00Z", "end": "2026-01-02T00:00:01Z"}
    text = json.dumps({**record, **later, "stages": reused})
    (made.store.history.folder / f"{later['id']}.json").write_text(text)
    build(made, tmp_path / "site")
    listed = read(tmp_path / "site", "data/runs.json")["runs"][0]
    found = read(tmp_path / "site", f"data/runs/{listed['id']}.json")
    assert (found["made"], found["packages"]["torch"]) == ([], "1.0")


def test_a_run_has_a_page_without_folders_of_the_machine(made: MadeUp, tmp_path: Path) -> None:
    failed = {"train.grpo": "cannot write /home/me/runs/train/x.json: see https://host/a/b"}
    hashes = made.run("demo", {"hpt": answers(1, 0.5)}, failed=failed)
    build(made, tmp_path / "site")
    (listed,) = read(tmp_path / "site", "data/runs.json")["runs"]
    found = read(tmp_path / "site", f"data/runs/{listed['id']}.json")
    assert listed.items() <= found.items()
    assert ["train.grpo", "failed", 1.0, "cannot write .../x.json: see https://host/a/b"] in found["stages"]
    assert found["models"][-1] == {"id": short_id(hashes["hpt"]), "name": "demo/hpt", "scored": True}
    assert {row["artifact"] for row in found["made"]} >= {"train.hpt", "evaluate.hpt/verdicts/aime24"}
    assert sum(row["trained_tokens"] or 0 for row in found["made"]) == 2000
    assert found["packages"]["torch"] == "1.0"
    assert found["config"]["name"] == "demo"
    assert not [path for path in (tmp_path / "site").rglob("*.json") if "/home/me" in path.read_text()]


def test_formulas_become_trees_and_the_text_stays_whole() -> None:
    text = r"So $\frac{1}{2}$ of \[x^2\] is \boxed{\frac{3}{4}}. It costs $5 and $7."
    found = pieces(text)
    assert "".join(p if isinstance(p, str) else p[0] for p in found) == text
    half, square, boxed = (p for p in found if not isinstance(p, str))
    assert half[0] == r"$\frac{1}{2}$"
    assert half[1] == [
        "math", {"display": "inline"},
        ["mrow", {}, ["mfrac", {}, ["mrow", {}, ["mn", {}, "1"]], ["mrow", {}, ["mn", {}, "2"]]]],
    ]  # fmt: skip
    assert square[1][1] == {"display": "block"}
    assert boxed[1][2][2][0] == "menclose"


@given(st.text(alphabet="$\\ab{}[]()^_&<>\"' \n1", max_size=60) | st.text(max_size=40))
def test_any_text_is_kept_and_no_other_element_is_made(text: str) -> None:
    found = pieces(text)
    assert "".join(p if isinstance(p, str) else p[0] for p in found) == text

    def names(tree: Any) -> Iterator[str]:
        yield tree[0]
        for child in tree[2:]:
            if not isinstance(child, str):
                yield from names(child)

    assert all(name in ELEMENTS for p in found if not isinstance(p, str) for name in names(p[1]))


def test_long_and_many_formulas_stay_as_they_are_written() -> None:
    assert pieces(f"${'x' * 500}$") == [f"${'x' * 500}$"]
    assert sum(not isinstance(p, str) for p in pieces("$x$ " * 100)) == 60
    assert pieces("$" + "{" * 300 + "}" * 3 + "$")[0] is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a/b/c", ".../c"),
        ("~/models/x", ".../x"),
        ("PosixPath('/a/b/c')", "PosixPath('.../c')"),
        ("s3://bucket/a/b and https://h/a/b", "s3://bucket/a/b and https://h/a/b"),
        ("evaluate.hpt/samples/x", "evaluate.hpt/samples/x"),
        ("1/2, /tmp", "1/2, /tmp"),
    ],
)
def test_public_texts_lack_folders(text: str, expected: str) -> None:
    assert public({"a": [text], text: 1}) == {"a": [expected], text: 1}


def test_the_tables_can_be_read(made: MadeUp, tmp_path: Path) -> None:
    made.run("demo", {"hpt": answers(1, 0.5)})
    build(made, tmp_path / "site")
    scores = pq.read_table(tmp_path / "site" / "tables" / "scores.parquet")
    assert scores.num_rows == len(SUITES)
    flat = pd.read_csv(tmp_path / "site" / "tables" / "scores.csv.gz")
    assert flat["avg_at_k"].tolist() == pytest.approx(scores.column("avg_at_k").to_pylist())
    counts = [row["correct"] for row in scores.column("outcomes").to_pylist()]
    assert flat["outcomes.correct"].tolist() == counts == [sum(each) for each in scores.column("correct").to_pylist()]
    assert not (tmp_path / "site" / "tables" / "runs.parquet").exists(), "configs name folders of the machine"


def test_the_tables_name_the_questions_that_one_model_solves_and_another_does_not(made: MadeUp, tmp_path: Path) -> None:
    made.run("demo", {"hpt": answers(1, 0.6), "sft": answers(2, 0.3)})
    build(made, tmp_path / "site")
    for name in ("scores", "protocols", "questions"):
        duckdb.read_parquet(str(tmp_path / "site" / "tables" / f"{name}.parquet")).create_view(name)
    found = duckdb.sql("""
        WITH solved AS (
            SELECT label, q.question_id, 2 * s.correct[q.place + 1] > s.k AS solved
            FROM scores s JOIN protocols USING (protocol) JOIN questions q USING (benchmark_hash)
            WHERE s.benchmark = 'math500'
        )
        SELECT a.question_id FROM solved a JOIN solved b USING (question_id)
        WHERE a.label = 'hpt' AND a.solved AND b.label = 'sft' AND NOT b.solved ORDER BY 1
    """).fetchall()
    pairs = compare_models(Records(made.store.root), fill(made.store), "hpt", "sft").pairs
    (pair,) = [pair for pair in pairs if pair.benchmark == "math500"]
    assert [question for (question,) in found] == list(pair.only_first) != []


def test_a_model_has_a_card(made: MadeUp, tmp_path: Path) -> None:
    correct = answers(1, 0.5)
    name = "hpt|x\u202e"
    hashes = made.run("demo", {name: correct})
    build(made, tmp_path / "site")
    text = (tmp_path / "site" / "data" / "cards" / f"{short_id(hashes[name])}.md").read_text()
    _, front, card = text.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "base_model": "Qwen/Qwen2.5-Math-1.5B",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["hpt-pipelines"],
    }
    assert "# demo/hpt\\|x\\u202e\n" in card and "Lineage: demo/base → demo/hpt\\|x\\u202e" in card
    assert f"| AIME 2024 | {100 * correct['aime24'].mean():.1f} |" in card
    assert "10 % of the responses were cut" in card and "Tokens trained on: 2000" in card


def test_a_models_scores_are_a_record_of_every_eval_ever(made: MadeUp, tmp_path: Path) -> None:
    """What the format's schema, version 0.3.0, requires: these keys, and texts for everything that is no score."""
    correct = answers(1, 0.5)
    hashes = made.run("demo", {"hpt": correct})
    build(made, tmp_path / "site")
    found = read(tmp_path / "site", f"data/every_eval_ever/{short_id(hashes['hpt'])}.json")
    required = "schema_version evaluation_id retrieved_timestamp source_metadata model_info eval_library"
    assert {*required.split(), "evaluation_results"} <= found.keys()
    assert found["source_metadata"]["source_type"] == "evaluation_run"
    assert {"name", "id"} <= found["model_info"].keys() and {"name", "version"} <= found["eval_library"].keys()
    scores = {result["evaluation_name"]: result for result in found["evaluation_results"]}
    assert scores["aime24"]["score_details"]["score"] == pytest.approx(correct["aime24"].mean(), rel=1e-5)
    for result in scores.values():
        assert {"evaluation_name", "source_data", "metric_config", "score_details"} <= result.keys()
        assert result["metric_config"]["lower_is_better"] is False
        assert {"min_score", "max_score"} <= result["metric_config"].keys()
        interval = result["score_details"]["uncertainty"]["confidence_interval"]
        assert interval["lower"] < result["score_details"]["score"] < interval["upper"]
        assert result["generation_config"]["generation_args"].keys() == {"temperature", "top_p", "max_tokens"}
        details = [result["score_details"]["details"], result["generation_config"]["additional_details"]]
        assert all(isinstance(value, str) for each in details for value in each.values())
    about = found["model_info"]["additional_details"]
    assert (about["deployment_type"], about["model_availability"]) == ("self_deployed", "unknown")
    assert all(isinstance(value, str) for value in about.values())
