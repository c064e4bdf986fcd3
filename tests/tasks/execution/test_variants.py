"""Sweeps: a variant equals the same stage written out by hand."""

import copy
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validate

from flows import graph as graphs
from flows.load import load_config
from flows.pipeline import pipeline
from flows.run import RunOptions, plan_run
from hpt_core.errors import ConfigError
from tasks.execution.config import PipelineConfig

BASE = """
name = "demo"
[model.base]
source = { name = "scratch" }
[data.d]
source = { name = "procedural", rows = 8, seed = 1 }
model = "model.base"
[train.hpt]
from = "model.base"
data = "data.d"
algorithm = "hpt"
steps = 3
optimizer = { learning_rate = 1e-3, warmup_steps = 2 }
[evaluate]
models = ["model.base", "train.hpt*"]
suites = ["procedural_double"]
"""

VARIANTS = """
[[train.hpt.variants]]
name = "gamma_1_8"
algorithm = { gate = { gamma = 0.125 } }
[[train.hpt.variants]]
name = "dotted"
algorithm.gate.gamma = 0.25
optimizer.learning_rate = 5e-3
[[train.hpt.variants]]
name = "grpo"
algorithm = "grpo"
steps = 7
"""

KEYS = ["train.hpt", "train.hpt_gamma_1_8", "train.hpt_dotted", "train.hpt_grpo"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write(tmp_path, BASE + VARIANTS)


def write(folder: Path, text: str) -> Path:
    file = folder / "demo.toml"
    file.write_text(f'store = "{folder / "runs"}"\n' + text)
    return file


def names(keys: Iterable[object]) -> list[str]:
    return list(map(str, keys))


def fingerprints(config: PipelineConfig) -> dict[str, str]:
    plan = plan_run(config).plan
    assert not plan.problems
    return {str(p.target.key): p.target.fingerprint for p in plan.planned}


def test_each_variant_is_a_stage_in_the_configs_order(config: Path) -> None:
    loaded = load_config(config)
    assert [f"train.{name}" for name in loaded.train] == KEYS
    assert loaded.evaluate is not None
    assert names(loaded.evaluate.models) == ["model.base", *KEYS]
    stages = loaded.train
    assert stages["hpt"].algorithm.gate.gamma == 0.0
    assert stages["hpt_gamma_1_8"].algorithm.gate.gamma == 0.125
    dotted = stages["hpt_dotted"]
    assert dotted.algorithm.gate.gamma == 0.25
    assert (dotted.optimizer.learning_rate, dotted.optimizer.warmup_steps) == (5e-3, 2)
    assert (stages["hpt_grpo"].algorithm.name, stages["hpt_grpo"].steps, dotted.steps) == ("grpo", 7, 3)


def test_a_variants_fingerprints_are_those_of_the_stage_written_out(config: Path, tmp_path: Path) -> None:
    common = 'from = "model.base"\ndata = "data.d"\noptimizer = { learning_rate = RATE, warmup_steps = 2 }\n'
    hpt = 'algorithm = { name = "hpt", gate = { name = "switch", gamma = GAMMA } }\nsteps = 3\n'
    by_hand = (
        BASE
        + f"[train.hpt_gamma_1_8]\n{common}{hpt}".replace("GAMMA", "0.125").replace("RATE", "1e-3")
        + f"[train.hpt_dotted]\n{common}{hpt}".replace("GAMMA", "0.25").replace("RATE", "5e-3")
        + f'[train.hpt_grpo]\n{common}algorithm = "grpo"\nsteps = 7\n'.replace("RATE", "1e-3")
    )
    swept = fingerprints(load_config(config))
    assert {"train.hpt_dotted", "evaluate.hpt_dotted/samples/procedural_double", "report"} <= set(swept)
    assert swept == fingerprints(load_config(write(tmp_path, by_hand)))
    assert len({swept[key] for key in KEYS}) == len(KEYS)


def test_variants_of_a_table_keep_what_they_do_not_change(tmp_path: Path) -> None:
    gate = '{ name = "switch", gamma = 0.5 }'
    table = f'{{ name = "hpt", normalization = "script", gate = {gate}, regularizers = ["entropy"] }}'
    base = BASE.replace('algorithm = "hpt"', f"algorithm = {table}")
    variants = """
[[train.hpt.variants]]
name = "clipless"
algorithm.rl.stabilization_mask = "none"
[[train.hpt.variants]]
name = "always"
algorithm.gate = { name = "always", signals = ["rl"] }
[[train.hpt.variants]]
name = "sft"
algorithm = { name = "sft" }
[[train.hpt.variants]]
name = "plain"
algorithm.regularizers = []
"""
    stages = load_config(write(tmp_path, base + variants)).train
    clipless = stages["hpt_clipless"].algorithm
    assert (clipless.normalization, clipless.gate.gamma, clipless.rl.stabilization_mask.name) == ("script", 0.5, "none")
    # Another plug-in's table takes nothing over from the one it replaces.
    assert stages["hpt_always"].algorithm.gate.model_dump() == {"name": "always", "signals": ("rl",)}
    assert stages["hpt_sft"].algorithm.name == "sft"
    assert (len(clipless.regularizers), stages["hpt_plain"].algorithm.regularizers) == (1, ())


def test_the_stage_itself_can_be_left_out(tmp_path: Path) -> None:
    base = BASE.replace("steps = 3\n", "variants_only = true\n")
    # The steps come from the variants alone, and "hpt" still tells the gate that is varied.
    variants = VARIANTS.replace('name = "gamma_1_8"', 'name = "gamma_1_8"\nsteps = 1').replace(
        'name = "dotted"', 'name = "dotted"\nsteps = 2'
    )
    loaded = load_config(write(tmp_path, base + variants))
    assert [f"train.{name}" for name in loaded.train] == KEYS[1:]
    assert loaded.train["hpt_dotted"].algorithm.gate.gamma == 0.25
    assert list(fingerprints(loaded))[-1] == "report"


def test_overrides_reach_the_variants(config: Path) -> None:
    overrides = [
        "train.hpt.steps=5",
        "train.hpt.optimizer.warmup_steps=1",
        "train.hpt_dotted.seed=9",
        "train.hpt_gamma_1_8.algorithm.sft.aggregation=token_mean",
        "train.hpt_gamma_1_8.algorithm.rl.stabilization_mask=none",
        "train.hpt.variants.2.steps=8",
    ]
    stages = load_config(config, overrides).train
    assert [stage.steps for stage in stages.values()] == [5, 5, 5, 8]
    assert [stage.optimizer.warmup_steps for stage in stages.values()] == [1, 1, 1, 1]
    assert [stage.seed for stage in stages.values()] == [None, None, 9, None]
    varied = stages["hpt_gamma_1_8"].algorithm
    assert (varied.sft.aggregation.name, varied.rl.stabilization_mask.name, varied.gate.gamma) == (
        *("token_mean", "none"),
        0.125,
    )


@pytest.mark.parametrize("table", [False, True])
def test_an_override_below_a_default_keeps_it_without_the_stage_itself(config: Path, table: bool) -> None:
    more = ["train.hpt.variants_only=true", 'evaluate.models=["train.hpt_grpo"]'] if table else []
    stages = load_config(config, [*more, "train.hpt.algorithm.gate.gamma=0.75"]).train
    assert stages["hpt_gamma_1_8"].algorithm.gate.gamma == 0.125
    assert "hpt" in stages or more


HEAD, TAIL = BASE.split("[train.hpt]")[0], "[evaluate]" + BASE.split("[evaluate]")[1]
COMMON = """
[train."*"]
from = "model.base"
data = "data.d"
steps = 9
optimizer = { learning_rate = 1e-3, warmup_steps = 8 }
"""
OWN = """
[train.hpt]
algorithm = "hpt"
steps = 3
optimizer = { warmup_steps = 2 }
"""


def test_shared_fields_are_written_once_and_each_stage_can_override_them(config: Path, tmp_path: Path) -> None:
    apart = fingerprints(load_config(config))
    loaded = load_config(write(tmp_path, HEAD + COMMON + OWN + VARIANTS + TAIL))
    assert [f"train.{name}" for name in loaded.train] == KEYS
    assert fingerprints(loaded) == apart


def test_a_common_table_is_not_a_stage_and_applies_to_every_stage(tmp_path: Path) -> None:
    other = '[train.sft]\nalgorithm = "sft"\n'
    loaded = load_config(write(tmp_path, HEAD + COMMON + OWN + other + TAIL), ["train.*.steps=5"])
    assert {name: stage.steps for name, stage in loaded.train.items()} == {"hpt": 3, "sft": 5}
    assert loaded.train["sft"].optimizer.warmup_steps == 8


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            COMMON.replace('[train."*"]', '[train."*"]\nstps = 1') + OWN,
            ["unknown field", "stps", "did you mean 'steps'"],
        ),
        ('[train]\n"*" = 3\n' + OWN, ['train."*" = 3 is not a table', 'start it with [train."*"]']),
    ],
)
def test_a_wrong_common_table_names_field_and_remedy(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, HEAD + text + TAIL))
    for part in parts:
        assert part in str(caught.value)


