"""Grids and seeds: a member of a sweep equals the same stage written out by hand."""

import os
import shutil
import tomllib
from pathlib import Path

import pytest

from flows.load import load_config
from flows.pipeline import pipeline
from flows.run import plan_run
from hpt_core.errors import ConfigError
from tasks.execution.config import PipelineConfig

HEAD = """
name = "demo"
[model.base]
source = { name = "scratch" }
[data.d]
source = { name = "procedural", rows = 8, seed = 1 }
model = "model.base"
"""
TRAIN = """
[train.hpt]
from = "model.base"
data = "data.d"
algorithm = "hpt"
steps = 3
"""
NEXT = """
[train.next]
from = "train.hpt"
data = "data.d"
algorithm = "sft"
steps = 2
"""
EVALUATE = """
[evaluate]
models = ["model.base", "train.hpt"]
suites = ["procedural_double"]
"""


def load(folder: Path, text: str) -> PipelineConfig:
    file = folder / "demo.toml"
    file.write_text(f'store = "{folder / "runs"}"\n' + text)
    return load_config(file)


def fingerprints(config: PipelineConfig) -> dict[str, str]:
    plan = plan_run(config).plan
    assert not plan.problems
    return {str(p.target.key): p.target.fingerprint for p in plan.planned}


def test_a_grid_with_seeds_equals_its_stages_written_out(tmp_path: Path) -> None:
    sweep = "grid = { optimizer.learning_rate = [1e-3, 5e-4], algorithm.gate.gamma = 0.125 }\nseeds = [1, 2]\n"
    swept = load(tmp_path, HEAD + TRAIN + sweep + EVALUATE)
    names = [f"hpt_learning_rate_{rate}_gamma_0_125_seed_{seed}" for rate in ("0_001", "0_0005") for seed in (1, 2)]
    assert list(swept.train) == names
    assert list(map(str, swept.evaluate.models)) == ["model.base", *(f"train.{name}" for name in names)]
    fields = "algorithm.gate.gamma = 0.125\noptimizer.learning_rate = RATE\nseed = SEED\n"
    table = TRAIN.replace('algorithm = "hpt"', 'algorithm.name = "hpt"') + fields
    by_hand = "".join(
        table.replace("train.hpt", f"train.{name}").replace("SEED", name[-1]).replace("RATE", rate)
        for name, rate in zip(names, ("1e-3", "1e-3", "5e-4", "5e-4"), strict=True)
    )
    evaluate = EVALUATE.replace('"train.hpt"', '"train.*"')
    assert fingerprints(swept) == fingerprints(load(tmp_path, HEAD + by_hand + evaluate))


def test_the_seed_of_a_sweep_is_the_pipelines_seed(tmp_path: Path) -> None:
    """A later sweep over seeds reuses a model that was trained with `seed = 2`."""
    swept = fingerprints(load(tmp_path, HEAD + TRAIN + "seeds = [1, 2]\n"))
    single = fingerprints(load(tmp_path, "seed = 2\n" + HEAD + TRAIN))
    assert swept["train.hpt_seed_2"] == single["train.hpt"]


def test_stages_that_build_on_a_sweep_are_multiplied_and_keep_its_seed(tmp_path: Path) -> None:
    average = '[average.soup]\nmodels = "train.hpt"\n'
    last = NEXT.replace("next", "last").replace("train.hpt", "train.next").replace("steps", "seed = 9\nsteps")
    models = EVALUATE.replace('"train.hpt"', '"train.next", "average.soup", "train.last_grpo*"')
    variants = '[[train.last.variants]]\nname = "grpo"\nalgorithm = "grpo"\n'
    config = load(tmp_path, HEAD + TRAIN + "seeds = [1, 2]\n" + last + variants + NEXT + average + models)
    assert {name: (str(stage.from_), stage.seed) for name, stage in config.train.items()} == {
        "hpt_seed_1": ("model.base", 1),
        "hpt_seed_2": ("model.base", 2),
        "last_seed_1": ("train.next_seed_1", 9),
        "last_seed_2": ("train.next_seed_2", 9),
        "last_grpo_seed_1": ("train.next_seed_1", 9),
        "last_grpo_seed_2": ("train.next_seed_2", 9),
        "next_seed_1": ("train.hpt_seed_1", 1),
        "next_seed_2": ("train.hpt_seed_2", 2),
    }
    assert list(map(str, config.average["soup"].models)) == ["train.hpt_seed_1", "train.hpt_seed_2"]
    assert list(map(str, config.evaluate.models))[1:] == [
        *("train.next_seed_1", "train.next_seed_2", "average.soup"),
        *("train.last_grpo_seed_1", "train.last_grpo_seed_2"),
    ]


