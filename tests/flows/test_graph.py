"""The graph: dependencies, order, and the contents of fingerprints."""

import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flows import graph as graphs
from flows.load import load_config
from flows.run import RunOptions, context_of, plan_run
from hpt_core.errors import ConfigError
from tasks.execution.config import PipelineConfig
from tasks.execution.keys import StageKey
from tests.flows.pipelines import make_up


def config(tmp_path: Path, **changes: Any) -> PipelineConfig:
    table: dict[str, Any] = {
        "name": "demo",
        "store": str(tmp_path / "runs"),
        "model": {"base": {"source": "scratch"}, "unused": {"source": {"name": "folder", "path": "nowhere"}}},
        "data": {"d": {"source": {"name": "procedural", "rows": 8, "seed": 1}, "model": "model.base"}},
        "train": {
            "sft": {"from": "model.base", "data": "data.d", "algorithm": "sft", "steps": 3},
            "sft_grpo": {"from": "train.sft", "data": "data.d", "algorithm": "grpo", "steps": 3},
        },
        "evaluate": {"models": ["model.base", "train.sft_grpo"], "suites": ["procedural_double", "procedural_mixed"]},
        "publish": [{"name": "static_site", "path": "a"}, {"name": "static_site", "path": "b"}],
    }
    return PipelineConfig.model_validate(table | changes)


def fingerprints(c: PipelineConfig) -> dict[str, str]:
    plan = plan_run(c).plan
    assert not plan.problems
    return {str(p.target.key): p.target.fingerprint for p in plan.planned}


def names(keys: Iterable[object]) -> list[str]:
    return list(map(str, keys))


def test_the_graph_lists_dependencies_first(tmp_path: Path) -> None:
    graph = graphs.build(config(tmp_path))
    assert StageKey("model", "unused") not in graph
    assert set(names(graph)) == {
        *("model.base", "data.d", "contamination.d", "train.sft", "train.sft_grpo", "benchmark.procedural_double"),
        *("benchmark.procedural_mixed", "evaluate.base", "evaluate.sft_grpo", "report"),
        *("publish.static_site", "publish.static_site-2"),
    }
    keys = list(graph)
    for key, stage in graph.items():
        assert all(keys.index(needed) < keys.index(key) for needed in stage.after)


def test_one_stage_takes_only_what_it_depends_on(tmp_path: Path) -> None:
    assert names(graphs.build(config(tmp_path), ["train.sft"])) == ["model.base", "data.d", "train.sft"]
    assert "report" not in names(graphs.build(config(tmp_path), ["evaluate"]))


def test_an_unknown_stage_has_near_matches(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown stage 'train\.sfd'.*did you mean 'train\.sft'"):
        graphs.build(config(tmp_path), ["train.sfd"])


def test_an_empty_store_gives_provisional_fingerprints_after_the_first_stages(tmp_path: Path) -> None:
    plan = plan_run(config(tmp_path)).plan
    assert not plan.finished
    assert {str(p.target.key) for p in plan.planned if not p.target.provisional} == {
        *("model.base", "benchmark.procedural_double", "benchmark.procedural_mixed"),
    }
    assert {plan.state(key) for key in plan.graph} == {"to do"}
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "field",
    [
        {"store": "elsewhere", "resources": {"parallel_stages": 2, "threads": 1, "workers": 7}},
        {"resources": {"processes": 4, "launcher": "srun torchrun --nnodes 2"}, "trackers": [{"name": "wandb"}]},
        {"trackers": []},
        {"train.sft.checkpoint_every": 1},
        {"evaluate.shard_samples": 3},
        {"evaluate.engine.kv_cache_gib": 2.5},
        {"train.sft_grpo.engine.kv_cache_gib": 2.5, "train.sft_grpo.gradient_checkpointing": True},
        {"train.sft.rollouts_per_question": 3, "train.sft.sampling.temperature": 0.5, "train.sft.engine": "scripted"},
    ],
)
def test_settings_that_do_not_change_an_artifact_keep_its_fingerprint(tmp_path: Path, field: dict[str, Any]) -> None:
    changed = config(tmp_path).model_dump(mode="json", by_alias=True)
    for path, value in field.items():
        target = changed
        *parents, last = path.split(".")
        for name in parents:
            target = target[name]
        target[last] = value
    assert fingerprints(PipelineConfig.model_validate(changed)) == fingerprints(config(tmp_path))


