"""`hpt config show`, `hpt config reference` and `hpt init`: their output can be read again."""

import json
import re
import tomllib
from collections.abc import Iterator
from inspect import isclass
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from flows.commands.common import read_config
from flows.commands.config import reference_text
from flows.fields import toml
from flows.load import load_config
from hpt_core.plugins import KINDS, Plugin, is_kind
from tasks.execution.config import PipelineConfig, pipeline_type

CONFIGS = sorted((Path(__file__).resolve().parents[3] / "configs").glob("*.toml"))

AWKWARD = r"""
name = "awkward"
[model.base]
source = { name = "scratch", initializer_range = 0.0123456789012 }
rope_theta = 1e6
[data."d-1"]
source = { name = "procedural", rows = 8, seed = 1 }
model = "model.base"
[train.name] # a stage whose name is a field's elsewhere
from = "model.base"
data = "data.d-1"
algorithm.name = "hpt"
algorithm.gate.gamma = 0.3333333333333333
steps = 3
engine.name = "scripted"
engine.responses = { "What is \"1 + 1\"?" = ["so \\boxed{2}\n:smile: é"], "a.b" = ["	tab"] }
optimizer = { betas = [0.9, 0.99], learning_rate = 1.23456789e-5, gradient_clip = 2 }
lora = { rank = 4 }
algorithm.regularizers = ["entropy", { name = "entropy", coefficient = 0.5 }]
rewards = [{ weight = 0.7 }, { verifier = "math", weight = 0.3 }]
[[train.name.variants]]
name = "second"
steps = 4
[evaluate]
models = ["train.name*"]
suites = ["procedural_double", "aime24"]
stop_repetition = {}
budget = { tokens = 1000 }
[report]
title = "Ünïcode \u0007 and \\ and \"quotes\""
baseline = "train.name"
"""


def shown(run_here: Any, config: Path, *arguments: str) -> str:
    result = run_here("config", "show", str(config), *arguments)
    assert (result.code, result.err) == (0, "")
    return str(result.out)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_showing_a_shipped_config_gives_the_same_config(run_here: Any, tmp_path: Path, path: Path) -> None:
    again = tmp_path / "again.toml"
    again.write_text(shown(run_here, path))
    assert load_config(again) == read_config(path, None, None, None)
    table = json.loads(shown(run_here, path, "--json"))
    assert PipelineConfig.model_validate(table) == load_config(again)


def test_every_shown_config_can_be_loaded_again(run_here: Any, tmp_path: Path) -> None:
    (tmp_path / "awkward.toml").write_text(AWKWARD)
    again = tmp_path / "again.toml"
    again.write_text(shown(run_here, tmp_path / "awkward.toml"))
    loaded = load_config(again)
    assert loaded == read_config(tmp_path / "awkward.toml", None, None, None)
    # Sweeps and globs are written out, and what is shown once more is the same text.
    assert list(loaded.train) == ["name", "name_second"]
    assert shown(run_here, again) == again.read_text()


