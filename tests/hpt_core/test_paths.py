"""Paths in configs: `~` and variables are replaced, and every config uses the type that does it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from hpt_core.errors import ConfigError, DataError
from hpt_core.models.folder import FolderModel
from hpt_core.paths import UserAddress, UserPath, expand, expand_named, require_data_dir
from hpt_core.plugins import KINDS
from hpt_core.trackers.base import TrackerConfig
from tasks.execution.config import PipelineConfig, pipeline_type
from tasks.execution.kind import StageConfig


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("WHERE", "/data/x")
    monkeypatch.setenv("NAME", "n")
    monkeypatch.setenv("TILDE", "~")
    monkeypatch.setenv("NOTHING", "")
    monkeypatch.setenv("AGAIN", "/a/$NAME")
    monkeypatch.delenv("UNSET", raising=False)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("~", "/home/me"),
        ("~/a", "/home/me/a"),
        ("~root/a", "/root/a"),
        ("$WHERE/a", "/data/x/a"),
        ("${WHERE}/$NAME.jsonl", "/data/x/n.jsonl"),
        ("a/${NAME}b", "a/nb"),
        ("a~/b~", "a~/b~"),
        ("a$/b$5/$(pwd)", "a$/b$5/$(pwd)"),
        ("s3://a/b", "s3://a/b"),
    ],
)
def test_home_and_variables_are_replaced(written: str, path: str) -> None:
    assert expand(written) == path


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("$UNSET/a", r"\$UNSET is not set; set it in the environment"),
        ("${UNSET}/a", r"\$\{UNSET\} is not set"),
        ("${}", r"\$\{\} is not set"),
        ("$NOTHING/a", r"\$NOTHING is empty"),
        ("~nobody-of-this-name/a", "~nobody-of-this-name is no user's home folder; write the whole path"),
        ("$AGAIN", r"it becomes /a/\$NAME, which contains \$NAME again"),
        ("", "the path is empty"),
    ],
)
def test_what_cannot_be_replaced_is_an_error(written: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        expand(written)
    with pytest.raises(ConfigError, match=f"^--out = .*: {problem.partition(';')[0]}"):
        expand_named(written, "--out")


@given(st.text(st.sampled_from("~$/{}aNME. "), min_size=1))
def test_replacing_again_changes_nothing(written: str) -> None:
    try:
        once = expand(written)
    except ValueError:
        return
    assert expand(once) == once


def test_a_field_names_itself_and_the_variable() -> None:
    assert FolderModel(path=Path("~/$NAME")).path == Path("/home/me/n")
    with pytest.raises(ValidationError, match=r"path\n.*\$UNSET is not set"):
        FolderModel.model_validate({"path": "$UNSET/model"})


class Mine(TrackerConfig):
    """A plug-in of somebody else's, with plain paths."""

    file: Path | None = None
    files: tuple[Path, ...] = ()
    named: dict[str, Path] = {}
    text: str = ""


class Stage(StageConfig):
    """The same of a stage."""

    file: Path


def test_plain_paths_of_plugins_and_stages_follow_the_rule() -> None:
    given = {"file": "~/a", "files": ["$WHERE/a", Path("b")], "named": {"x": "${NAME}"}, "text": "$UNSET ~"}
    mine = Mine.model_validate(given)
    assert (mine.file, mine.files, mine.named) == (
        Path("/home/me/a"),
        (Path("/data/x/a"), Path("b")),
        {"x": Path("n")},
    )
    assert (mine.text, Mine().file) == ("$UNSET ~", None)
    assert Stage(file=Path("~/a")).file == Path("/home/me/a")
    for model in (Mine, Stage):
        for wrong in ("$UNSET/a", ""):
            with pytest.raises(ValidationError, match=r"file\n.*(\$UNSET is not set|the path is empty)"):
                model.model_validate({"file": wrong})


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("file://$WHERE/site", "file:///data/x/site"),
        ("file://~/site", "file:///home/me/site"),
        ("file:///~/site", "file:///home/me/site"),
        ("file:///a/~", "file:///a/~"),
        ("file://$TILDE/site", "file:///home/me/site"),
        ("sqlite:///~/runs.db", "sqlite:////home/me/runs.db"),
        ("sqlite:///runs.db", "sqlite:///runs.db"),
        ("s3://$NAME/~a", "s3://n/~a"),
        ("http://${NAME}:8000/v1", "http://n:8000/v1"),
    ],
)
def test_addresses_follow_the_rule(written: str, address: str) -> None:
    read = TypeAdapter(UserAddress).validate_python
    assert read(written) == address == read(address)
    with pytest.raises(ValidationError, match=r"\$UNSET is not set; set it in the environment"):
        read(written.replace("://", "://$UNSET", 1))


def fields(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[tuple[str, FieldInfo]]:
    """Every field of a model and of the models below it."""
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        yield f"{model.__name__}.{name}", field
        for kind in parts(field.annotation):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from fields(kind, seen)


def parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in get_args(annotation):
        yield from parts(inner)


def models() -> list[type[BaseModel]]:
    """The pipeline's config, and the config of every plug-in and every kind of stage."""
    found: list[Any] = [pipeline_type({})]
    for kind in KINDS.values():
        for name in kind.names:
            plugin = kind.load(name)
            found.append(plugin if isinstance(plugin, type) else getattr(plugin, "config", None) or type(plugin))
    return [model for model in found if isinstance(model, type) and issubclass(model, BaseModel)]


def test_every_address_of_a_config_is_a_user_address() -> None:
    (replaces,) = UserAddress.__metadata__
    seen: set[type[BaseModel]] = set()
    every = dict(pair for model in models() for pair in fields(model, seen))
    named = {name: field for name, field in every.items() if name.endswith(("url", "uri", ".endpoint"))}
    assert {"S3.url", "S3.endpoint_url", "HuggingFace.endpoint", "MLflow.uri", "Endpoint.url"} <= set(named)
    for name, field in named.items():
        marks = [mark for kind in parts(field.annotation) for mark in getattr(kind, "__metadata__", ())]
        assert replaces in [*marks, *field.metadata], name


def test_every_path_of_a_config_is_a_user_path() -> None:
    (replaces,) = UserPath.__metadata__
    seen: set[type[BaseModel]] = set()
    paths = {}
    for model in models():
        for name, field in fields(model, seen):
            if any(kind is Path for kind in parts(field.annotation)):
                marks = [
                    mark for kind in (field, *parts(field.annotation)) for mark in getattr(kind, "__metadata__", ())
                ]
                paths[name] = replaces in [*marks, *field.metadata]
    assert {"FolderModel.path", "StaticSite.path", "JSONLines.file", "OpenR1.file", "PipelineConfig.data_dir"} <= set(
        paths
    )
    assert [name for name, replaced in paths.items() if not replaced] == []
    # The store is text, because a Path would make a folder of "s3://bucket".
    assert any(
        isinstance(mark, AfterValidator) and mark.func is expand
        for mark in PipelineConfig.model_fields["store"].metadata
    )


def test_a_data_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    require_data_dir(None)
    require_data_dir(tmp_path)
    with pytest.raises(DataError, match=r"data_dir .*missing does not exist.*correct data_dir, --data-dir or HPT_DATA"):
        require_data_dir(tmp_path / "missing")
