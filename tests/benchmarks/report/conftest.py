"""A small finished evaluation on disk: the inputs of the report."""

import math
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.published import get_published
from benchmarks.report.inputs import BenchmarkResult, ModelResult, Protocol, ReportInputs, Rules, SuiteInfo
from benchmarks.report.rules import published_rules
from benchmarks.suite import get_suite
from hpt_core.prompts.chat import ChatTemplate
from hpt_core.rollout.base import Sampling
from hpt_core.schemas import SAMPLES, TRAIN_LOG, VERDICTS

Outcomes = Mapping[str, list[str]]
"""Question id -> outcome of each sample."""
SAMPLING = Sampling(temperature=0.6, top_p=0.95, max_tokens=8192)
PROMPT = '{"name": "chat"}'


def make_suite(name: str, title: str, group: str, rows: int, k: int) -> SuiteInfo:
    rules = Rules(protocol="benchmark", prompt=PROMPT, sampling=SAMPLING, k=k)
    return SuiteInfo(name=name, title=title, group=group, rows=rows, rules=rules)


def make_protocol(**changes: Any) -> Protocol:
    fields: dict[str, Any] = {
        "prompt": PROMPT,
        "sampling": SAMPLING,
        "k": 2,
        "engine_version": "vllm 0.32.0",
        "engine": '{"name": "vllm"}',
        "dtype": "bfloat16",
        "model_hash": "sha256:" + "ab" * 32,
        "benchmark_hash": "sha256:" + "cd" * 32,
        "grader_version": "math 1",
        "grade_timeout_s": 5.0,
        "seed": 7,
        "prompt_hash": "sha256:" + "33" * 32,
    }
    return Protocol(**{**fields, **changes})


def write_result(folder: Path, benchmark: str, outcomes: Outcomes, shard_questions: int = 2) -> tuple[Path, Path]:
    """Sample shards and verdicts. Sample i of a question has 10 * (i + 1) tokens; "no_answer" ones are truncated."""
    samples, verdicts, shards = [], [], []
    for number, (question_id, found) in enumerate(outcomes.items()):
        if number % shard_questions == 0:
            shards.append(samples := [])
        for index, outcome in enumerate(found):
            key = {"benchmark": benchmark, "question_id": question_id, "sample_index": index}
            truncated = outcome == "no_answer"
            samples.append(
                {
                    **key,
                    "seed": number * 100 + index,
                    "response": f"{question_id} {index}",
                    "tokens": 10 * (index + 1),
                    "prompt_tokens": 5,
                    "finish_reason": "length" if truncated else "stop",
                }
            )
            verdicts.append({**key, "outcome": outcome, "extracted": None if truncated else "1"})
    (folder / "samples").mkdir(parents=True)
    for number, shard in enumerate(shards):
        pq.write_table(pa.Table.from_pylist(shard, SAMPLES), folder / "samples" / f"part-{number:05d}.parquet")
    pq.write_table(pa.Table.from_pylist(verdicts, VERDICTS), folder / "verdicts.parquet")
    return folder / "samples", folder / "verdicts.parquet"


def write_log(path: Path, steps: int, seed: int, rollouts: bool = True) -> Path:
    """A training log whose reward rises; without rollouts reward and response length are NaN."""
    noise = random.Random(seed)
    rows = []
    for step in range(1, steps + 1):
        rise = step / steps
        row: dict[str, Any] = {f.name: 0 if pa.types.is_integer(f.type) else 0.0 for f in TRAIN_LOG}
        row |= {
            "step": step,
            "reward": 0.2 + 0.4 * rise + noise.gauss(0, 0.02) if rollouts else math.nan,
            "demonstration_share": 0.6 - 0.4 * rise + noise.gauss(0, 0.02) if rollouts else 1.0,
            "entropy": 0.9 - 0.5 * rise + noise.gauss(0, 0.02),
            "response_tokens": 40 + 20 * rise + noise.gauss(0, 1) if rollouts else math.nan,
            "success_rate": 0.2 + 0.4 * rise if rollouts else math.nan,
            "surrogate": 1.5 - rise + noise.gauss(0, 0.05),
            "demonstration_nll": 1.4 - rise + noise.gauss(0, 0.05),
            "signals": [{"signal": "sft", "surrogate": 1.4 - rise, "tokens": 100, "clipped": 0}],
            "validation_reward": 0.3 + 0.3 * rise if step % 10 == 0 else math.nan,
            "validation_rewards": [0.3 + 0.3 * rise] if step % 10 == 0 else [],
            "gradient_norm": 1.2 - 0.5 * rise + abs(noise.gauss(0, 0.1)),
        }
        rows.append(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, TRAIN_LOG), path)
    return path


