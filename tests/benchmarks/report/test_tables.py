import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.report.board import make_board
from benchmarks.report.build import build
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.schemas import COMPARISONS, CONTAMINATION, EXCLUSIVE, SAMPLES, SCORES, TRAINING_LOG
from hpt_core.errors import ConfigError, DataError
from hpt_core.evaluation.metrics import interval
from hpt_core.rollout.base import Sampling

Make = Callable[..., ReportInputs]


def rows(inputs: ReportInputs, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(inputs.output / "tables" / f"{table}.parquet").to_pylist()
    return found


def read(inputs: ReportInputs) -> pa.Table:
    return pq.read_table(inputs.output / "tables" / "scores.parquet")


def score(inputs: ReportInputs, model: str, benchmark: str) -> dict[str, Any]:
    (found,) = [r for r in rows(inputs, "scores") if (r["model"], r["benchmark"]) == (model, benchmark)]
    return found


def with_protocol(inputs: ReportInputs, model: str, benchmark: str, **changes: Any) -> ReportInputs:
    models = []
    for m in inputs.models:
        if m.name == model:
            result = m.results[benchmark]
            protocol = result.protocol.model_copy(update=changes)
            m = m.model_copy(
                update={"results": {**m.results, benchmark: result.model_copy(update={"protocol": protocol})}}
            )
        models.append(m)
    return inputs.model_copy(update={"models": tuple(models)})


def test_every_table_has_its_documented_schema(hand_inputs: Make) -> None:
    inputs = hand_inputs()
    build(inputs)
    for name, schema in {
        "scores": SCORES,
        "comparisons": COMPARISONS,
        "contamination": CONTAMINATION,
        "exclusive": EXCLUSIVE,
        "samples": SAMPLES,
        "training_log": TRAINING_LOG,
    }.items():
        assert pq.read_schema(inputs.output / "tables" / f"{name}.parquet").equals(schema)


def test_scores_by_hand(hand_inputs: Make) -> None:
    inputs = hand_inputs()
    build(inputs)
    base = score(inputs, "model.base", "aime24")
    # Question a has 1 of 2, question b 0 of 2.
    assert base["avg_at_k"] == base["pass_at_1"] == pytest.approx(0.25)
    assert base["pass_at_k"] == pytest.approx((1 + 0) / 2)
    assert base["pass_curve"] == [{"k": 1, "value": 0.25}, {"k": 2, "value": 0.5}]
    assert base["standard_error"] == pytest.approx(math.sqrt((0.25**2 + 0.25**2) / (2 * 1)))
    assert (base["interval_low"], base["interval_high"]) == pytest.approx(interval([0.5, 0.0]))
    # Of two questions a quarter of the resamples hold the one alone, and a quarter the other.
    assert (base["bootstrap_low"], base["bootstrap_high"]) == (0.0, 0.5)
    assert (base["questions"], base["samples"], base["k"]) == (2, 4, 2)
    assert (base["no_answer_share"], base["truncated_share"], base["mean_tokens"]) == (0.25, 0.25, 15.0)
    maths = score(inputs, "model.base", "math500")
    assert (maths["avg_at_k"], maths["timeout_share"], maths["gold_error_share"]) == (0.25, 0.25, 0.25)
    assert maths["standard_error"] == pytest.approx(math.sqrt((3 * 0.25**2 + 0.75**2) / (4 * 3)))
    assert score(inputs, "train.hpt", "aime24")["avg_at_k"] == 0.75


def test_group_averages_are_unweighted(hand_inputs: Make) -> None:
    inputs = hand_inputs()
    build(inputs)
    assert score(inputs, "model.base", "in")["avg_at_k"] == pytest.approx((0.25 + 0.25) / 2)
    average = score(inputs, "train.hpt", "in")
    assert average["kind"] == "average"
    assert average["avg_at_k"] == pytest.approx((0.75 + 0.75) / 2)
    parts = [score(inputs, "train.hpt", b)["standard_error"] for b in ("aime24", "math500")]
    assert average["standard_error"] == pytest.approx(math.hypot(*parts) / 2)
    assert average["questions"] == 6
    assert score(inputs, "train.hpt", "out")["avg_at_k"] == 0.5


PROTOCOL = (
    *("protocol", "k", "prompt", "prompt_hash", "temperature", "top_p", "max_tokens", "max_total_tokens"),
    *("stop_repetition", "sampling_options", "from_model", "engine_version", "engine", "dtype", "model_hash"),
    *("benchmark_hash", "grader_version", "grade_timeout_s", "seed", "seeds", "limit"),
)
"""Columns that say how a number was made."""


def test_averages_show_the_fields_in_which_benchmarks_agree(hand_inputs: Make) -> None:
    sampling = Sampling(temperature=0.6, top_p=0.95, max_tokens=64)
    inputs = with_protocol(hand_inputs(), "train.hpt", "math500", seed=8, sampling=sampling, grader_version="choice 1")
    build(inputs)
    first, average = score(inputs, "train.hpt", "aime24"), score(inputs, "train.hpt", "in")
    alike = {name for name in PROTOCOL if average[name] == first[name]}
    assert set(PROTOCOL) - alike == {"k", "max_tokens", "grader_version", "seed"}
    assert all(average[name] is None for name in set(PROTOCOL) - alike)
    # The average of one benchmark has all of its protocol.
    alone, out = score(inputs, "train.hpt", "gpqa_diamond"), score(inputs, "train.hpt", "out")
    assert all(out[name] == alone[name] for name in PROTOCOL)
    details = {line.label: dict(line.cells[0].details) for line in make_board(read(inputs)).lines if line.cells[0]}
    assert details["hpt"]["Sampler"] == "temperature 0.6, top_p 0.95"
    assert details["hpt"]["Grader"] == "at most 5 s a comparison"
    assert "Seed" not in details["hpt"] and "Limit" not in details["hpt"]
    assert details["base"]["Sampler"] == "temperature 0.6, top_p 0.95, at most 8,192 tokens"
    assert details["base"]["Engine"] == "vllm 0.32.0, bfloat16"


def test_an_incomplete_group_has_no_average(hand_inputs: Make) -> None:
    inputs = hand_inputs()
    base, hpt = inputs.models
    partial = hpt.model_copy(update={"results": {k: v for k, v in hpt.results.items() if k != "math500"}})
    inputs = inputs.model_copy(update={"models": (base, partial)})
    build(inputs)
    kinds = [(r["model"], r["benchmark"]) for r in rows(inputs, "scores")]
    assert ("model.base", "in") in kinds
    assert ("train.hpt", "in") not in kinds
    assert ("train.hpt", "out") in kinds
    compared = [r["benchmark"] for r in rows(inputs, "comparisons")]
    assert compared == ["out", "aime24", "gpqa_diamond"]


def test_the_protocol_is_recorded_and_deviations_are_named(hand_inputs: Make) -> None:
    inputs = with_protocol(
        hand_inputs(), "train.hpt", "gpqa_diamond", limit=2, sampling=Sampling(temperature=1, top_p=0.9, max_tokens=64)
    )
    build(inputs)
    row = score(inputs, "train.hpt", "gpqa_diamond")
    assert row["deviations"] == [
        "2 of 198 questions",
        "temperature 1 instead of 0.6",
        "top_p 0.9 instead of 0.95",
        "64 new tokens instead of 8192",
    ]
    assert (row["temperature"], row["top_p"], row["max_tokens"], row["limit"], row["seed"]) == (1.0, 0.9, 64, 2, 7)
    assert row["engine_version"] == "vllm 0.32.0"
    assert score(inputs, "train.hpt", "aime24")["deviations"] == []
    assert "GPQA-Diamond" in score(inputs, "train.hpt", "out")["deviations"][0]
    assert score(inputs, "train.hpt", "in")["deviations"] == []
    compared = next(r for r in rows(inputs, "comparisons") if r["benchmark"] == "gpqa_diamond")
    assert compared["protocol_differences"] == ["limit", "sampling"]


def test_comparisons_by_hand(hand_inputs: Make) -> None:
    inputs = hand_inputs()
    build(inputs)
    found = {r["benchmark"]: r for r in rows(inputs, "comparisons")}
    assert list(found) == ["in", "out", "aime24", "math500", "gpqa_diamond"]
    assert {(r["model"], r["baseline"]) for r in found.values()} == {("train.hpt", "model.base")}
    aime = found["aime24"]
    assert (aime["difference"], aime["questions"], aime["better"], aime["worse"]) == (0.5, 2, 2, 0)
    assert aime["p_value"] == 0.5  # two equal differences: 2 of 4 sign patterns
    assert found["math500"]["p_value"] == 0.5
    assert found["gpqa_diamond"]["p_value"] == 1.0
    assert [found[b]["p_holm"] for b in ("aime24", "math500", "gpqa_diamond")] == [1.0, 1.0, 1.0]
    assert found["in"]["difference"] == pytest.approx(0.5)
    assert found["in"]["p_holm"] == pytest.approx(min(1.0, 2 * found["in"]["p_value"]))


def test_the_baseline_can_be_chosen(hand_inputs: Make) -> None:
    inputs = hand_inputs(baseline="train.hpt")
    build(inputs)
    assert {
        (r["model"], r["baseline"], r["difference"]) for r in rows(inputs, "comparisons") if r["kind"] == "average"
    } == {
        ("model.base", "train.hpt", -0.5),
        ("model.base", "train.hpt", 0.0),
    }


def test_samples_carry_their_verdicts(hand_inputs: Make) -> None:
    inputs = hand_inputs()
    build(inputs)
    found = rows(inputs, "samples")
    assert len(found) == 2 * (4 + 4 + 2)
    assert [r["outcome"] for r in found if r["model"] == "model.base" and r["benchmark"] == "math500"] == [
        "correct",
        "timeout",
        "incorrect",
        "gold_error",
    ]
    assert all(r["response"] == f"{r['question_id']} {r['sample_index']}" for r in found)


def test_the_training_log_names_its_stage(hand_inputs: Make) -> None:
    inputs = hand_inputs()
    build(inputs)
    found = rows(inputs, "training_log")
    assert [(r["stage"], r["algorithm"], r["step"]) for r in found] == [("train.hpt", "hpt", i) for i in range(1, 6)]


def test_published_rows_are_separate(hand_inputs: Make) -> None:
    inputs = hand_inputs(published="qwen2.5-math-7b")
    build(inputs)
    published = [r for r in rows(inputs, "scores") if r["source"] == "published"]
    hpt = {r["benchmark"]: r for r in published if r["label"] == "HPT"}
    assert {b: r["avg_at_k"] for b, r in hpt.items() if r["kind"] == "benchmark"} == {
        "aime24": 0.33,
        "math500": 0.892,
        "gpqa_diamond": 0.429,
    }
    # Two of the six benchmarks are shown: the printed average of six must not stand in their column.
    assert hpt["in"]["avg_at_k"] == pytest.approx((0.33 + 0.892) / 2)
    assert hpt["in"]["deviations"] == ["mean of the 2 benchmarks shown; printed over 6: 52.7"]
    assert all(r["interval_low"] is None and r["model_hash"] is None for r in published)
    assert all("arXiv:2509.04419" in r["source_note"] for r in published)
    assert not [r for r in rows(inputs, "comparisons") if r["model"].startswith("published")]


def test_printed_averages_are_shown_for_the_same_benchmarks(full_inputs: ReportInputs) -> None:
    build(full_inputs)
    found = {r["benchmark"]: r for r in rows(full_inputs, "scores") if r["model"] == "published.SFT → GRPO"}
    assert (found["in"]["avg_at_k"], found["in"]["deviations"]) == (0.465, [])
    assert (found["out"]["avg_at_k"], found["out"]["deviations"]) == (0.493, [])


def test_other_benchmarks_leave_the_published_averages_as_they_are(hand_inputs: Make) -> None:
    """Each group has its heading above its own columns."""
    before = hand_inputs(published="qwen2.5-math-7b")
    math, gpqa = before.suites[1:]
    suites = (before.suites[0], math.model_copy(update={"group": "other"}), gpqa)
    inputs = before.model_copy(update={"suites": suites})
    build(inputs)
    published = {r["benchmark"]: r for r in rows(inputs, "scores") if r["model"] == "published.HPT"}
    assert published["in"]["avg_at_k"] == published["aime24"]["avg_at_k"] == 0.33
    assert "other" not in published
    assert score(inputs, "train.hpt", "other")["title"] == "Other benchmarks average"
    page = (inputs.output / "site" / "index.html").read_text()
    headings = re.findall(r'<th scope="colgroup" colspan="(\d+)">([^<]+)</th>', page.partition("</thead>")[0])
    assert headings == [
        ("3", "Averages"), ("1", "In distribution"), ("1", "Out of distribution"), ("1", "Other benchmarks"),
    ]  # fmt: skip
    titles = re.findall(r'<th scope="col" class="benchmark">.*?</button>', page.partition("</thead>")[0])
    shown = [" ".join(re.findall(r'class="word">([^<]+)<', title)) for title in titles]
    assert shown == ["AIME 2024", "GPQA-Diamond", "MATH-500"]


def test_no_published_average_over_benchmarks_that_were_not_published(hand_inputs: Make) -> None:
    inputs = hand_inputs(published="llama-3.1-8b")
    build(inputs)
    published = {r["benchmark"] for r in rows(inputs, "scores") if r["source"] == "published"}
    assert published == {"aime24", "math500", "in"}


def test_unknown_published_results_are_an_error_before_anything_is_written(hand_inputs: Make) -> None:
    inputs = hand_inputs(published="qwen3")
    with pytest.raises(ConfigError, match="qwen2"):
        build(inputs)
    assert not inputs.output.exists()


def test_a_wrong_number_of_samples_is_an_error(hand_inputs: Make) -> None:
    with pytest.raises(DataError, match=r"2 samples .* where 4 are expected"):
        build(with_protocol(hand_inputs(), "train.hpt", "aime24", k=4))


def test_damaged_verdicts_are_an_error_that_names_the_file(hand_inputs: Make) -> None:
    inputs = hand_inputs()
    path = inputs.models[0].results["aime24"].verdicts
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=str(path)):
        build(inputs)


def test_the_same_inputs_give_the_same_bytes(hand_inputs: Make, tmp_path: Path) -> None:
    def content(output: Path) -> dict[str, bytes]:
        build(hand_inputs(published="qwen2.5-math-1.5b", output=output))
        return {p.relative_to(output).as_posix(): p.read_bytes() for p in output.rglob("*") if p.is_file()}

    first, second = content(tmp_path / "one"), content(tmp_path / "two")
    assert first == second
    assert sorted(first) == [
        "leaderboard.md",
        "site/index.html",
        "tables/comparisons.parquet",
        "tables/contamination.parquet",
        "tables/exclusive.parquet",
        "tables/samples.parquet",
        "tables/scores.parquet",
        "tables/training_log.parquet",
    ]
