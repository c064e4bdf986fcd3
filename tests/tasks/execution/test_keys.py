"""Keys of stages and artifacts, and references in configs."""

import json
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hpt_core.base import Frozen
from tasks.execution.artifact import Artifact, Artifacts
from tasks.execution.config import PipelineConfig
from tasks.execution.keys import MODEL, ArtifactKey, Reference, StageKey

MODULE = st.from_regex(r"[a-z_]+(\.[a-z_]+){0,3}", fullmatch=True)
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._*-]{0,20}", fullmatch=True)
IN_MODULE = st.builds("{}:{}".format, MODULE, st.from_regex(r"[A-Z][A-Za-z_]*", fullmatch=True))
KIND = st.from_regex(r"[a-z_]+", fullmatch=True) | IN_MODULE


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("train.hpt", StageKey("train", "hpt")),
        ("report", StageKey("report")),
        ("train.hpt.v2", StageKey("train", "hpt.v2")),
        ("my_stages:NOTES.first", StageKey("my_stages:NOTES", "first")),
        ("acme.stages.notes:NOTES.first", StageKey("acme.stages.notes:NOTES", "first")),
        ("acme.stages:NOTES", StageKey("acme.stages:NOTES")),
    ],
)
def test_a_stages_key_is_parsed(text: str, key: StageKey) -> None:
    assert StageKey.parse(text) == key
    assert str(key) == text


@given(KIND, NAME | st.just(""))
def test_every_key_round_trips(kind: str, name: str) -> None:
    key = StageKey(kind, name)
    assert StageKey.parse(str(key)) == key


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (ArtifactKey(StageKey("train", "hpt")), "train.hpt"),
        (ArtifactKey(StageKey("report")), "report"),
        (ArtifactKey(StageKey("evaluate", "hpt"), "samples", "aime24"), "evaluate.hpt/samples/aime24"),
        (ArtifactKey(StageKey("contamination", "post"), part="aime24"), "contamination.post/aime24"),
        (ArtifactKey(StageKey("a.b:KIND", "x"), "notes"), "a.b:KIND.x/notes"),
    ],
)
def test_an_artifacts_key_says_stage_kind_and_part(key: ArtifactKey, text: str) -> None:
    assert str(key) == text


def test_a_stages_key_stands_for_its_one_artifact(tmp_path: Any) -> None:
    stage = StageKey("train", "hpt")
    artifact = Artifact(ArtifactKey(stage), "train", "f", tmp_path, {})
    found = Artifacts({artifact.key: artifact})
    assert found[stage] is found[ArtifactKey(stage)] is found.of(stage) is artifact
    assert found.of(StageKey("train", "other")) is None
    with pytest.raises(KeyError):
        found[ArtifactKey(stage, "log")]


class Holder(Frozen):
    """A config with one reference, one that may be left out, and a list."""

    origin: Annotated[StageKey, Reference(MODEL)]
    teacher: Annotated[StageKey | None, Reference(MODEL)] = None
    others: tuple[Annotated[StageKey, Reference(MODEL)], ...] = ()


@pytest.mark.parametrize("teacher", [None, "my_stages:DISTILL.t"])
def test_a_reference_is_a_string_in_a_config_and_a_key_in_code(teacher: str | None) -> None:
    table = {"origin": "train.hpt", "teacher": teacher, "others": ["model.base", "train.a.b"]}
    holder = Holder.model_validate(table)
    assert holder.origin == StageKey("train", "hpt")
    assert holder.teacher == (teacher and StageKey("my_stages:DISTILL", "t"))
    assert holder.others == (StageKey("model", "base"), StageKey("train", "a.b"))
    assert json.loads(holder.model_dump_json()) == table
    assert Holder.model_validate(holder.model_dump()) == Holder.model_validate(holder.model_dump(mode="json")) == holder
    assert holder.identity() == {}, "names decide nothing"


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ({"origin": None}, "origin"),
        ({"origin": 3}, "origin"),
        ({"origin": ""}, "origin"),
        ({"origin": "model.a", "teacher": 3}, "teacher"),
        ({"origin": "model.a", "others": [None]}, "others"),
    ],
)
def test_a_wrong_reference_error_shows_how_to_write_one(table: dict[str, Any], field: str) -> None:
    with pytest.raises(
        ValidationError, match=r"does not refer to a stage; write its kind and name, such as model\.base"
    ) as c:
        Holder.model_validate(table)
    assert c.value.errors()[0]["loc"][0] == field


