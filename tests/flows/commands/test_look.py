"""`hpt list` and `hpt show`: every kind of plug-in, and every field of one. `hpt status` and `hpt plan`: the cost."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from rich.console import Console

from flows.commands.look import status_table
from flows.graph import Planned
from hpt_core.plugins import KINDS, summary
from hpt_core.upge.signal import Signal
from tasks.execution.config import pipeline_type
from tests.flows.pipelines import make_up

pipeline_type({})
EVERY = [(kind.name, name) for kind in sorted(KINDS.values()) for name in kind.names]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_is_listed_with_a_line_for_each(run_here: Any, kind: str) -> None:
    names = KINDS[kind].names
    result = run_here("list", kind)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert [line.split("  ")[0] for line in lines] == list(names)
    for line, name in zip(lines, names, strict=True):
        assert line == f"{name}  {summary(KINDS[kind].load(name))}"
        assert len(line) > len(name) + 10, "it says what it is"
    assert json.loads(run_here("list", kind, "--json").out) == list(names)


def test_all_kinds_are_listed(run_here: Any) -> None:
    found = json.loads(run_here("list", "--json").out)
    assert found == {kind: list(KINDS[kind].names) for kind in sorted(KINDS)}
    lines = run_here("list").out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == sorted(KINDS)
    assert len(lines) == len(KINDS) + len(EVERY)


@pytest.mark.parametrize(("kind", "name"), EVERY, ids=lambda value: str(value))
def test_a_plug_in_is_shown_with_every_field(run_here: Any, kind: str, name: str) -> None:
    found = json.loads(run_here("show", kind, name, "--json").out)
    assert (found["kind"], found["name"]) == (kind, name)
    plugin = KINDS[kind].load(name)
    model = getattr(plugin, "config", None) or plugin
    own = [field for field in found["fields"] if "." not in field["name"]]
    if isinstance(model, BaseModel):
        assert all("value" in field for field in own)
        model = type(model)
    if isinstance(model, type) and issubclass(model, BaseModel):
        assert {f["name"] for f in own} == {f.alias or n for n, f in model.model_fields.items()}
    for field in found["fields"]:
        assert field["meaning"] and field["takes"] and field["default"], field
    result = run_here("show", kind, name)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"{name}  {found['summary']}\n")
    for field in found["fields"]:
        set_to = f"value {field['value']}" if "value" in field else f"default {field['default']}"
        assert f"\n{field['name']}  {field['takes']}  {set_to}\n" in result.out
        assert f"\n  {field['meaning'].split()[0]}" in result.out
    assert ("It has no fields." in result.out) == (not found["fields"])


def test_the_fields_of_tables_are_shown_with_the_defaults_of_the_plug_in(run_here: Any) -> None:
    fields = {f["name"]: f for f in json.loads(run_here("show", "algorithms", "grpo", "--json").out)["fields"]}
    assert list(fields)[-8:] == ["rl", *(f"rl.{name}" for name in Signal.model_fields)]
    assert fields["rl.stabilization_mask"]["default"].startswith('{ name = "clip"')
    assert "\nrl.coefficient  number  default 1\n" in run_here("show", "algorithms", "grpo").out
    for kind, name, field in [
        ("regularizers", "entropy", "micro_batches.token_budget"),
        ("engines", "endpoint", "serve.max_num_seqs"),
        ("protocols", "paper", "sampling.stop_repetition.times"),
        ("stages", "train", "keep_rollouts.last"),
        ("stages", "evaluate", "budget.prices.hour"),
    ]:
        assert f"\n{field}  " in run_here("show", kind, name).out
    suite = {f["name"]: f for f in json.loads(run_here("show", "benchmarks", "math500", "--json").out)["fields"]}
    assert suite["source.hub"]["value"] == '"HuggingFaceH4/MATH-500"', "the instance's"


def test_an_instance_is_shown_with_its_own_values(run_here: Any) -> None:
    fields = {f["name"]: f for f in json.loads(run_here("show", "benchmarks", "math500", "--json").out)["fields"]}
    assert (fields["rows"]["value"], fields["rows"]["default"]) == ("500", "required")
    assert 'name = "math500"' in fields["source"]["value"]
    assert "\nrows  integer, at least 1  value 500\n" in run_here("show", "benchmarks", "math500").out


def test_a_kind_of_stage_without_a_config_of_its_own_shows_its_field_in_a_pipeline(run_here: Any) -> None:
    (field,) = json.loads(run_here("show", "stages", "publish", "--json").out)["fields"]
    assert (field["name"], field["takes"], field["default"]) == ("publish", "list of one of publishers", "[]")


def test_types_and_defaults_are_described_in_words(run_here: Any) -> None:
    fields = {f["name"]: f for f in json.loads(run_here("show", "stages", "train", "--json").out)["fields"]}
    assert (fields["from"]["takes"], fields["from"]["default"]) == ("a stage, such as train.hpt", "required")
    assert fields["steps"]["takes"] == "integer, at least 1"
    assert fields["algorithm"]["takes"] == "one of algorithms"
    assert fields["rewards"]["takes"].startswith("list of ")
    assert (fields["seed"]["takes"], fields["seed"]["default"]) == ("integer or none", "none")
    assert fields["dtype"]["takes"] == '"float32" or "bfloat16"'
    assert fields["packing"]["default"] in ("true", "false")


def test_a_users_plug_in_is_shown_by_its_import_path(
    run_here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shown_gates.py").write_text(
        '"""A gate of a user\'s own. It does nothing."""\n\n'
        "from hpt_core.gates.switch import Switch\n\n\n"
        "class Late(Switch):\n"
        "    after: int = 3\n"
        '    """Steps before it opens."""\n'
    )
    monkeypatch.setenv("HPT_PLUGINS", str(tmp_path))
    result = run_here("show", "gates", "shown_gates:Late")
    assert result.code == 0, result.err
    assert result.out.startswith("shown_gates:Late  A gate of a user's own\n")
    assert "\nafter  integer  default 3\n  Steps before it opens." in result.out
    assert "\ngamma  number" in result.out, "those of the class it derives from too"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["list", "gate"], ["kind of plug-in 'gate'", "did you mean 'gates'"]),
        (["show", "gate", "switch"], ["kind of plug-in 'gate'", "did you mean 'gates'"]),
        (["show", "gates", "swich"], ["unknown name 'swich' in gates", "did you mean 'switch'"]),
        (["show", "gates", "gone_module:Late"], ["'gone_module:Late' cannot be imported", "Remedy: "]),
        (["show", "gates", "hpt_core.gates.switch:Swich"], ["has no 'Swich'", "did you mean 'Switch'"]),
        (["show", "gates", "hpt_core.verifiers.math:Math"], ["is not one of gates"]),
        (["show", "gates"], ["Missing argument 'NAME'"]),
    ],
)
def test_wrong_names(run_here: Any, arguments: list[str], parts: list[str]) -> None:
    result = run_here(*arguments)
    assert (result.code, result.out) == (2, "")
    for part in parts:
        assert part in result.err


