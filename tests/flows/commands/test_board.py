"""`hpt board`, `hpt compare`, `hpt catalog` and `hpt samples` of two models, on a store that was made up."""

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from bench.stores import MadeUp, drawn
from benchmarks.catalog.board import Board, Failure
from benchmarks.report.build import build
from benchmarks.report.inputs import BenchmarkResult, ModelResult, ReportInputs, Rules, SuiteInfo
from benchmarks.report.inputs import Protocol as ReportProtocol
from flows.commands import common
from flows.commands.board import _print_failures
from flows.results import Results
from flows.stored import Unit, choose, side_by_side, solved_by_one, units
from hpt_core.artifacts import Store
from hpt_core.errors import ConfigError, DataError
from hpt_core.rollout.base import Sampling
from tasks.execution.artifact import Artifact
from tasks.execution.keys import ArtifactKey, StageKey

SUITES = {"aime24": (30, 4), "math500": (50, 1)}
LEVELS = {"hpt": 0.6, "sft": 0.4}


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    found = MadeUp(tmp_path / "runs")
    generator = np.random.default_rng(5)
    models = {
        name: {suite: drawn(generator, count, k, level) for suite, (count, k) in SUITES.items()}
        for name, level in LEVELS.items()
    }
    found.run("demo", models, failed={"train.grpo": "out of \x1b[31mmemory"}, whole={"math500": 500})
    return found


@pytest.fixture
def hpt(run_here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The command on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str, code: int = 0) -> Any:
        found = run_here(*arguments)
        assert found.code == code, found
        return found

    return run


def of_store(store: Store) -> Results:
    """The results of the last run, as `Results.of_config` finds them."""
    run = store.history.runs()[-1]
    artifacts = {}
    for key, place in run.artifacts.items():
        stage, *rest = key.split("/")
        kind, fingerprint = place.split("/")
        slot = store.slot(kind, fingerprint)
        manifest = slot.manifest()
        assert manifest is not None
        found = ArtifactKey(StageKey.parse(stage), *rest)
        artifacts[found] = Artifact(found, kind, fingerprint, slot.folder, manifest.outputs)
    return Results(artifacts)


def report(results: Results, output: Path) -> Path:
    """The tables of the product's own report on the same samples."""
    sampling = Sampling(temperature=0.6, top_p=0.95, max_tokens=8192)
    models = []
    for name in LEVELS:
        found = {}
        for suite, (_, k) in SUITES.items():
            key = StageKey("evaluate", name)
            protocol = ReportProtocol(
                prompt="chat", sampling=sampling, k=k, engine_version="vllm 1", engine="{}", dtype="bfloat16",
                model_hash=name, benchmark_hash=suite, grader_version="math 1", grade_timeout_s=5.0, seed=7,
            )  # fmt: skip
            found[suite] = BenchmarkResult(
                samples=results.artifacts[ArtifactKey(key, "samples", suite)].output / "samples",
                verdicts=results.artifacts[ArtifactKey(key, "verdicts", suite)].output / "verdicts.parquet",
                protocol=protocol,
            )
        models.append(ModelResult(name=f"train.{name}", label=name, results=found))
    suites = tuple(
        SuiteInfo(
            name=suite, title=suite, group="in", rows=count,
            rules=Rules(protocol="benchmark", prompt="chat", sampling=sampling, k=k),
        )
        for suite, (count, k) in SUITES.items()
    )  # fmt: skip
    build(ReportInputs(
        title="t", pipeline="demo", models=tuple(models), suites=suites,
        measured_until=datetime(2026, 1, 1, tzinfo=UTC), output=output,
    ))  # fmt: skip
    return output / "tables"


def test_sql_command_line_and_report_agree_on_what_only_one_model_solves(
    made: MadeUp, hpt: Callable[..., Any], tmp_path: Path
) -> None:
    """Which questions does HPT solve that SFT does not?"""
    results = of_store(made.store)
    told = json.loads(hpt("compare", "hpt", "sft", "--store", str(made.store.root), "--json").out)
    by_command = {pair["benchmark"]: pair["only_first"] for pair in told["benchmarks"]}
    folder = made.store.root / "catalog"
    query = f"""
        with solved as (
            select s.label, s.benchmark, q.question_id, 2 * q.correct > q.k as solved
            from '{folder}/scores.parquet' s
            join '{folder}/question_scores/**/*.parquet' q using (record)
            where s.latest
        )
        select a.benchmark, list(question_id order by question_id)
        from solved a join solved b using (benchmark, question_id)
        where a.label = 'hpt' and b.label = 'sft' and a.solved and not b.solved group by all
    """
    assert dict(duckdb.sql(query).fetchall()) == by_command
    by_report: dict[str, list[str]] = {suite: [] for suite in SUITES}
    for row in pq.read_table(report(results, tmp_path / "report") / "exclusive.parquet").to_pylist():
        if (row["label"], row["other_label"]) == ("hpt", "sft"):
            by_report[row["benchmark"]] += row["question_ids"]
    assert {suite: sorted(ids) for suite, ids in by_report.items()} == by_command
    by_samples = solved_by_one(units(results, "hpt"), units(results, "sft"))
    assert by_samples == by_command
    assert min(map(len, by_command.values())) > 0


