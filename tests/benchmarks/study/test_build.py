"""A study's report: readings at equal budgets, verdicts, and what the document says."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.effects import deciding, effect
from benchmarks.study.build import build
from benchmarks.study.inputs import Benchmark, Claim, Declared, HeldOut, Log, Member, StudyInputs, Trial
from benchmarks.study.markdown import _needs
from benchmarks.study.readings import Reading, measure, read_claims
from hpt_core.schemas import PREPARED, TRAIN_LOG, VERDICTS

QUESTIONS = 100
TIME = datetime(2026, 1, 2, tzinfo=UTC)


def write_verdicts(path: Path, chance: float, seed: int) -> Path:
    """Verdicts with two samples per question, correct with a chance."""
    rng = np.random.default_rng([seed, round(1000 * chance), len(path.stem)])
    rows = [
        {"benchmark": "x", "question_id": f"q{q}", "sample_index": i, "outcome": outcome, "extracted": None}
        for q in range(QUESTIONS)
        for i in range(2)
        for outcome in ["correct" if rng.random() < chance else "incorrect"]
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, VERDICTS), path)
    return path


def write_log(path: Path, steps: int, cost: float, gain: float) -> Path:
    """A log with a validation of ten questions at every fifth step, whose reward is `gain` times the step."""
    rows = []
    for step in range(1, steps + 1):
        row: dict[str, Any] = {f.name: 0 if pa.types.is_integer(f.type) else 0.0 for f in TRAIN_LOG}
        validates = step % 5 == 0
        row |= {
            "step": step, "signals": [], "device_seconds": cost, "demonstration_tokens": 10, "generated_tokens": 100,
            "validation_rewards": [gain * step + 0.01 * q for q in range(10)] if validates else [],
            "validation_reward": gain * step if validates else math.nan,
        }  # fmt: skip
        rows.append(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, TRAIN_LOG), path)
    return path


def held_out(folder: Path, name: str = "data", questions: int = 10) -> HeldOut:
    """Held-out questions of prepared data with 40 questions, whose ids begin with the name."""
    row = {f.name: 0 if pa.types.is_integer(f.type) else "x" for f in PREPARED}
    path = folder / f"{name}.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([{**row, "question_id": f"{name}{n}"} for n in range(40)], PREPARED), path)
    return HeldOut(data=path, needs_demonstrations=False, questions=questions, sampling=(1,))


@pytest.fixture
def inputs(tmp_path: Path) -> StudyInputs:
    """Three methods with three seeds: `strong` is better than `weak`, and `slow` takes ten times as long."""
    members = []
    for method, chance, steps, cost, gain in [
        ("base", 0.2, 0, 1.0, 0.0),
        ("weak", 0.3, 20, 1.0, 0.01),
        ("strong", 0.6, 20, 1.0, 0.02),
        ("slow", 0.3, 20, 10.0, 0.02),
    ]:
        for seed in (1, 2, 3, 4):
            folder = tmp_path / f"{method}_{seed}"
            verdicts = {name: write_verdicts(folder / f"{name}.parquet", chance, seed) for name in ("one", "other")}
            path = folder / "log.parquet"
            logs = (Log(path=write_log(path, steps, cost, gain), held_out=held_out(tmp_path)),) if steps else ()
            begun = TIME + timedelta(hours=seed) if logs else None
            members.append(
                Member(
                    method=method,
                    seed=seed,
                    stage=f"train.{method}_{seed}",
                    fingerprint="i",
                    verdicts=verdicts,
                    logs=logs,
                    begun=begun,
                )
            )
    claims = (
        Claim(method="strong", than="weak"),
        Claim(method="weak", than="strong", metric="other"),
        Claim(method="slow", than="weak"),
    )
    return StudyInputs(
        title="A study",
        base="base",
        claims=claims,
        declared=(Declared(pipeline="s", time=TIME, claims=claims),),
        members=tuple(members),
        benchmarks=(
            Benchmark(name="one", title="One", group="in", k=2),
            Benchmark(name="other", title="Other", group="in", k=2),
        ),
        output=tmp_path / "output",
    )


def test_claims_are_supported_contradicted_or_undecided(inputs: StudyInputs) -> None:
    first, second, third = read_claims(measure(inputs))
    assert (first[""].verdict, second[""].verdict, third[""].verdict) == ("supported", "contradicted", "undecided")
    assert first[""].found is not None and 0.2 < first[""].found.mean < 0.4
    seeds, factor = third[""].needs
    assert (seeds is None or seeds >= 3) and (factor is None or factor >= 1)
    other = inputs.claims[1].model_copy(update={"direction": "lower"})
    turned = inputs.model_copy(update={"claims": (inputs.claims[0], other, inputs.claims[2])})
    assert read_claims(measure(turned))[1][""].verdict == "supported"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0.9, "90 points would have been found; less takes more seeds or questions"), (0.05, "16 seeds (5 points)")],
)
def test_an_undecided_claim_says_if_its_size_was_enough(size: float, text: str) -> None:
    claim = Claim(method="a", than="b", metric="in", direction="higher", effect=size)
    found = effect([np.random.default_rng(0).normal(0, 0.3, size=(3, 40))])
    assert text in _needs(claim, Reading("", found, 1.0, "undecided", deciding(found, size, 0.05)))


def test_more_claims_are_corrected_for(inputs: StudyInputs) -> None:
    alone = inputs.model_copy(update={"claims": inputs.claims[:1]})
    p = read_claims(measure(alone))[0][""].p_holm
    # Both other claims have larger values, or one of them a smaller one.
    assert read_claims(measure(inputs))[0][""].p_holm in (pytest.approx(3 * p), pytest.approx(2 * p))


def test_equal_budgets_compare_what_was_reached_for_the_same_cost(inputs: StudyInputs) -> None:
    """`slow` has twice the reward of `weak` after as many steps, but in the time of 20 steps of `weak` it takes two."""
    by_budget = read_claims(measure(inputs))[2]
    steps, seconds = by_budget["steps"].found, by_budget["device_seconds"].found
    assert steps is not None and steps.mean == pytest.approx(20 * 0.02 - 20 * 0.01)
    assert seconds is None, "no validation of `slow` within 20 seconds"


def test_other_held_out_questions_are_not_compared(inputs: StudyInputs, tmp_path: Path) -> None:
    """As many questions of other data; and for one seed fewer of the same."""
    others = held_out(tmp_path, "other")
    moved = [
        m.model_copy(update={"logs": tuple(log.model_copy(update={"held_out": others}) for log in m.logs)})
        if m.method == "slow"
        else m
        for m in inputs.members
    ]
    by_budget = read_claims(measure(inputs.model_copy(update={"members": tuple(moved)})))[2]
    assert by_budget["steps"].found is None
    assert by_budget[""].found is not None
    fewer = held_out(tmp_path, "data", 9)
    moved = [
        m.model_copy(update={"logs": tuple(log.model_copy(update={"held_out": fewer}) for log in m.logs)})
        if m.seed == 4
        else m
        for m in inputs.members
    ]
    found = read_claims(measure(inputs.model_copy(update={"members": tuple(moved)})))[2]["steps"].found
    assert found is not None and found.seeds == 3


def test_budgets_add_up_over_the_stages_after_the_base(inputs: StudyInputs, tmp_path: Path) -> None:
    *others, last = inputs.members
    second = Log(path=write_log(tmp_path / "second.parquet", 10, 1.0, 0.05), held_out=None)
    again = last.model_copy(update={"logs": (*last.logs, second)})
    measured = measure(inputs.model_copy(update={"members": (*others, again)}))
    spent = measured.trained["slow"][4].spent
    assert (spent["steps"][-1], spent["device_seconds"][-1], spent["demonstration_tokens"][-1]) == (30, 210, 300)
    assert [each.step for each in measured.trained["slow"][4].validated] == [4, 9, 14, 19, 24, 29]


def test_the_document_says_what_is_missing_and_when_claims_were_declared(inputs: StudyInputs, tmp_path: Path) -> None:
    *others, last = inputs.members
    lost = last.model_copy(update={"verdicts": None, "logs": ()})  # trained, and not measured
    earlier = Declared(pipeline="s", time=TIME, claims=(Claim(method="weak", than="base"),))
    other = Declared(pipeline="t", time=TIME, claims=(Claim(method="weak", than="base"),))
    late = inputs.declared[0].model_copy(update={"time": TIME + timedelta(hours=2, minutes=1)})
    trials = tuple(
        Trial(
            stage=f"train.{name}",
            seed=9,
            fingerprint=name,
            settings={"lr": name, "a|b": "*"},
            chosen=name == "one",
            log=write_log(tmp_path / f"{name}.parquet", 5, 1.0, gain),
        )
        for name, gain in (("one", 0.01), ("two", 0.02))
    )
    build(
        inputs.model_copy(
            update={"members": (*others, lost), "declared": (earlier, other, late), "search": {"weak": trials}}
        )
    )
    text = (inputs.output / "study.md").read_text()
    assert "after the trainings of 6 of 12 methods and seeds had begun**" in text
    assert "it had: weak is higher than base (in, 2 points)" in text
    assert "claims of t, declared on" in text
    assert "| slow | done | done | done | **missing** |" in text
    assert "**Not trained with the settings of the best trial: weak.**" in text
    assert "| strong is higher than weak | mean in distribution |" in text
    claims = pq.read_table(inputs.output / "tables" / "claims.parquet").to_pylist()
    assert [row["verdict"] for row in claims if row["budget"] == "as trained"][:2] == ["supported", "contradicted"]
    page = (inputs.output / "index.html").read_text()
    assert "<table>" in page and "<script" not in page
    figures = {path.name for path in (inputs.output / "figures").iterdir()}
    assert {"validation-steps.svg", "pass-at-k-in.svg", "gate.svg"} <= figures
    assert all(f'src="figures/{name}"' in page for name in figures)


def test_seeds_and_declarations_of_another_store_count(inputs: StudyInputs, tmp_path: Path) -> None:
    """The first two seeds are measured in one store, the others in another, where the claims were declared later."""
    first = [m for m in inputs.members if m.seed < 3]
    there, here = tmp_path / "there", tmp_path / "here"
    build(inputs.model_copy(update={"members": tuple(first), "output": there}))
    late = inputs.declared[0].model_copy(update={"time": TIME + timedelta(days=1)})
    lost = [
        m.model_copy(update={"verdicts": None, "logs": (), "begun": None}) if m.seed < 3 else m for m in inputs.members
    ]
    update = {"members": tuple(lost), "output": here, "declared": (late,), "elsewhere": (there / "tables",)}
    build(inputs.model_copy(update=update))
    whole = tmp_path / "whole"
    build(inputs.model_copy(update={"output": whole}))
    claims = [pq.read_table(folder / "tables" / "claims.parquet") for folder in (here, whole)]
    assert claims[0].equals(claims[1])
    text = (here / "study.md").read_text()
    assert text.replace("done, elsewhere", "done") == (whole / "study.md").read_text()
    assert "before any method was trained" in text
    # Models that were trained in another way than this study's do not count.
    other = [m.model_copy(update={"fingerprint": "j"}) for m in lost]
    assert measure(inputs.model_copy(update=update | {"members": tuple(other)})).trained["weak"].keys() == {3, 4}


def test_equal_inputs_give_equal_bytes(inputs: StudyInputs, tmp_path: Path) -> None:
    for name in ("a", "b"):
        build(inputs.model_copy(update={"output": tmp_path / name}))
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) > 8
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
