"""A run before it starts: its plan, the stages to rerun, and the checks."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validate
from pydantic import ValidationError

from flows.api import run
from flows.pipeline import pipeline
from flows.run import SPARE_BYTES, RunOptions, plan_run, preflight, reuse, warn
from hpt_core.base import idle_settings
from hpt_core.errors import ConfigError, HPTError, ModelError, PreflightError, StoreError
from hpt_core.model_folder import size
from tasks.execution.artifact import Artifacts
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Notice
from tasks.execution.keys import MODEL, ArtifactKey, StageKey
from tasks.execution.stage import run_stage

TABLE: dict[str, Any] = {
    "name": "demo",
    "trackers": [],
    "model": {"base": {"source": {"name": "scratch", "layers": 1, "hidden_size": 32, "heads": 1, "max_positions": 64}}},
    "data": {"d": {"source": {"name": "procedural", "rows": 8, "seed": 1}, "model": "model.base"}},
    "train": {
        name: {"from": "model.base", "data": "data.d", "algorithm": "sft", "steps": 1, "sampling": {"max_tokens": 8}}
        for name in ("a", "ab", "b")
    },
    "evaluate": {
        "models": ["model.base", "train.a"],
        "suites": ["procedural_double"],
        "engine": "scripted",
        "max_tokens": 16,
    },
    "publish": [{"name": "static_site", "path": "site"}],
}
BASE = StageKey("model", "base")
Config = Callable[..., PipelineConfig]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The pipeline with a store of its own, and changed tables."""
    monkeypatch.setenv("HPT_CACHE", str(tmp_path / "cache"))
    return lambda **changes: PipelineConfig.model_validate({**TABLE, "store": str(tmp_path / "runs"), **changes})