def test_names_do_not_enter_fingerprints(tmp_path: Path) -> None:
    first = fingerprints(config(tmp_path))
    text = config(tmp_path).model_dump_json(by_alias=True).replace("sft_grpo", "second").replace("data.d", "data.e")
    text = text.replace('"data":{"d"', '"data":{"e"')
    renamed = fingerprints(PipelineConfig.model_validate_json(text))
    assert renamed["train.second"] == first["train.sft_grpo"]
    assert renamed["evaluate.second/samples/procedural_double"] == first["evaluate.sft_grpo/samples/procedural_double"]
    key = "contamination.{}/procedural_double"
    assert renamed[key.format("e")] == first[key.format("d")]
    assert renamed["report"] != first["report"]


@pytest.mark.parametrize(
    ("change", "moved", "kept"),
    [
        ({"seed": 5}, ["train.sft", "evaluate.base/samples/procedural_double"], ["data.d"]),
        ({"prompt": "plain"}, ["data.d", "train.sft", "evaluate.base/samples/procedural_double"], ["model.base"]),
    ],
)
def test_settings_that_change_an_artifact_change_its_fingerprint(
    tmp_path: Path, change: dict[str, Any], moved: list[str], kept: list[str]
) -> None:
    before, after = fingerprints(config(tmp_path)), fingerprints(config(tmp_path, **change))
    assert [key for key in moved if before[key] == after[key]] == []
    assert [key for key in kept if before[key] != after[key]] == []


def test_all_training_data_of_a_chain_is_checked_before_training(tmp_path: Path) -> None:
    source = {"name": "procedural", "rows": 8, "seed": 1}
    data = {name: {"source": source, "model": "model.base", "ngram": n} for name, n in (("d", 13), ("e", 9), ("f", 5))}
    train = {
        "first": {"from": "model.base", "data": "data.d", "algorithm": "sft", "steps": 3},
        "second": {"from": "train.first", "data": "data.e", "algorithm": "grpo", "steps": 3},
        "beside": {"from": "model.base", "data": "data.f", "algorithm": "sft", "steps": 3},
    }
    evaluate = {"models": ["model.base", "train.second"], "suites": ["procedural_double", "procedural_mixed"]}
    graph = graphs.build(config(tmp_path, data=data, train=train, evaluate=evaluate))
    keys = names(graph)
    # What is trained and not measured is on no page.
    assert [key for key in keys if key.startswith("contamination.")] == ["contamination.e", "contamination.d"]
    assert max(keys.index(f"contamination.{d}") for d in "de") < min(keys.index(f"train.{t}") for t in train)
    assert {"contamination.d", "contamination.e"} <= set(names(graph[StageKey("report")].after))
    found = graphs.plan(graph, context_of(config(tmp_path))).planned
    ngrams = {str(p.target.key): p.target.config["ngram"] for p in found if p.target.kind == "contamination"}
    # The length of what is looked for is the report's, whatever the data were decontaminated with.
    assert ngrams == {f"contamination.{name}/{b}": 13 for name in "de" for b in evaluate["suites"]}


def test_a_new_overlap_threshold_rebuilds_the_report(tmp_path: Path) -> None:
    before = fingerprints(config(tmp_path))
    report = {"report", "publish.static_site", "publish.static_site-2"}
    searched = {f"contamination.d/procedural_{name}" for name in ("double", "mixed")}
    for change, moved in (({"overlap_share": 0.5}, report), ({"overlap_ngram": 9}, report | searched)):
        after = fingerprints(config(tmp_path, report=change))
        assert {key for key in before if before[key] != after[key]} == moved


@pytest.mark.parametrize("goal", ["report", "publish"])
def test_contamination_is_checked_before_training_and_evaluation(tmp_path: Path, goal: str) -> None:
    keys = names(graphs.build(config(tmp_path), [goal]))
    assert keys.index("contamination.d") < min(keys.index(k) for k in ("train.sft", "evaluate.base"))


def test_a_gate_that_would_check_nothing_is_refused(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"report": {"max_overlap": 0.1}}
    evaluate = {"models": ["model.base"], "suites": ["procedural_double"]}
    with pytest.raises(ValueError, match=r"report\.max_overlap is 0\.1.*nothing would be checked; add a train\.NAME"):
        config(tmp_path, evaluate=evaluate, **changes)
    config(tmp_path, evaluate=evaluate | {"models": ["model.base", "train.sft"]}, **changes)
    config(tmp_path, evaluate=evaluate)


@pytest.mark.parametrize("share", [0, 1.01])
def test_a_wrong_overlap_share_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(ValueError, match="overlap_share"):
        config(tmp_path, report={"overlap_share": share})