def test_the_shown_config_contains_overrides_bases_and_defaults(run_here: Any, tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(AWKWARD)
    (tmp_path / "mine.toml").write_text('extends = "base.toml"\nname = "mine"\n')
    text = shown(run_here, tmp_path / "mine.toml", "--set", "train.name.steps=9", "--store", "there")
    table = tomllib.loads(text)
    assert (table["name"], table["train"]["name"]["steps"], table["train"]["name_second"]["steps"]) == ("mine", 9, 4)
    assert table["store"] == str(tmp_path / "there")
    assert table["train"]["name"]["packing"] is True
    assert "extends" not in table and "variants" not in text
    assert 'models = ["train.name", "train.name_second"]' in text


def test_an_unreadable_config_is_not_shown(run_here: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text(AWKWARD.replace("steps = 3", "stps = 3"))
    result = run_here("config", "show", "broken.toml")
    assert (result.code, result.out) == (2, "")
    assert "unknown field 'train.name.stps'" in result.err


@pytest.mark.parametrize(
    "value",
    [
        0.1,
        1 / 3,
        5e-6,
        1e300,
        40000.0,
        2**60,
        -3,
        True,
        "",
        "a\"b\\c\n\t\r'",
        "é",
        [1, [2.5]],
        {"a b": {"c": [True]}, "d": 1},
    ],
)
def test_values_are_written_as_toml_reads_them(value: Any) -> None:
    assert tomllib.loads(f"x = {toml(value)}")["x"] == value


def test_the_reference_has_every_field_of_every_table_and_plug_in(run_here: Any) -> None:
    text = run_here("config", "reference").out
    assert text.rstrip("\n") == reference_text().rstrip("\n")
    config = pipeline_type({})
    for heading in (
        "## Pipeline",
        "## `[train.NAME]`",
        "## `[train.NAME.sampling]`",
        "## `[evaluate.budget]`",
        "# Plug-ins",
    ):
        assert f"\n{heading}\n" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert {f.alias or name for name, f in config.model_fields.items()} <= {row.split("`")[1] for row in rows}
    for row in rows:
        cells = row.replace("\\|", "").strip("|").split("|")
        assert len(cells) == 4, row
        assert all(cell.strip() for cell in cells), f"a field without type, default or meaning: {row}"
    for kind in KINDS.values():
        (of_kind,) = re.findall(rf"^## {kind.name}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        for name in kind.names:
            (of_plugin,) = re.findall(rf"^### {name}\n(.*?)(?=^### |\Z)", of_kind, re.MULTILINE | re.DOTALL)
            plugin = kind.load(name)
            expected = set(names_of(plugin)) if isclass(plugin) else set()
            assert {line.split("`")[1] for line in of_plugin.splitlines() if line.startswith("| `")} == expected


def names_of(model: type[BaseModel]) -> Iterator[str]:
    """Names of a model's fields and of those of the tables in it."""
    for name, field in model.model_fields.items():
        yield field.alias or name
        for kind in get_args(field.annotation) or (field.annotation,):
            if isclass(kind) and issubclass(kind, BaseModel) and not (issubclass(kind, Plugin) and is_kind(kind)):
                yield from (f"{field.alias or name}.{below}" for below in names_of(kind))


def test_the_reference_has_the_defaults_that_a_plug_in_gives_its_tables() -> None:
    text = reference_text()
    grpo = text.partition("\n### grpo\n")[2].partition("\n### ")[0]
    assert '| `rl.stabilization_mask` | one of stabilization_masks | `{ name = "clip", eps_low = 0.2' in grpo
    # The algorithm's validator fills this one in; its class's default has no demonstration.
    luffy = text.partition("\n### luffy\n")[2].partition("\n### ")[0]
    assert '| `rl.advantage` | one of advantages | `{ name = "group_zscore", with_demonstration = true' in luffy


def test_the_reference_as_json(run_here: Any) -> None:
    found = json.loads(run_here("config", "reference", "--json").out)
    assert {"Pipeline", "[train.NAME]", "[report]"} <= set(found)
    steps = next(field for field in found["[train.NAME]"] if field["name"] == "steps")
    assert (steps["takes"], steps["default"]) == ("integer, at least 1", "required")
    shown = json.loads(run_here("show", "stages", "train", "--json").out)["fields"]
    own = {field["name"] for field in found["[train.NAME]"]}
    assert found["[train.NAME]"] == [f for f in shown if f["name"] in own], "both commands print a field alike"


@pytest.fixture
def files(tmp_path: Path, tiny_model: Path) -> dict[str, str]:
    """A model's folder and questions of a user's own."""
    data = tmp_path / "questions.jsonl"
    data.write_text(json.dumps({"question": "1 + 1 = ?", "answer": "2", "demonstration": "\\boxed{2}"}) + "\n")
    return {"FOLDER": str(tiny_model), "FILE": str(data)}


@pytest.mark.parametrize(
    ("arguments", "source", "data"),
    [
        ([], "scratch", "procedural"),
        (["--suite", "procedural_double"], "scratch", "procedural"),
        (["--data", "FILE"], "scratch", "jsonl"),
        (["--model", "FOLDER"], "folder", "procedural"),
        (["--model", "FOLDER", "--data", "FILE", "--suite", "aime24", "--suite", "amc23"], "folder", "jsonl"),
        (["--model", "Qwen/Qwen2.5-Math-1.5B", "--data", "FILE"], "hub", "jsonl"),
    ],
)
def test_configs_that_init_writes_load(
    run_here: Any, files: dict[str, str], arguments: list[str], source: str, data: str
) -> None:
    given = [files.get(argument, argument) for argument in arguments]
    result = run_here("init", "mine", *given)
    assert (result.code, result.err) == (0, "")
    assert "hpt plan mine.toml" in result.out
    config: Any = load_config(Path("mine.toml"))
    assert (config.name, config.store) == ("mine", "runs/mine")
    assert (config.model["base"].source.name, config.data["main"].source.name) == (source, data)
    assert config.train["hpt"].algorithm.name == "hpt"
    suites = [given[i + 1] for i, argument in enumerate(given) if argument == "--suite"]
    assert [suite.name for suite in config.evaluate.suites] == (
        suites or [s.name for s in config.data["main"].decontaminate]
    )
    plan = json.loads(run_here("plan", "mine.toml", "--json").out) if source != "hub" and not suites else None
    if plan and source == "scratch":
        assert not [stage["problem"] for stage in plan["stages"] if stage["problem"]]
    assert not Path("runs").exists()


def test_init_fits_the_context_of_a_small_model(run_here: Any, tiny_model: Path, tmp_path: Path) -> None:
    linked = tmp_path / "latest"
    linked.symlink_to(tiny_model)
    assert run_here("init", "mine", "--model", str(linked)).code == 0
    config: Any = load_config(Path("mine.toml"))
    # A link, such as one under by-name/, stays one, so that the config follows it.
    assert config.model["base"].source.path == linked
    assert config.data["main"].max_prompt_tokens + config.train["hpt"].sampling.max_tokens <= 256
    assert config.evaluate.max_tokens == config.data["main"].max_demonstration_tokens == 128


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["My Demo"], ["name = 'My Demo'", "use letters"]),
        (["x" * 300], ["name = 'xxx", "...: 'xxx", "is a name of 300 characters", "use at most 100"]),
        (["x", "--out", "x" * 300], ["cannot write xxx", "File name too long", "or --out"]),
        (["x", "--model", "./gone"], ["'./gone' is neither a folder nor", "org/name"]),
        (["x", "--model", "a/b/c"], ["'a/b/c' is neither a folder nor"]),
        (["x", "--data", "gone.jsonl"], ["there is no file gone.jsonl"]),
        (["x", "--suite", "aime23"], ["unknown name 'aime23' in benchmarks", "did you mean 'aime2"]),
        (["there"], ["there.toml", "--out"]),
    ],
)
def test_init_refuses_wrong_input(run_here: Any, tmp_path: Path, arguments: list[str], parts: list[str]) -> None:
    (tmp_path / "there.toml").write_text("mine")
    result = run_here("init", *arguments)
    assert result.code == 2
    for part in parts:
        assert part in result.err
    assert "Remedy: " in result.err
    assert [path.name for path in tmp_path.glob("*.toml")] == ["there.toml"]
    assert (tmp_path / "there.toml").read_text() == "mine", "a config is never written over"