@pytest.fixture(scope="module")
def stored_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds the model. Not to be changed."""
    store = tmp_path_factory.mktemp("stored") / "runs"
    run = plan_run(PipelineConfig.model_validate({**TABLE, "store": str(store)}), RunOptions(only=("model",)))
    run_stage(run.graph[BASE], Artifacts(), run.context)
    return store


def refused(config: PipelineConfig, kind: type[HPTError], **options: Any) -> str:
    with pytest.raises(kind) as caught:
        preflight(plan_run(config, RunOptions(**options)))
    assert caught.value.remedy
    assert not (Path(config.store)).exists() or not [p for p in Path(config.store).rglob("*") if p.is_file()]
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "stages"),
    [
        ({"only": ["data"]}, {"model.base", "data.d"}),
        ({"only": ["train.a"]}, {"model.base", "data.d", "train.a"}),
        ({"only": ["train.a*"]}, {"model.base", "data.d", "train.a", "train.ab"}),
        ({"only": ["train.b", "benchmark"]}, {"model.base", "data.d", "train.b", "benchmark.procedural_double"}),
        ({"only": ["*.a"]}, {"model.base", "data.d", "train.a", "benchmark.procedural_double", "evaluate.a"}),
    ],
)
def test_goals_include_their_dependencies(config: Config, options: dict[str, Any], stages: set[str]) -> None:
    run = plan_run(config(), RunOptions(**options))
    assert set(map(str, run.graph)) == set(map(str, run.plan.graph)) == stages
    assert not run.context.rerun and not run.context.rerun_from


@pytest.mark.parametrize(
    ("options", "stages", "in_part"),
    [
        ({"only": ["train.a"], "rerun": ["train.a"]}, {"train.a"}, {}),
        ({"only": ["train.a*"], "rerun": ["train.a*"]}, {"train.a", "train.ab"}, {}),
        ({"rerun": ["a"]}, {"train.a", "evaluate.a"}, {}),
        ({"rerun": ["evaluate/verdicts"]}, {"evaluate.base", "evaluate.a"}, {"verdicts"}),
        ({"rerun": ["evaluate.a/procedural_*", "report"]}, {"evaluate.a", "report"}, {"samples", "verdicts"}),
        ({"rerun_from": ["train.a"]}, {"train.a"}, {}),
    ],
)
def test_what_is_selected_to_be_made_again(
    config: Config, options: dict[str, Any], stages: set[str], in_part: set[str]
) -> None:
    context = plan_run(config(), RunOptions(**options)).context
    selected = context.rerun or context.rerun_from
    assert set(map(str, selected.stages)) == stages
    for stage in selected.stages:
        kinds = {kind for kind in ("samples", "verdicts") if ArtifactKey(stage, kind, "procedural_double") in selected}
        assert kinds == (in_part if in_part and stage.kind == "evaluate" else {"samples", "verdicts"})


def test_force_without_goals_makes_all_again(config: Config) -> None:
    run = plan_run(config(), RunOptions(rerun=("*",)))
    assert run.context.rerun.stages == set(run.graph)


@pytest.mark.parametrize(
    ("only", "planned"),
    [
        ("evaluate.base/procedural_double", {"samples/procedural_double", "verdicts/procedural_double"}),
        ("evaluate.base/verdicts/*_double", {"samples/procedural_double", "verdicts/procedural_double"}),
        ("evaluate.base/samples", {"samples/procedural_double", "samples/procedural_mixed"}),
    ],
)
def test_a_part_of_a_stage_is_planned_with_what_it_is_made_from(config: Config, only: str, planned: set[str]) -> None:
    evaluate = {**TABLE["evaluate"], "suites": ["procedural_double", "procedural_mixed"]}
    run = plan_run(config(evaluate=evaluate), RunOptions(only=(only,)))
    stage = StageKey("evaluate", "base")
    assert {str(p.target.key).removeprefix("evaluate.base/") for p in run.plan.of(stage)} == planned
    assert run.context.skipped and not any(
        key in run.context.skipped for key in (p.target.key for p in run.plan.planned)
    )
    # A stage that needs all of it makes all of it.
    assert not plan_run(config(evaluate=evaluate), RunOptions(only=(only, "report"))).context.skipped


def test_a_part_that_does_not_exist_is_named(config: Config) -> None:
    for options in ({"only": ("evaluate.a/samples/procedural_duble",)}, {"rerun": ("evaluate.a/samplse",)}):
        with pytest.raises(ConfigError, match=r"unknown artifact 'evaluate\.a/sampl.*did you mean 'evaluate"):
            plan_run(config(), RunOptions(**options))


def changed_model(model: Path, folder: Path, template: str = "{{ messages[0].content }}", **config: Any) -> Path:
    """A copy of `model` with this chat template and these fields in config.json."""
    shutil.copytree(model, folder)
    (folder / "chat_template.jinja").write_text(template)
    fields = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(fields))
    return folder


@pytest.mark.parametrize(
    ("model", "tables", "match"),
    [
        ({"template": "Answer:"}, {}, "leaves out or changes the question"),
        ({"template": "{{ messages[0].content[0].url }}"}, {}, "leaves out or changes the question"),
        (
            {"template": "{{ messages[-1].content }}"},
            {"prompt": {"name": "chat", "system": "Be brief."}},
            "leaves out or changes the system message",
        ),
        ({"template": ""}, {}, "has no chat template"),
        ({"vocab_size": 100}, {}, "a vocabulary of 100 tokens"),
        ({"quantization_config": {"quant_method": "fp8"}}, {}, r"the model is quantized \(fp8\)"),
        ({"head_dim": 16}, {"evaluate": {**TABLE["evaluate"], "engine": "vllm"}}, "16 channels per attention head"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_before_any_stage(
    config: Config, tiny_model: Path, tmp_path: Path, model: dict[str, Any], tables: dict[str, Any], match: str
) -> None:
    folder = changed_model(tiny_model, tmp_path / "model", **model)
    source = {"base": {"source": {"name": "folder", "path": str(folder)}}}
    found = refused(config(model=source, **tables), ModelError)
    assert re.search(match, found), found


def test_a_corrected_model_is_looked_at_again(config: Config, tiny_model: Path, tmp_path: Path) -> None:
    folder = changed_model(tiny_model, tmp_path / "model", "Answer:")
    source = {"base": {"source": {"name": "folder", "path": str(folder)}}}
    refused(config(model=source), ModelError)
    (folder / "chat_template.jinja").write_text("{% for part in messages[0].content %}{{ part.text }}{% endfor %}")
    preflight(plan_run(config(model=source)))


@pytest.mark.parametrize(
    "options", [{"only": ("train.c",)}, {"rerun_from": "train.c"}, {"only": ("data",), "rerun": "train.c"}]
)
def test_a_stage_that_does_not_exist_is_named(config: Config, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"unknown stage 'train\.c'"):
        plan_run(config(), RunOptions(**options))


def test_planning_changes_nothing_and_a_run_that_can_start_passes(config: Config, tmp_path: Path) -> None:
    run = plan_run(config())
    assert not (tmp_path / "runs").exists()
    assert {run.plan.state(key) for key in run.graph} == {"to do"}
    preflight(run)


def test_only_ready_names_what_is_missing(config: Config) -> None:
    cause, _, remedy = refused(config(), StoreError, only=("publish",), only_ready=True).partition(". Remedy: ")
    missing = {"model.base", "data.d", "benchmark.procedural_double", "train.a", "evaluate.base", "evaluate.a"}
    # The report and the search for overlaps are cheap: they are made where they are missing.
    assert set(cause.removeprefix("the store lacks ").split(", ")) == missing
    assert "only_ready" in remedy


def test_only_ready_is_content_with_goals_that_are_not_made(config: Config) -> None:
    preflight(plan_run(config(), RunOptions(only=("model",), only_ready=True)))


def test_a_part_of_a_stage_needs_its_other_artifacts(config: Config) -> None:
    verdicts = ("evaluate.base/verdicts",)
    text = refused(config(), StoreError, only=verdicts, rerun=verdicts, only_ready=True)
    assert "the store lacks model.base, benchmark.procedural_double, evaluate.base/samples/procedural_double." in text


def test_a_missing_source_is_reported_before_anything_starts(config: Config, tmp_path: Path) -> None:
    gone = {"base": {"source": {"name": "folder", "path": str(tmp_path / "gone")}}}
    assert "gone" in refused(config(model=gone), ModelError)


def test_a_full_disk_is_reported_before_anything_starts(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    text = refused(config(), PreflightError)
    assert "GiB of disk" in text and "--store" in text


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"evaluate": {**TABLE["evaluate"], "max_tokens": 64}},
            ["evaluate.max_tokens of procedural_double = 64 leaves no room", "model.base, 64"],
        ),
        (
            {"train": {"a": {**TABLE["train"]["a"], "algorithm": "grpo", "engine": "scripted", "sampling": {}}}},
            ["train.a.sampling.max_tokens = 8192 leaves no room for a prompt in the context of model.base, 64 tokens"],
        ),
        (
            # Without rollouts, validation samples.
            {"train": {"a": {**TABLE["train"]["a"], "engine": "scripted", "sampling": {}, "validation": {"every": 1}}}},
            ["train.a.sampling.max_tokens = 8192 leaves no room for a prompt in the context of model.base, 64 tokens"],
        ),
    ],
)
def test_responses_that_leave_no_room_for_a_prompt(config: Config, changes: dict[str, Any], parts: list[str]) -> None:
    text = refused(config(**changes), PreflightError)
    for part in parts:
        assert part in text


def test_checkpoints_and_the_trained_model_must_fit_on_the_disk(
    config: Config, stored_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known before the model to start from is made, and once it is there."""
    goal = RunOptions(only=("train.a",))
    folder = plan_run(config(store=str(stored_model)), goal).plan.artifacts[BASE].path(MODEL)
    train = config().config_of(StageKey("train", "a"))
    assert train.checkpoints_written == 1
    need = SPARE_BYTES + size(folder).parameters * (12 + 4)
    usage = shutil.disk_usage("/")
    for here in (config(), config(store=str(stored_model))):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=need))
        preflight(plan_run(here, goal))
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=need - 1))
        with pytest.raises(PreflightError, match="GiB of disk"):
            preflight(plan_run(here, goal))