def test_globs_keep_order_without_duplicates(config: Path) -> None:
    def models(value: str) -> list[str]:
        evaluate = load_config(config, [f"evaluate.models={value}"]).evaluate
        assert evaluate is not None
        return names(evaluate.models)

    assert models('["train.hpt_*"]') == KEYS[1:]
    assert models('["train.hpt_grpo", "*"]') == ["train.hpt_grpo", "model.base", *KEYS[:-1]]
    assert models('["*.hpt_[dg]*", "train.*"]') == [*KEYS[1:], "train.hpt"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (VARIANTS.replace('"dotted"', '"grpo"'), ["train.hpt.variants: 'grpo' is used twice", "rename"]),
        (VARIANTS.replace('name = "dotted"\n', ""), ["train.hpt.variants.1: the name is missing", 'add name = "..."']),
        (VARIANTS.replace('"dotted"', '"a.b"'), ["train.hpt.variants.1.name = 'a.b'", "use letters"]),
        (VARIANTS.replace('"dotted"', "3"), ["train.hpt.variants.1.name = 3", "use letters"]),
        (VARIANTS + "stps = 3\n", ["unknown field 'train.hpt_grpo.stps'", "did you mean 'steps'"]),
        (VARIANTS + "variants = []\n", ["train.hpt.variants.2: a variant cannot have variants"]),
        (VARIANTS.replace('"grpo"\nsteps', '"grop"\nsteps'), ["unknown name 'grop'", "did you mean 'grpo'"]),
        (
            VARIANTS + '[train.hpt_grpo]\nfrom = "model.base"\ndata = "data.d"\nalgorithm = "sft"\nsteps = 1\n',
            ["train.hpt.variants: the stage train.hpt_grpo already exists", "rename"],
        ),
        ("variants = 3\n", ["train.hpt.variants is not a list of tables"]),
        ("[train.hpt.variants.grpo]\nsteps = 1\n", ["train.hpt.variants.0: the name is missing"]),
        ("variants_only = true\n", ["train.hpt.variants_only leaves no stage", "add [[train.hpt.variants]]"]),
        ('variants_only = "yes"\n' + VARIANTS, ["is not a boolean"]),
        (
            VARIANTS + '[model.hpt_grpo]\nsource = "scratch"\n',
            ["'hpt_grpo' names model.hpt_grpo and train.hpt_grpo", "rename one"],
        ),
    ],
)
def test_wrong_sweeps_name_field_and_remedy(tmp_path: Path, text: str, parts: list[str]) -> None:
    base, evaluate = BASE.split("[evaluate]")
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, base + text + "[evaluate]" + evaluate))
    message = str(caught.value)
    assert "Remedy: " in message
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ('evaluate.models=["train.hpx*"]', ["evaluate.models: 'train.hpx*' matches nothing", "train.hpt_grpo"]),
        ("train.hpt_dotted.steps=0", ["--set train.hpt_dotted.steps=0", "train.hpt_dotted.steps = 0"]),
        ("train.hpt_dotted.stps=1", ["--set train.hpt_dotted.stps=1", "did you mean 'steps'"]),
        ("train.hpt_doted.steps=1", ["no stage 'train.hpt_doted'", "did you mean 'train.hpt_dotted'"]),
        ("train.hpt_dotted.algorithm.gate.gama=1", ["'train.hpt_dotted.algorithm.gate.gama'", "'gamma'"]),
        ('evaluate.models=["train.hpt_grop"]', ["'train.hpt_grop' does not exist", "did you mean 'train.hpt_grpo'"]),
        ("train.hpt.variants.7.steps=1", ["'7' is not an item"]),
    ],
)
def test_wrong_overrides_of_a_sweep(config: Path, override: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(config, [override])
    for part in parts:
        assert part in str(caught.value)


def test_a_sweep_can_be_a_prefect_parameter(config: Path) -> None:
    """A server checks parameters against the flow's schema before any of our code sees them."""
    table = tomllib.loads(config.read_text())
    kept = copy.deepcopy(table)
    schema = parameter_schema(pipeline).model_dump_for_openapi()
    assert not validate({"config": table}, schema, raise_on_error=True)
    wrong = copy.deepcopy(table)
    wrong["train"]["hpt"]["stps"] = 1
    assert validate({"config": wrong}, schema, raise_on_error=False)
    taken = pipeline.validate_parameters({"config": table})["config"]
    assert taken == load_config(config)
    assert table == kept, "the raw table is not changed"
    # What Prefect stores and a retry reads has plain stages.
    stored = json.loads(taken.model_dump_json(by_alias=True))
    assert not validate({"config": stored}, schema, raise_on_error=True)
    assert PipelineConfig.model_validate(stored) == taken
    assert "variants" not in taken.model_dump_json()


def test_stages_of_a_sweep_are_selected_like_any_other(config: Path) -> None:
    loaded = load_config(config)
    assert names(graphs.build(loaded, ["train.hpt_grpo"])) == ["model.base", "data.d", "train.hpt_grpo"]
    graph = graphs.build(loaded)
    again = plan_run(loaded, RunOptions(rerun_from="hpt_gamma_1_8")).context.rerun_from
    assert set(names(again.stages)) == {"train.hpt_gamma_1_8", "evaluate.hpt_gamma_1_8"}
    assert names(graphs.match(graph, "train.hpt_*")) == KEYS[1:]
    with pytest.raises(ConfigError, match=r"unknown stage 'train\.hpx\*'"):
        graphs.match(graph, "train.hpx*")


def test_names_do_not_enter_a_variants_fingerprint(config: Path) -> None:
    table: dict[str, Any] = tomllib.loads(config.read_text())
    before = fingerprints(PipelineConfig.model_validate(table))
    for variant in table["train"]["hpt"]["variants"]:
        variant["name"] += "-renamed"
    after = fingerprints(PipelineConfig.model_validate(table))
    assert [after[f"{key}-renamed"] for key in KEYS[1:]] == [before[key] for key in KEYS[1:]]


def test_the_shipped_ablations_are_the_papers() -> None:
    """Gate ablation and offline half of HPT on Qwen2.5-Math-1.5B (protocol of the paper's section on ablations)."""
    configs = Path(__file__).resolve().parents[3] / "configs"
    ablations, paper = load_config(configs / "ablations.toml"), load_config(configs / "qwen2.5-math-1.5b.toml")
    # The stage that is varied computes what the recipe of the main table does.
    assert ablations.train["hpt"].identity() == paper.train["hpt"].identity()
    gates = {name: stage.algorithm.gate.model_dump() for name, stage in ablations.train.items()}
    switch = {"name": "switch", "gamma": 0.0, "above": ("rl",), "otherwise": ("sft",)}
    assert {name: gate for name, gate in gates.items() if gate["name"] == "switch"} == {
        "hpt": switch,
        "hpt_gamma_1_8": switch | {"gamma": 1 / 8},
        "hpt_gamma_2_8": switch | {"gamma": 2 / 8},
        "hpt_off_policy": switch | {"otherwise": ("off",)},
        "hpt_mixed": switch | {"otherwise": ("sft", "off")},
    }
    assert {gates[name]["name"] for name in ("hpt_gate_off", "hpt_soft")} == {"gate_off", "soft"}
    # Nothing but the gate differs, and the reward of demonstrations where they are trained on by reinforcement.
    for name, stage in ablations.train.items():
        assert stage.demonstration_reward == ("graded" if "'off'" in str(gates[name]) else "one")
        same = stage.algorithm.model_copy(update={"gate": ablations.train["hpt"].algorithm.gate})
        changes = {"algorithm": same, "demonstration_reward": "one"}
        assert stage.model_copy(update=changes) == ablations.train["hpt"]
    assert ablations.evaluate is not None
    assert names(ablations.evaluate.models) == [
        *("model.base", *(f"train.{name}" for name in ablations.train), "average.gates")
    ]