def test_the_board_fits_into_80_columns(made: MadeUp, hpt: Callable[..., Any]) -> None:
    generator = np.random.default_rng(1)
    wide = ("aime24", "aime25", "amc", "math500", "minerva", "olympiadbench", "arc_challenge", "gpqa_diamond")
    name = "a_model_with_a_name_that_is_longer_than_the_column"
    made.run("wide", {name: {suite: drawn(generator, 30, 2, 0.5) for suite in wide}}, evaluate={"k": 2})
    out = hpt("board", str(made.store.root)).out
    assert max(map(len, out.splitlines())) <= 80
    for text in ("AIME 2024", "GPQA-Diamond", "average", "avg@4", "pass@1", "50/500", "cut 10%"):
        assert text in out
    joined = out.replace("\n", "")
    assert "failed demo/train.grpo: out of \\u001b[31mmemory (run " in joined.replace("  ", " ")
    assert "\x1b" not in out
    assert "* not distinguishable from the column's best" in out


def test_the_board_as_json_and_of_one_pipeline(made: MadeUp, hpt: Callable[..., Any]) -> None:
    found = json.loads(hpt("board", str(made.store.root), "--json", "--pipeline", "demo").out)
    (section,) = found["sections"]
    assert [line["label"] for line in section["lines"]] == ["hpt", "sft"]
    assert [failure["stage"] for failure in found["failures"]] == ["train.grpo"]
    assert json.loads(hpt("board", str(made.store.root), "--json", "--pipeline", "x").out)["sections"] == []


def test_a_comparison_names_differences_and_questions(made: MadeUp, hpt: Callable[..., Any]) -> None:
    out = hpt("compare", "demo/hpt", "sft", "--store", str(made.store.root)).out
    assert "A demo/hpt" in out and "B demo/sft" in out
    assert "AIME 2024: A solves " in out and "MATH-500: B solves " in out
    assert max(len(line) for line in out.splitlines() if not line.startswith("  q")) <= 80
    assert "did you mean 'hpt'" in hpt("compare", "htp", "sft", "--store", str(made.store.root), code=2).err


def test_the_catalog_counts_its_rows(made: MadeUp, hpt: Callable[..., Any]) -> None:
    counts = json.loads(hpt("catalog", str(made.store.root), "--json").out)["rows"]
    assert counts == {"runs": 1, "stages": 14, "models": 3, "protocols": 2, "scores": 4, "overlaps": 0}
    assert "4 rows  " in hpt("catalog", str(made.store.root)).out


class Reads:
    """Counts the files of samples that are opened."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self._open = pq.ParquetFile

    def __call__(self, path: Path, *arguments: Any) -> Any:
        self.paths.append(path)
        return self._open(path, *arguments)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reads]:
    found = Reads()
    monkeypatch.setattr("flows.stored.pq.ParquetFile", found)
    return found


def test_only_the_responses_that_are_shown_are_read(made: MadeUp, reads: Reads) -> None:
    """Whatever the filter has to look at."""
    every = units(of_store(made.store))
    chosen = choose(every, lambda unit, key: key.outcome == "incorrect")
    rows = [unit.row(key) for unit, key in (next(chosen), next(chosen))]
    assert [row["outcome"] for row in rows] == ["incorrect", "incorrect"]
    assert rows[0]["response"] == "so the answer is 1" and rows[0]["gold"] == "1"
    assert len(reads.paths) == 1


def test_two_models_stand_side_by_side(made: MadeUp) -> None:
    results = of_store(made.store)
    ours, theirs = units(results, "hpt", "aime24"), units(results, "sft", "aime24")
    alone = solved_by_one(ours, theirs)["aime24"]
    found = list(side_by_side(ours, theirs, lambda unit, key: key.question_id in alone))
    assert len(found) == len(alone) * 8
    rows = [unit.row(key) for unit, key in found[:8]]
    assert [(row["model"], row["question_id"]) for row in rows] == [("hpt", alone[0])] * 4 + [("sft", alone[0])] * 4
    assert sum(row["outcome"] == "correct" for row in rows[:4]) > 2 >= sum(r["outcome"] == "correct" for r in rows[4:])


def test_samples_that_do_not_belong_to_their_verdicts_are_an_error(made: MadeUp) -> None:
    (unit,) = units(of_store(made.store), "hpt", "aime24")
    key = unit.keys[0]
    (file,) = of_store(made.store).shards("hpt", "aime24")
    table = pq.read_table(file)
    pq.write_table(table.slice(1), file)
    with pytest.raises(DataError, match="samples and verdicts of hpt on aime24 differ"):
        Unit("hpt", "aime24", of_store(made.store)).row(key)


def test_an_unknown_model_has_near_matches(made: MadeUp) -> None:
    with pytest.raises(ConfigError, match="nothing evaluates model 'hp'"):
        units(of_store(made.store), "hp")


def test_stages_that_were_skipped_for_one_reason_take_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("data.d", "failed", "no row is left"), *((f"train.{n}", "skipped", "needs data.d") for n in range(9))]
    rows += [("report", "skipped", "needs evaluate.base")]
    shown = io.StringIO()
    monkeypatch.setattr(common, "OUT", Console(file=shown, width=80))
    _print_failures(Board((), tuple(Failure("demo", "run-1", *row) for row in rows)))
    assert shown.getvalue().splitlines() == [
        "failed demo/data.d: no row is left (run run-1)",
        "skipped demo: 9 stages: needs data.d (run run-1)",
        "skipped demo/report: needs evaluate.base (run run-1)",
    ]