def test_a_generation_config_that_is_asked_for_must_be_there_before_training(
    config: Config, stored_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(plan_run(config(store=str(stored_model))).plan.artifacts[BASE].path(MODEL), folder)
    model = {"base": {"source": {"name": "folder", "path": str(folder)}}}
    asked = config(model=model, evaluate=TABLE["evaluate"] | {"generation_config": True})
    preflight(plan_run(asked))
    (folder / "generation_config.json").unlink()
    preflight(plan_run(config(model=model)))
    with pytest.raises(ModelError, match=r"generation_config\.json does not exist.*generation_config = false"):
        preflight(plan_run(asked))


def test_skipped_checks_are_reported(
    config: Config,
    stored_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("HPT_MODELS", str(tmp_path / "models"))
    source = {"name": "hub", "repo": "nobody/nothing", "local": "mine"}
    options = RunOptions(only=("model", "train.a"))
    for table, skipped in (({}, "disk, memory, context length"), ({"max_position_embeddings": 64}, "disk, memory")):
        caplog.clear()
        preflight(plan_run(config(model={"base": {"source": source, **table}}), options))
        (line,) = caplog.messages
        assert line == f"model.base: not checked before the run, because the model is not there yet: {skipped}"
    caplog.clear()
    local = plan_run(config(store=str(stored_model)), options).plan.artifacts[BASE].path(MODEL)
    shutil.copytree(local, tmp_path / "models" / "mine")
    preflight(plan_run(config(model={"base": {"source": source}}), options))
    preflight(plan_run(config(), options))
    assert not caplog.messages


def test_a_run_with_nothing_to_do_updates_the_names(config: Config, stored_model: Path, tmp_path: Path) -> None:
    shutil.copytree(stored_model, tmp_path / "runs", symlinks=True)
    run = plan_run(config(name="other"), RunOptions(only=("model",)))
    assert run.plan.finished
    link = tmp_path / "runs" / "by-pipeline" / "other" / "model.base"
    assert not link.parent.exists(), "a plan changes nothing"
    (artifact,) = reuse(run).values()
    assert link.resolve() == artifact.folder


def test_a_run_with_nothing_to_do_reports_what_it_reuses(
    config: Config, stored_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To `on_event`, and on the terminal as the command line does."""
    shutil.copytree(stored_model, tmp_path / "runs", symlinks=True)
    options, events = RunOptions(only=("model",)), list[Notice]()
    results = run(config(), options, on_event=events.append)
    assert [(event.stage, event.what) for event in events] == [("model.base", "reused")]
    assert list(results.artifacts) == [ArtifactKey(BASE)]
    assert capsys.readouterr().err == ""
    run(config(), options)
    assert capsys.readouterr().err.endswith(" model.base: reused\n")
    assert len(events) == 1


def test_settings_without_effect_are_logged_and_sent_as_events(
    config: Config, stored_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(stored_model, tmp_path / "runs", symlinks=True)
    train = {"a": TABLE["train"]["a"] | {"optimizer": {"warmup_steps": 5}}}
    idle = config(train=train, evaluate=TABLE["evaluate"] | {"temperature": 0.0, "k": 2})
    texts = [notice.text for notice in warn(plan_run(idle))]
    assert [text.partition(" ")[0] for text in texts] == ["evaluate.k:", "train.a.optimizer.warmup_steps"]
    assert caplog.messages == texts
    events = list[Notice]()
    run(idle, RunOptions(only=("model",)), on_event=events.append)
    found = [(event.stage, event.what, event.text) for event in events]
    assert found[:2] == [("evaluate", "warned", texts[0]), ("train", "warned", texts[1])]
    assert warn(plan_run(idle))[1].stage == "train.a"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"evaluate": None}, "publish publishes nothing, because nothing is evaluated"),
        (
            {"evaluate": None, "publish": (), "report": {"title": "x"}},
            "report is not built, because nothing is evaluated",
        ),
        ({"evaluate": None, "publish": ()}, ""),
    ],
)
def test_tables_that_need_an_evaluation(config: Config, changes: dict[str, Any], said: str) -> None:
    found = list(idle_settings(config(**changes)))
    assert [text.partition(";")[0] for text in found] == ([said] if said else [])


def said(config: PipelineConfig) -> list[str]:
    return [text.partition(",")[0] for text in idle_settings(config)]


def test_unused_settings_of_a_stage_that_others_share_are_not_reported(config: Config) -> None:
    rewards = {"rewards": [{"verifier": "math"}]}
    stages = dict.fromkeys(("sft", "hpt"), TABLE["train"]["a"] | rewards)
    stages["hpt"] = stages["hpt"] | {"algorithm": "hpt", "rollouts_per_question": 2}
    assert said(config(train=stages, evaluate=None, publish=())) == []
    del stages["hpt"]["rewards"]
    assert said(config(train=stages, evaluate=None, publish=())) == ["train.sft.rewards is set"]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"temperature": 0.0, "k": 2}, ["evaluate.k: procedural_double have several samples per question"]),
        ({"top_k": 1, "k": 2}, ["evaluate.k: procedural_double have several samples per question"]),
        ({"min_p": 1.0, "k": 2}, ["evaluate.k: procedural_double have several samples per question"]),
        ({"temperature": 0.7, "top_k": 2, "min_p": 0.9, "k": 2}, []),
        ({"temperature": 0.0, "k": 1, "top_p": 0.9, "top_k": 5}, ["evaluate.top_p is 0.9", "evaluate.top_k is 5"]),
        ({"temperature": 0.0, "k": 1, "top_p": 1.0}, []),
        ({"temperature": 0.7, "top_p": 0.9}, []),
        # The model's own temperature may be another.
        ({"generation_config": True, "k": 2, "protocol": "paper"}, []),
        ({"max_tokens": 16, "max_total_tokens": 15}, ["evaluate.max_tokens is 16"]),
        ({"max_tokens": 16, "max_total_tokens": 16}, []),
    ],
)
def test_sampling_settings_of_an_evaluation(config: Config, changes: dict[str, Any], found: list[str]) -> None:
    evaluate = TABLE["evaluate"] | {"engine": "vllm"} | changes
    assert said(config(evaluate=evaluate)) == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"report": {"max_overlap": 0.1}}, []),
        ({"report": {"max_overlap": 1.0}}, ["report.max_overlap is 1"]),
        ({"report": {"max_overlap": 0.1}, "publish": ()}, ["report.max_overlap stops nothing"]),
    ],
)
def test_a_limit_that_stops_no_publication(config: Config, changes: dict[str, Any], found: list[str]) -> None:
    assert said(config(**changes)) == found


OPTIONS = {"only": ["train.a", "evaluate"], "only_ready": True}


def test_options_of_a_deployment_are_plain_values() -> None:
    """A server checks them against the flow's schema, before the flow reads them."""
    schema = parameter_schema(pipeline).model_dump_for_openapi()
    assert not validate({"config": TABLE, "options": OPTIONS}, schema, raise_on_error=True)
    assert not validate({"config": "configs/demo.toml"}, schema, raise_on_error=True)
    for wrong in ({"goals": ["train"]}, {"only": 1}, {"only_ready": "perhaps"}, {"rerun": [1]}):
        assert validate({"config": TABLE, "options": wrong}, schema, raise_on_error=False), wrong
    taken = pipeline.validate_parameters({"config": TABLE, "options": OPTIONS})
    assert taken["options"] == RunOptions(only=("train.a", "evaluate"), only_ready=True)
    assert taken["config"] == PipelineConfig.model_validate(TABLE)
    defaults = {"set": (), "only": (), "options": RunOptions()}
    assert pipeline.validate_parameters({"config": "demo.toml"}) == {"config": "demo.toml"} | defaults
    assert not validate({"config": "demo.toml", "set": ["seed=2"], "only": ["train"]}, schema, raise_on_error=True)


def test_an_unknown_option_has_near_matches() -> None:
    with pytest.raises(ValidationError, match="did you mean 'only'"):
        RunOptions.model_validate({"onyl": ["train"]})


def test_a_wrong_dictionary_is_an_error_with_field_and_remedy() -> None:
    with pytest.raises(ConfigError, match=r"the config: unknown field 'modle'\. Remedy: did you mean 'model'\?"):
        run({**TABLE, "modle": {}})