def test_a_model_without_training_here_is_not_checked(tmp_path: Path) -> None:
    graph = graphs.build(config(tmp_path, evaluate={"models": ["model.base"], "suites": ["procedural_double"]}))
    assert not [key for key in graph if key.kind == "contamination"]


def test_the_gate_changes_only_publications(tmp_path: Path) -> None:
    before, after = fingerprints(config(tmp_path)), fingerprints(config(tmp_path, report={"max_overlap": 0.1}))
    moved = {key for key in before if before[key] != after[key]}
    assert moved == {"publish.static_site", "publish.static_site-2"}


def test_a_new_grader_keeps_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpt_core.verifiers import get

    before = fingerprints(config(tmp_path))
    monkeypatch.setattr(type(get("math")), "version", "math-next")
    after = fingerprints(config(tmp_path))
    key = "evaluate.base/{}/procedural_double"
    assert after[key.format("samples")] == before[key.format("samples")]
    assert after[key.format("verdicts")] != before[key.format("verdicts")]


def test_a_new_prompt_version_reruns_the_stages_that_use_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprints(config(tmp_path))
    monkeypatch.setattr("hpt_core.prompts.VERSION", 99)
    after = fingerprints(config(tmp_path))
    moved = {key for key in before if before[key] != after[key]}
    assert {"data.d", "train.sft", "train.sft_grpo", "evaluate.base/samples/procedural_double"} <= moved
    assert not moved & {"model.base", "benchmark.procedural_double"}


def test_training_without_rollouts_does_not_depend_on_the_engine(tmp_path: Path) -> None:
    versions = {str(p.target.key): set(p.target.versions) for p in plan_run(config(tmp_path)).plan.planned}
    components = {key: {name for name in found if "." not in name} for key, found in versions.items()}
    assert components["train.sft"] == {"estimator", "trainer", "prompts"}
    assert components["train.sft_grpo"] == components["train.sft"] | {"engine"}
    code = {key: {name.rpartition(".")[0] for name in found - components[key]} for key, found in versions.items()}
    assert "hpt_core.rollout" in code["train.sft_grpo"]
    assert not code["train.sft"] & {"hpt_core.rollout", "hpt_core.verifiers"}
    assert not {package for found in code.values() for package in found if package.startswith("tasks")}


def test_a_stage_that_cannot_start_blocks_only_its_descendants(tmp_path: Path) -> None:
    broken = {"base": {"source": "scratch"}, "gone": {"source": {"name": "folder", "path": str(tmp_path / "gone")}}}
    evaluate = {"models": ["model.base", "model.gone"], "suites": ["procedural_double"]}
    c = config(tmp_path, model=broken, evaluate=evaluate)
    plan = plan_run(c).plan
    gone, evaluated = StageKey("model", "gone"), StageKey("evaluate", "gone")
    assert set(plan.problems) == {gone}
    assert plan.blocked[evaluated] == gone
    assert plan.state(evaluated) == plan.state(StageKey("report")) == "blocked"
    assert plan.state(StageKey("evaluate", "base")) == "to do"


def test_as_is_takes_what_is_finished_and_leaves_out_the_rest(tmp_path: Path) -> None:
    """In one plan: the report is that of the models that are left, whatever order the stages come in."""
    path = tmp_path / "demo.json"
    path.write_text(config(tmp_path, publish=[]).model_dump_json(by_alias=True, exclude_unset=True))

    def fill(planned: graphs.Planned, output: Path) -> dict[str, Any]:
        own = {each.name: planned.target.fingerprint + each.name for each in planned.step.produces}
        return {"outputs": own | {"kinds": "math"}}

    make_up(path, fill)
    store = tmp_path / "runs"
    as_is = partial(plan_run, load_config(path), RunOptions(only=("report",), as_is=True))
    whole = as_is().plan
    assert whole.state(StageKey("report")) == "done" and StageKey("train", "sft_grpo") in whole.graph
    shutil.rmtree(store / "train")
    part = as_is()
    assert part.graph == part.plan.graph
    assert set(names(part.graph)) == {
        *("model.base", "data.d", "contamination.d", "benchmark.procedural_double", "benchmark.procedural_mixed"),
        *("evaluate.base", "report"),
    }
    assert {p.target.key.stage for p in part.plan.planned} == set(part.graph) and not part.plan.problems
    (report,) = part.plan.of(StageKey("report"))
    assert [model for model, _ in report.target.config["models"]] == ["model.base"]
    assert report.check.state == "to do"