def test_the_schema_allows_none_only_for_optional_references() -> None:
    fields = Holder.model_json_schema()["properties"]
    assert fields["origin"]["type"] == fields["others"]["items"]["type"] == "string"
    assert [kind["type"] for kind in fields["teacher"]["anyOf"]] == ["string", "null"]


def pipeline(**changes: Any) -> dict[str, Any]:
    trained = {"from": "model.base", "data": "data.d", "algorithm": "sft", "steps": 1}
    return {
        "name": "demo",
        "model": {"base": {"source": "scratch"}},
        "data": {"d": {"source": {"name": "procedural", "rows": 8, "seed": 1}, "model": "model.base"}},
        "train": {"sft": trained},
        "evaluate": {"models": ["train.sft"], "suites": ["procedural_double"]},
        **changes,
    }


def changed(*path: str, to: Any) -> dict[str, Any]:
    table = pipeline(report={})
    target = table
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = to
    return table


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (
            ("train", "sft", "from"),
            "model.bse",
            r"train\.sft\.from: 'model\.bse' does not exist; did you mean 'model\.base'",
        ),
        (("train", "sft", "from"), "mdel.base", r"'mdel\.base' does not exist; did you mean 'model\.base'"),
        (
            ("train", "sft", "from"),
            "base",
            r"train\.sft\.from: 'base' does not exist; .*known: model\.base, train\.sft",
        ),
        (
            ("train", "sft", "from"),
            "data.d",
            r"train\.sft\.from: 'data\.d' has no output 'model'; .*known: model\.base",
        ),
        (
            ("train", "sft", "data"),
            "model.base",
            r"train\.sft\.data: 'model\.base' has no output 'prepared'; .*known: data\.d",
        ),
        (
            ("data", "d", "model"),
            "train.sft",
            r"data\.d\.model: 'train\.sft' has no output 'tokenizer'; .*known: model\.base",
        ),
        (
            ("evaluate", "models"),
            ["train.sfd"],
            r"evaluate\.models: 'train\.sfd' does not exist; did you mean 'train\.sft'",
        ),
        (("evaluate", "models"), ["data.d"], r"evaluate\.models: 'data\.d' has no output 'model'"),
        (
            ("report", "baseline"),
            "train.sf",
            r"report\.baseline: 'train\.sf' does not exist; did you mean 'train\.sft'",
        ),
        (
            ("report", "baseline"),
            "model.base",
            r"report\.baseline: 'model\.base' is not evaluated; .*known: train\.sft",
        ),
    ],
)
def test_an_unknown_reference_has_near_matches(path: tuple[str, ...], to: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PipelineConfig.model_validate(changed(*path, to=to))


def test_references_are_found_in_all_stages() -> None:
    first = pipeline()["train"]["sft"]
    second = {**first, "from": "train.sft", "data": "data.e"}
    data = {name: pipeline()["data"]["d"] for name in ("d", "e")}
    config: Any = PipelineConfig.model_validate(pipeline(train={"sft": first, "more": second}, data=data))
    base, sft, more = StageKey("model", "base"), StageKey("train", "sft"), StageKey("train", "more")
    assert config.models() == (base, sft, more)
    assert config.inputs(more, MODEL) == (sft,)
    assert config.root(more) == config.root(base) == base
    prepared = config.kind_of(StageKey("data", "d")).produces[0]
    assert config.lineage(more, prepared) == (StageKey("data", "e"), StageKey("data", "d"))
    assert config.lineage(base, prepared) == ()
    assert config.train["more"] is config.config_of(more)


def test_two_stages_with_models_of_the_same_name_are_refused() -> None:
    trained = pipeline()["train"]["sft"]
    with pytest.raises(ValidationError, match=r"'base' names model\.base and train\.base; rename one"):
        PipelineConfig.model_validate(pipeline(train={"base": trained, "sft": trained}))
