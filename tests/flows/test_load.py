import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.load import apply, load_config, toml_value
from hpt_core.errors import ConfigError

GOOD = """
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
[evaluate]
models = ["model.base", "train.hpt"]
suites = ["aime24"]
[[publish]]
name = "static_site"
path = "site"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "demo.toml"
    file.write_text(GOOD)
    return file


def test_overrides_take_toml_values_in_order(config: Path) -> None:
    loaded = load_config(
        config,
        [
            "train.hpt.steps=7",
            "train.hpt.steps=8",
            "train.hpt.optimizer.learning_rate=1e-3",
            'evaluate.suites=["aime25"]',
            "name=other",
            "train.hpt.algorithm.gate.gamma=0.25",
            "publish.0.path=elsewhere",
        ],
        store="there",
        data_dir=Path("/data"),
    )
    assert loaded.train["hpt"].steps == 8
    assert loaded.train["hpt"].optimizer.learning_rate == 1e-3
    assert loaded.evaluate is not None
    assert loaded.evaluate.suites == ("aime25",)
    assert loaded.name == "other"
    assert loaded.train["hpt"].algorithm.model_dump()["gate"]["gamma"] == 0.25
    assert loaded.publish[0].model_dump()["path"] == Path("elsewhere")
    assert (loaded.store, loaded.data_dir) == ("there", Path("/data"))


def test_a_stage_may_be_made_of_overrides(config: Path) -> None:
    overrides = ["from=model.base", "data=data.d", "algorithm=sft", "steps=2"]
    loaded = load_config(config, [f"train.more.{override}" for override in overrides])
    assert loaded.train["more"].steps == 2


@pytest.mark.parametrize(("text", "value"), [("none", None), ('"none"', "none"), ("None", "None")])
def test_none_stands_for_none(text: str, value: str | None) -> None:
    assert toml_value(text) == value


def test_none_takes_a_value_of_the_file_back(config: Path) -> None:
    config.write_text(GOOD.replace("steps = 3", "steps = 3\noptimizer = { gradient_clip = 2.0 }\nseed = 5"))
    loaded = load_config(config, ["train.hpt.optimizer.gradient_clip=none", "train.hpt.seed=none"]).train["hpt"]
    assert (loaded.optimizer.gradient_clip, loaded.seed) == (None, None)


@pytest.mark.parametrize("field", ["stabilization_mask", "stabilization_mask.name"])
@pytest.mark.parametrize("algorithm", ['"hpt"', '{ name = "hpt", rl = { stabilization_mask = "clip" } }'])
def test_none_names_the_variant_where_there_is_one(config: Path, field: str, algorithm: str) -> None:
    config.write_text(GOOD.replace('algorithm = "hpt"', f"algorithm = {algorithm}"))
    loaded = load_config(config, [f"train.hpt.algorithm.rl.{field}=none"])
    assert loaded.train["hpt"].algorithm.model_dump()["rl"]["stabilization_mask"] == {"name": "none"}


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("train.hpt.stps=3", ["--set train.hpt.stps=3", "unknown field 'train.hpt.stps'", "did you mean 'steps'"]),
        ("tain.hpt.steps=3", ["unknown field 'tain", "did you mean 'train'"]),
        ("train.hpt.steps=many", ["--set train.hpt.steps=many", "'many'", "integer"]),
        ("train.hpt.steps=0", ["train.hpt.steps = 0", "greater than or equal to 1"]),
        ("train.hpt.algorithm=grop", ["unknown name 'grop'", "did you mean 'grpo'"]),
        ("train.hpt.from=model.bse", ["train.hpt.from", "'model.bse' does not exist", "did you mean 'model.base'"]),
        ('evaluate.suites=["aime42"]', ["unknown benchmark 'aime42'", "'aime24'"]),
        ("train.hpt.optimizer.lr=1", ["unknown field 'train.hpt.optimizer.lr'", "learning_rate"]),
        ("train.hpt.algorithm.gate.gama=1", ["unknown field", "gama", "'gamma'"]),
        ('train.hpt.engine="endpoint"', ["train.hpt", "takes no weights", 'set engine to "vllm"']),
        ("train.hpt.sampling.temperature=0", ["train.hpt", "sampling.temperature is 0", "set sampling.temperature"]),
        ("train.hpt.sampling.top_p=0.9", ["train.hpt", "sampling.top_p is 0.9", "set sampling.top_p to 1"]),
        ("train.hpt.optimizer.betas=[0.9, 1.0]", ["train.hpt.optimizer.betas.1 = 1.0", "less than 1"]),
        ("train.hpt.optimizer.eps=0", ["train.hpt.optimizer.eps = 0", "greater than 0"]),
        ("model.base.rope_theta=0", ["model.base.rope_theta = 0", "greater than 0"]),
        ("model.base.max_position_embeddings=0", ["model.base.max_position_embeddings = 0", "or equal to 1"]),
        ("steps", ["not of the form a.b=c"]),
        ("name.x=1", ["name is a value, not a table"]),
        ("publish.0.pth=x", ["--set publish.0.pth=x", "unknown field 'publish.0.pth'", "did you mean 'path'"]),
        ("train.hpx.steps=3", ["--set train.hpx.steps=3: there is no stage 'train.hpx'", "did you mean 'train.hpt'"]),
        ("model.bse.rope_theta=1", ["there is no stage 'model.bse'", "did you mean 'model.base'"]),
        ("data.nope.limit=1", ["there is no stage 'data.nope'", "known: model.base, data.d, train.hpt"]),
        ("train.hpt.steps=none", ["--set train.hpt.steps=none", "train.hpt.steps = None", "integer"]),
        ("publish.3.path=x", ["'3' is not an item"]),
    ],
)
def test_wrong_overrides_name_field_value_and_remedy(config: Path, override: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(config, [override])
    message = str(caught.value)
    assert "Remedy: " in message
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (GOOD.replace("steps = 3", "steps = "), ["demo.toml is not valid TOML", "line 12"]),
        (GOOD.replace("steps = 3\n", ""), ["demo.toml", "'train.hpt.steps' is missing", "Rollout steps"]),
        (GOOD.replace('name = "demo"', 'name = "De mo"'), ["name = 'De mo'", "pattern"]),
        (GOOD.replace('from = "model.base"', 'from = "train.hpt"'), ["cycle"]),
        (
            GOOD.replace('model = "model.base"\n[train', 'model = "model.other"\n[train')
            + '[model.other]\nsource = { name = "scratch", seed = 2 }\n',
            ["train.hpt starts from 'model.base'", "data.d.model is 'model.other'", "set data.d.model to 'model.base'"],
        ),
    ],
)
def test_wrong_files(config: Path, text: str, parts: list[str]) -> None:
    config.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(config)
    for part in parts:
        assert part in str(caught.value)


def test_a_missing_file_lists_its_neighbors(config: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no config .*dmo\.toml.*did you mean .*demo\.toml"):
        load_config(config.with_name("dmo.toml"))


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: p.write_bytes(b"\xff\xfe\x00")])
def test_what_is_no_text_file(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "x.toml")
    with pytest.raises(ConfigError):
        load_config(tmp_path / "x.toml")


@given(st.integers(-(2**40), 2**40) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False))
def test_toml_values_are_read_as_toml(value: float) -> None:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    assert toml_value(text) == tomllib.loads(f"x = {text}")["x"] == value


@given(
    st.from_regex(r"[a-z][a-z ._-]{0,20}", fullmatch=True).filter(
        lambda t: t.strip() not in ("true", "false", "inf", "nan", "none")
    )
)
def test_words_are_strings(text: str) -> None:
    table: dict[str, Any] = {}
    apply(table, f"a.b={text}")
    assert table == {"a": {"b": text.strip()}}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("report.published=qwen2.5-math-7", "did you mean 'qwen2.5-math-7b'"),
        ("report.baseline=train.hp", "did you mean 'train.hpt'"),
        ('evaluate.suites=["aime24","aime24"]', "'aime24' is given twice"),
        ('evaluate.models=["train.hpt","train.hpt"]', "'train.hpt' is given twice"),
        ("train.hpt.sampling.top_p=0.9", "sampling.top_p is 0.9"),
    ],
)
def test_what_would_fail_in_the_last_stage_fails_at_load(config: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(config, [override])
    assert said in str(error.value)