EVALUATED = """
name = "two"
model.a.source = { name = "scratch", layers = 1 }
model.b.source = { name = "scratch", layers = 2 }
[evaluate]
models = ["model.a", "model.b"]
suites = ["procedural_decrease", "procedural_increase"]
engine = "scripted"
k = 2
"""


def costs(planned: Planned, output: Path) -> dict[str, Any]:
    """Samples took half an hour of two devices; how many those of model b on one benchmark took is unknown."""
    if planned.target.kind != "samples":
        return {"cost": {"seconds": 60.0, "money": 0.0}}
    known = str(planned.target.key) != "evaluate.b/samples/procedural_increase"
    hours, money = (1.0, 2.5) if known else (None, None)
    facts = {"tokens": 1_000_000, "prompt_tokens": 0}
    return {"facts": facts, "cost": {"seconds": 1800.0, "device_hours": hours, "money": money}}


@pytest.fixture
def evaluated(run_here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command on a finished pipeline, on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "two.toml").write_text(EVALUATED)
    make_up(tmp_path / "two.toml", costs)
    return run_here


def test_status_adds_up_what_stages_took_and_cost(evaluated: Any) -> None:
    lines = evaluated("status", "two.toml").out.splitlines()
    assert max(map(len, lines)) <= 80
    cells = {line.split()[0]: line.split() for line in lines}
    assert cells["evaluate.a"][4:9] == ["1:02", "h", "2.00", "5.00", "0"]
    assert cells["evaluate.b"][4:8] == ["1:02", "h", ">1.00", ">2.50"]
    assert cells["benchmark.procedural_decrease"][4:7] == ["1:00", "min", "0"], "which needs no device"
    assert cells["total"][1:6] == ["2:09", "h", ">3.00", ">7.50", "0"]
    empty = evaluated("status", "two.toml", "--set", "seed=9", "--store", "other").out
    assert "total" not in empty and "cost" not in empty


def test_no_cell_of_the_status_is_cut() -> None:
    line = ["data.base", "done", "11-27 15:06", "3 s", "", "", "395.2 kB", "8000"]
    console = Console(width=80, file=StringIO())
    console.print(status_table([line, ["train.a", "done", "", "", "0.02", "", "2.7 MB", "1"]]))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(cell in shown for cell in line) and "cost" not in shown


@pytest.mark.parametrize(
    ("prices", "hours", "money", "told"),
    [
        ((), 3.0, None, ">3.00 device-hours"),
        (("hour=2.0",), 3.0, 6.0, ">3.00 device-hours; cost >6.00"),
        (("million_tokens=0.5",), 3.0, 2.0, ">3.00 device-hours; cost 2.00"),
    ],
)
def test_plan_estimates_what_a_run_costs(
    evaluated: Any, prices: tuple[str, ...], hours: float, money: float | None, told: str
) -> None:
    """At today's prices, from what the same artifacts took before."""
    changes = [f"--set={change}" for change in ("seed=9", *(f"resources.prices.{price}" for price in prices))]
    found = json.loads(evaluated("plan", "two.toml", "--json", *changes).out)
    assert (found["device_hours"], found["money"]) == (hours, money)
    assert found["device_hours_unknown"] == ["evaluate.b"]
    assert found["money_unknown"] == ["evaluate.b"] * (">" in told.partition("cost")[2])
    shown = evaluated("plan", "two.toml", *changes).out
    assert shown.partition("; time: ")[2].splitlines()[0].partition("; ")[2] == told
    assert max(len(line) for line in shown.splitlines() if not line.startswith("store ")) <= 80