def drawn(questions: int, k: int, chance: float, seed: int) -> Outcomes:
    """Outcomes of a model that solves a sample with `chance`."""
    noise = random.Random(seed)
    choose = lambda: "correct" if noise.random() < chance else noise.choice(["incorrect", "incorrect", "no_answer"])  # noqa: E731
    return {f"q{n}": [choose() for _ in range(k)] for n in range(questions)}


@pytest.fixture
def hand_inputs(tmp_path: Path) -> Callable[..., ReportInputs]:
    """Two models on two in-distribution benchmarks and one out, few enough to compute by hand."""

    def make(**changes: Any) -> ReportInputs:
        outcomes: dict[str, dict[str, Outcomes]] = {
            "model.base": {
                "aime24": {"a": ["correct", "incorrect"], "b": ["incorrect", "no_answer"]},
                "math500": {"m1": ["correct"], "m2": ["timeout"], "m3": ["incorrect"], "m4": ["gold_error"]},
                "gpqa_diamond": {"g1": ["incorrect"], "g2": ["correct"]},
            },
            "train.hpt": {
                "aime24": {"a": ["correct", "correct"], "b": ["correct", "incorrect"]},
                "math500": {"m1": ["correct"], "m2": ["correct"], "m3": ["correct"], "m4": ["incorrect"]},
                "gpqa_diamond": {"g1": ["incorrect"], "g2": ["correct"]},
            },
        }
        models = []
        for name, found in outcomes.items():
            results = {}
            for benchmark, answers in found.items():
                folder = tmp_path / "store" / name / benchmark
                if not folder.exists():
                    write_result(folder, benchmark, answers)
                results[benchmark] = BenchmarkResult(
                    samples=folder / "samples",
                    verdicts=folder / "verdicts.parquet",
                    protocol=make_protocol(k=len(next(iter(answers.values())))),
                )
            log = write_log(tmp_path / "store" / name / "log.parquet", 5, 1) if name.startswith("train") else None
            models.append(
                ModelResult(
                    name=name,
                    label=name.split(".")[1],
                    algorithm="hpt" if log else None,
                    results=results,
                    train_log=log,
                )
            )
        fields: dict[str, Any] = {
            "title": "Hand-made",
            "pipeline": "tiny",
            "models": tuple(models),
            "suites": (
                make_suite("aime24", "AIME 2024", "in", 2, 2),
                make_suite("math500", "MATH-500", "in", 4, 1),
                make_suite("gpqa_diamond", "GPQA-Diamond", "out", 198, 1),
            ),
            "measured_until": datetime(2026, 1, 31, 6, 0, tzinfo=UTC),
            "output": tmp_path / "report",
        }
        return ReportInputs(**{**fields, **changes})

    return make


@pytest.fixture
def answered(tmp_path: Path) -> Callable[..., ReportInputs]:
    """Models by their outcomes: {model: {question id: outcomes}}, all on MATH-500, of which no more is asked."""

    def make(outcomes: Mapping[str, Outcomes], **changes: Any) -> ReportInputs:
        models = []
        for name, found in outcomes.items():
            samples, verdicts = write_result(tmp_path / name, "math500", found)
            protocol = make_protocol(k=len(next(iter(found.values()))))
            result = BenchmarkResult(samples=samples, verdicts=verdicts, protocol=protocol)
            models.append(ModelResult(name=name, label=name.split(".")[1], results={"math500": result}))
        questions = next(iter(outcomes.values()))
        k = models[0].results["math500"].protocol.k
        fields: dict[str, Any] = {
            "title": "Answered",
            "pipeline": "answered",
            "models": tuple(models),
            "suites": (make_suite("math500", "MATH-500", "in", len(questions), k),),
            "measured_until": datetime(2026, 1, 31, 6, 0, tzinfo=UTC),
            "output": tmp_path / "report",
        }
        return ReportInputs(**{**fields, **changes})

    return make


