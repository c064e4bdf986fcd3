"""The stages of a study: their order, what is refused, and a whole run with changed claims."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flows.graph import build
from hpt_core.base import idle_settings
from tasks.execution.config import PipelineConfig
from tasks.execution.keys import StageKey
from tasks.study import StudyStep
from tests.flows.pipelines import TINY, Hpt

TABLE: dict[str, Any] = {
    "name": "s",
    "model": {"m": {"source": "scratch"}},
    "data": {"d": {"source": {"name": "procedural", "rows": 8, "seed": 1}, "model": "model.m"}},
    "train": {
        "base": {"from": "model.m", "data": "data.d", "algorithm": "sft", "steps": 1, "seeds": [1, 2]},
        "sft": {"from": "train.base", "data": "data.d", "algorithm": "sft", "steps": 2},
        "two": {"from": "train.sft", "data": "data.d", "algorithm": "sft", "steps": 2},
        "try": {
            "from": "train.base", "data": "data.d", "algorithm": "sft",
            "seeds": [1], "seed": 9, "grid": {"steps": [1, 3]},
        },
    },
    "evaluate": {"models": ["train.base", "train.sft", "train.two"], "suites": ["procedural_mixed"]},
    "study": {
        "base": "base",
        "claims": [{"method": "two", "than": "sft", "metric": "out"}],
        "search": [{"method": "sft", "trials": "try*"}],
    },
}  # fmt: skip


def changed(**study: Any) -> dict[str, Any]:
    return TABLE | {"study": TABLE["study"] | study}


def test_everything_of_a_seed_comes_before_the_next() -> None:
    order = list(map(str, build(PipelineConfig.model_validate(TABLE))))
    assert order[0] == "study.claims"
    assert order.index("evaluate.two_seed_1") < order.index("train.base_seed_2") < order.index("evaluate.base_seed_2")
    # A seed's evaluations follow each other, so that they share an engine.
    places = [order.index(f"evaluate.{name}_seed_1") for name in ("base", "sft", "two")]
    assert max(places) - min(places) == 2
    trials = [name for name in order if name.startswith("train.try")]
    assert trials == ["train.try_seed_1_steps_1", "train.try_seed_1_steps_3"], "of one seed"


def test_what_trains_or_measures_a_model_is_in_its_fingerprint() -> None:
    def found(**changes: Any) -> str:
        table = json.loads(json.dumps(TABLE))
        for path, value in changes.items():
            *tables, field = path.split("__")
            inner = table
            for name in tables:
                inner = inner[name]
            inner[field] = value
        (step,) = build(PipelineConfig.model_validate(table))[StageKey("study", "report")].steps
        assert isinstance(step, StudyStep)
        return step._fingerprint(StageKey("train", "two_seed_1"))

    before = found()
    assert found() == before
    assert found(study__title="other", train__try__steps=5) == before
    for changes in (
        {"evaluate__dtype": "float32"},
        {"evaluate__engine": "transformers"},
        {"evaluate__limit": 5},
        {"evaluate__k": 3},
        {"train__base__steps": 3},
        {"data__d__decontaminate": ["procedural_mixed"]},
        {"seed": 5},
    ):
        assert found(**changes) != before, changes


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"base": "bse"}, "study.base: 'bse' is no evaluated method; did you mean 'base'"),
        ({"claims": []}, "at least 1"),
        ({"claims": [{"method": "sft", "than": "tow"}]}, "study.claims.0.than: 'tow' is no evaluated method"),
        ({"claims": [{"method": "sft", "than": "sft", "metric": "out"}]}, "sft is compared with itself"),
        ({"claims": [{"method": "sft", "than": "two", "metric": "in"}]}, "study.claims.0.metric: 'in' is not measured"),
        ({"search": [{"method": "sft", "trials": "none*"}]}, "study.search.0.trials: no training stage matches 'none"),
        ({"search": [{"method": "stf", "trials": "try*"}]}, "study.search.0.method: 'stf' is no evaluated method"),
    ],
)
def test_what_does_not_fit_is_refused(study: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PipelineConfig.model_validate(changed(**study))


def test_a_claim_with_a_single_seed_is_warned_of() -> None:
    table = json.loads(json.dumps(TABLE))
    table["train"]["base"]["seeds"] = [1]
    found = list(idle_settings(PipelineConfig.model_validate(table)))
    assert any("study.claims.0 cannot be decided" in text for text in found)
    assert not any("study" in text for text in idle_settings(PipelineConfig.model_validate(TABLE)))


STUDY = """
[data.d]
source = { name = "procedural", rows = 64, seed = 1 }
model = "model.base"

[train."*"]
data = "data.d"
algorithm = "sft"
steps = 2
questions_per_step = 4
sampling = { max_tokens = 40 }

[train.start]
from = "model.base"
seeds = [1, 2]

[train.sft]
from = "train.start"

[study]
base = "start"

[[study.claims]]
method = "sft"
than = "start"
metric = "out"
"""


@pytest.mark.slow
def test_claims_are_declared_before_training_and_a_change_is_told(fresh: Hpt, tmp_path: Path) -> None:
    hpt = fresh
    hpt.write(TINY.replace('models = ["model.base"]', 'models = ["train.start", "train.sft"]') + STUDY)
    assert "study: 1 undecided" in hpt("study", "tiny.toml").stdout
    document = hpt.store / "by-pipeline" / "tiny" / "study.report" / "output" / "study.md"
    text = document.read_text()
    assert "before any method was trained" in text
    assert "| sft | done | done |" in text

    hpt.config.write_text(hpt.config.read_text() + 'direction = "lower"\n')
    assert "train.sft_seed_2: reused" in hpt("study", "tiny.toml").stderr
    text = document.read_text()
    assert "after the trainings of 2 of 2 methods and seeds had begun**" in text
    assert "it had: sft is higher than start (out, 2 points)" in text

    # Another store takes over what this one has measured.
    (tmp_path / "taken").mkdir()
    shutil.copytree(document.parent / "tables", tmp_path / "taken" / "tables")
    other = ("--store", "other", "--set", f"study.elsewhere=['{tmp_path / 'taken' / 'tables'}']")
    done = hpt("study", "tiny.toml", *other)
    assert "train." not in done.stderr and "evaluate." not in done.stderr
    there = (tmp_path / "other" / "by-pipeline" / "tiny" / "study.report" / "output" / "study.md").read_text()
    assert there.replace("done, elsewhere", "done") == text

    # What is not finished is not made, and the report names it.
    hpt("study", "tiny.toml", "--as-is", "--set", "train.start.seeds=[1, 2, 3]")
    assert "| sft | done | done | **missing** |" in document.read_text()