def test_inputs_of_one_sweep_are_joined_and_not_crossed(tmp_path: Path) -> None:
    """Data is prepared with the tokenizer of its own model, which training requires."""
    grid = "grid.source.layers = [1, 2]\n"
    config = load(tmp_path, HEAD.replace("[data.d]", grid + "[data.d]") + TRAIN + "seeds = [3, 4]\n" + EVALUATE)
    assert list(config.model) == ["base_layers_1", "base_layers_2"]
    assert {name: (str(s.from_), str(s.data), s.seed) for name, s in config.train.items()} == {
        f"hpt_layers_{n}_seed_{seed}": (f"model.base_layers_{n}", f"data.d_layers_{n}", seed)
        for n in (1, 2)
        for seed in (3, 4)
    }


def test_seeds_that_every_stage_has_are_joined_along_a_chain(tmp_path: Path) -> None:
    config = load(tmp_path, HEAD + '[train."*"]\nseeds = [1, 2]\n' + TRAIN + NEXT + EVALUATE)
    assert {name: str(stage.from_) for name, stage in config.train.items()} == {
        "hpt_seed_1": "model.base",
        "hpt_seed_2": "model.base",
        "next_seed_1": "train.hpt_seed_1",
        "next_seed_2": "train.hpt_seed_2",
    }


def test_values_of_every_type_make_names(tmp_path: Path) -> None:
    grid = """grid = { algorithm = ["hpt", { name = "sft" }], gradient_checkpointing = [true, false] }"""
    config = load(tmp_path, HEAD + TRAIN + grid + EVALUATE)
    assert list(config.train) == [
        f"hpt_algorithm_{algorithm}_gradient_checkpointing_{flag}"
        for algorithm in ("hpt", "sft")
        for flag in ("true", "false")
    ]
    both = """grid = { algorithm.gate.otherwise = ["off", ["sft", "off"]] }"""
    config = load(tmp_path, HEAD + TRAIN + both + EVALUATE)
    assert list(config.train) == ["hpt_otherwise_off", "hpt_otherwise_sft_off"]


WATCHED = (
    HEAD
    + EVALUATE.replace('"train.hpt"', '"model.mine"')
    + """
[model.mine]
source.name = "folder"
grid.source.path = { glob = "FOLDER/step-*" }
"""
)