@pytest.fixture(scope="session")
def full_inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    """Four models on eight benchmarks, with the published rows of Qwen2.5-Math-7B and a limited benchmark."""
    root = tmp_path_factory.mktemp("full")
    return make_full(root)


@pytest.fixture(scope="session")
def many(full_inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], ReportInputs]:
    """As many models on the paper's benchmarks, each with a training of 500 steps. They share the files of four."""
    root = tmp_path_factory.mktemp("many")
    log = write_log(root / "log.parquet", 500, 1)
    four = []
    for number, model in enumerate(full_inputs.models):
        results = {}
        for suite in full_inputs.suites:
            outcomes = drawn(8, suite.rules.k, 0.2 + 0.2 * number, number)
            samples, verdicts = write_result(root / str(number) / suite.name, suite.name, outcomes)
            protocol = model.results[suite.name].protocol
            results[suite.name] = BenchmarkResult(samples=samples, verdicts=verdicts, protocol=protocol)
        four.append(model.model_copy(update={"results": results, "train_log": log}))

    def make(count: int) -> ReportInputs:
        models = tuple(
            four[place % 4].model_copy(update={"name": f"train.m{place}", "label": f"qwen2.5_math_7b_hpt_seed_{place}"})
            for place in range(count)
        )
        return full_inputs.model_copy(update={"models": models, "output": root / f"report-{count}"})

    return make


def make_full(root: Path) -> ReportInputs:
    asked = {"aime24": 30, "aime25": 30, "amc": 83, "math500": 120, "minerva": 90, "olympiadbench": 110}
    asked |= {"arc_challenge": 150, "gpqa_diamond": 198}
    titles = [
        "AIME 2024",
        "AIME 2025",
        "AMC",
        "MATH-500",
        "Minerva",
        "OlympiadBench",
        "ARC-Challenge",
        "GPQA-Diamond",
    ]
    suites = tuple(
        make_suite(name, title, "in" if i < 6 else "out", 500 if name == "math500" else rows, 8 if i < 3 else 1)
        for i, ((name, rows), title) in enumerate(zip(asked.items(), titles, strict=True))
    )
    published = get_published("qwen2.5-math-7b")
    suites = tuple(
        s.model_copy(update={"published": published_rules(published, get_suite(s.name), ChatTemplate(), 1)})
        for s in suites
    )
    levels = {"model.base": 0.18, "train.sft": 0.42, "train.grpo": 0.40, "train.hpt": 0.52}
    models = []
    for m, (name, level) in enumerate(levels.items()):
        results = {}
        for s, suite in enumerate(suites):
            folder = root / name / suite.name
            write_result(
                folder,
                suite.name,
                drawn(asked[suite.name], suite.rules.k, min(0.95, level + 0.05 * s), 100 * m + s),
                64,
            )
            limit = 120 if suite.name == "math500" else None
            results[suite.name] = BenchmarkResult(
                samples=folder / "samples",
                verdicts=folder / "verdicts.parquet",
                protocol=make_protocol(k=suite.rules.k, limit=limit),
            )
        log = write_log(root / name / "log.parquet", 60, m, name != "train.sft") if m else None
        label = {"base": "Base", "hpt": "HPT", "sft": "SFT", "grpo": "GRPO"}[name.split(".")[1]]
        models.append(
            ModelResult(
                name=name,
                label=label,
                algorithm=name.split(".")[1] if m else None,
                results=results,
                train_log=log,
            )
        )
    return ReportInputs(
        title="Post-training leaderboard",
        pipeline="nightly",
        published="qwen2.5-math-7b",
        models=tuple(models),
        suites=suites,
        measured_until=datetime(2026, 1, 31, 6, 0, tzinfo=UTC),
        output=root / "report",
    )