def test_folders_that_match_a_pattern_are_members(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ckpts"
    text = WATCHED.replace("FOLDER", str(folder))
    with pytest.raises(ConfigError, match=r"model\.mine\.grid\.source\.path: nothing complete matches .*hpt watch"):
        load(tmp_path, text)
    for name in ("step-90", "step-100", "step-8", ".step-7", "step-changing", "step-partial"):
        shutil.copytree(tiny_model, folder / name)
        for file in (folder / name).iterdir():
            os.utime(file, (1e9, 1e9))
    (folder / "step-partial" / "model.safetensors").unlink()
    (folder / "step-changing" / "config.json").touch()
    (folder / "step-empty").mkdir()
    config = load(tmp_path, text)
    names = ["mine_step-8", "mine_step-90", "mine_step-100"]
    assert list(config.model) == ["base", *names]
    assert [str(model) for model in config.evaluate.models] == ["model.base", *(f"model.{name}" for name in names)]
    assert str(config.model["mine_step-8"].source.path) == str(folder / "step-8")


def test_a_sweep_can_be_a_prefect_parameter(tmp_path: Path) -> None:
    loaded = load(tmp_path, HEAD + TRAIN + "seeds = [1, 2]\n" + NEXT + EVALUATE)
    table = tomllib.loads((tmp_path / "demo.toml").read_text())
    assert pipeline.validate_parameters({"config": table})["config"] == loaded
    assert PipelineConfig.model_validate(loaded.model_dump(by_alias=True, mode="json")) == loaded


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (TRAIN + "seeds = [1, 1]\n", ["train.hpt.seeds = [1, 1] is not a list of different whole numbers"]),
        (TRAIN + "seeds = [1.5]\n", ["train.hpt.seeds", "write train.hpt.seeds = [1, 2, 3]"]),
        (TRAIN + "grid = 3\n", ["train.hpt.grid = 3 is not a table", "train.hpt.grid.steps = [50, 100]"]),
        (TRAIN + "grid.steps = []\n", ["train.hpt.grid.steps = [] is not a list of values"]),
        (TRAIN + "grid.steps.glob = 3\n", ["train.hpt.grid.steps.glob = 3 is not a pattern"]),
        (TRAIN + "grid.stps = [1, 2]\n", ["unknown field 'train.hpt_stps_1.stps'", "did you mean 'steps'"]),
        (TRAIN + "grid.steps = [1, 0]\n", ["train.hpt_steps_0.steps = 0"]),
        (TRAIN + "grid.steps = [1, 1]\n", ["train.hpt.grid: two stages would be called 'steps_1'", "variants"]),
        (TRAIN + f"grid.data = ['{'d' * 95}']\n", ["is a name of", "use at most 100"]),
        (
            TRAIN + "grid.steps = [1]\n" + NEXT.replace("next", "hpt_steps_1").replace('train.hpt"', 'model.base"'),
            ["train.hpt: the stage train.hpt_steps_1 already exists", "use variants"],
        ),
        (
            TRAIN + "seeds = [1]\n" + NEXT + "seeds = [2]\n",
            ["train.next.seeds has 2, which is no seed of what it starts from", "remove it"],
        ),
        (
            HEAD.partition("[data.d]")[2].join(["[data.other]", ""]) + "seeds = [1]\n" + TRAIN,
            ["data.other.seeds: a stage of the kind data has no seed", "use grid"],
        ),
        (TRAIN + "export_every = 1\n", ["export_every and export_to belong together", "set export_to too"]),
        (TRAIN.replace("model.base", "train.hpt") + "seeds = [1]\n", ["train.hpt"]),
    ],
)
def test_wrong_sweeps_name_field_and_remedy(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, HEAD + text + EVALUATE)
    for part in [*parts, "Remedy: "]:
        assert part in str(caught.value)


def test_a_member_records_its_place_in_the_sweeps_and_identities_do_not(tmp_path: Path) -> None:
    """Also that of a stage which only builds on a member. The catalog groups models by it."""
    config = load(tmp_path, HEAD + TRAIN + "grid.steps = [3, 4]\nseeds = [1, 2]\n" + NEXT)
    stages = config.model_dump(mode="json", by_alias=True)["train"]
    assert stages["next_steps_3_seed_2"]["swept"] == {"train.hpt.grid": "steps_3", "train.hpt.seeds": "seed_2"}
    assert stages["hpt_steps_4_seed_1"]["swept"] == {"train.hpt.grid": "steps_4", "train.hpt.seeds": "seed_1"}
    assert "swept" not in load(tmp_path, HEAD + TRAIN).model_dump(mode="json", by_alias=True)["train"]["hpt"]
    again = PipelineConfig.model_validate(config.model_dump(mode="json", by_alias=True))
    assert fingerprints(again) == fingerprints(config)


def test_a_label_ends_as_the_name_does_and_decides_nothing(tmp_path: Path) -> None:
    plain = TRAIN + "grid.steps = [3, 4]\nseeds = [1, 2]\n[[train.hpt.variants]]\nname = 'long'\n"
    config = load(tmp_path, HEAD + plain.replace("steps = 3", 'steps = 3\nlabel = "HPT (ours)"'))
    labels = {str(key): config.label_of(key) for key in config.models()}
    assert labels["train.hpt_steps_3_seed_2"] == "HPT (ours)_steps_3_seed_2"
    assert labels["train.hpt_long_steps_4_seed_1"] == "HPT (ours)_long_steps_4_seed_1"
    assert labels["model.base"] == "base"
    without = load(tmp_path, HEAD + plain)
    assert "'label'" not in str(without.model_dump(mode="json", by_alias=True))
    assert fingerprints(config) == fingerprints(without)


@pytest.mark.parametrize(
    ("label", "part"),
    [
        ("base", "'base' names model.base and train.hpt"),
        (" HPT", "' HPT' has spaces at its ends"),
        ("a\\u202eb", "a character that cannot be shown"),
        ("", "at least 1 character"),
    ],
)
def test_a_wrong_label_is_an_error(tmp_path: Path, label: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, HEAD + TRAIN + f'label = "{label}"\n')
    assert part in str(caught.value)
