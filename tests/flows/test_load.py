import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.load import apply, load_config, toml_value, validated
from hpt_core.base import named_fields
from hpt_core.errors import ConfigError
from tasks.execution.config import PipelineConfig

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


def test_overrides_are_toml_values_applied_in_order(config: Path) -> None:
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
    assert [suite.name for suite in loaded.evaluate.suites] == ["aime25"]
    assert loaded.name == "other"
    assert loaded.train["hpt"].algorithm.model_dump()["gate"]["gamma"] == 0.25
    assert loaded.publish[0].model_dump()["path"] == Path("elsewhere")
    assert (loaded.store, loaded.data_dir) == ("there", Path("/data"))


def test_paths_replace_home_and_variables(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("WHERE", "/data")
    config.write_text(GOOD.replace('path = "site"', 'path = "~/site"'))
    loaded = load_config(
        config,
        ['data.d.source={name="jsonl", file="$WHERE/a.jsonl"}', "data_dir=${WHERE}/copies"],
        store="$HOME/runs",
    )
    assert (loaded.store, loaded.data_dir) == ("/home/me/runs", Path("/data/copies"))
    assert loaded.data["d"].source.model_dump()["file"] == Path("/data/a.jsonl")
    assert loaded.publish[0].model_dump()["path"] == Path("/home/me/site")
    assert PipelineConfig.model_validate(loaded.model_dump(mode="json", by_alias=True)) == loaded


@pytest.mark.parametrize(
    "field", ["store", "data_dir", "publish.0.path", "data.d.source.file", "model.base.source.path"]
)
def test_a_variable_that_is_not_set_is_named_with_its_field(
    config: Path, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    made = GOOD.replace('{ name = "scratch" }', '{ name = "folder", path = "m" }')
    config.write_text(made.replace('{ name = "procedural", rows = 8, seed = 1 }', '{ name = "jsonl", file = "a" }'))
    with pytest.raises(ConfigError) as caught:
        load_config(config, [f"{field}=$UNSET/x"])
    assert f"{field} = '$UNSET/x': $UNSET is not set. Remedy: set it in the environment" in str(caught.value)


@pytest.mark.parametrize(
    ("plugin", "field"),
    [
        ('name = "s3"\nurl = "file://$UNSET/site"', "publish.0.url"),
        ('name = "s3"\nurl = "s3://x"\nendpoint_url = "$UNSET"', "publish.0.endpoint_url"),
        ('name = "huggingface"\nrepo = "a/b"\nendpoint = "https://me:secret@$UNSET"', "publish.0.endpoint"),
    ],
)
def test_a_variable_of_an_address_is_refused_at_load(
    config: Path, plugin: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    config.write_text(GOOD.replace('name = "static_site"\npath = "site"', plugin))
    with pytest.raises(ConfigError, match=rf"{field} = '.*\$UNSET.*': \$UNSET is not set") as caught:
        load_config(config)
    assert "secret" not in str(caught.value)


def test_a_base_may_be_named_with_a_variable(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASES", str(tmp_path))
    (tmp_path / "below").mkdir()
    child = tmp_path / "below" / "child.toml"
    child.write_text('extends = "$BASES/demo.toml"\nseed = 3')
    assert (load_config(child).seed, load_config(child).name) == (3, "demo")
    child.write_text('extends = "$NO_BASES/demo.toml"')
    monkeypatch.delenv("NO_BASES", raising=False)
    with pytest.raises(ConfigError, match=r"child\.toml: extends = '\$NO_BASES/demo\.toml': \$NO_BASES is not set"):
        load_config(child)


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 10_000])
def test_toml_that_python_cannot_read_is_an_error(config: Path, value: str) -> None:
    config.write_text(f"seed = {value}\n{GOOD}")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_config(config)


def test_overrides_can_define_a_stage(config: Path) -> None:
    overrides = ["from=model.base", "data=data.d", "algorithm=sft", "steps=2"]
    loaded = load_config(config, [f"train.more.{override}" for override in overrides])
    assert loaded.train["more"].steps == 2


@pytest.mark.parametrize(("text", "value"), [("none", None), ('"none"', "none"), ("None", "None")])
def test_toml_value_reads_none(text: str, value: str | None) -> None:
    assert toml_value(text) == value


@pytest.mark.parametrize(
    ("table", "override", "expected"),
    [
        ({"prompt": "chat"}, "prompt.bos=always", {"prompt": {"name": "chat", "bos": "always"}}),
        ({}, "prompt.bos=always", {"prompt": {"bos": "always"}}),
        (
            {"evaluate": {"prompt": "chat"}},
            "evaluate.prompt.bos=never",
            {"evaluate": {"prompt": {"name": "chat", "bos": "never"}}},
        ),
        ({"publish": ["static_site"]}, "publish.0.path=x", {"publish": [{"name": "static_site", "path": "x"}]}),
        ({"publish": "static_site"}, "publish.path=x", {"publish": {"name": "static_site", "path": "x"}}),
        ({"trackers": ["mlflow"]}, "trackers.0.experiment=x", {"trackers": [{"name": "mlflow", "experiment": "x"}]}),
    ],
)
def test_a_field_of_a_plugin_in_its_short_form_is_set(
    table: dict[str, Any], override: str, expected: dict[str, Any]
) -> None:
    apply(table, override)
    assert table == expected


def test_none_sets_a_value_of_the_file_to_none(config: Path) -> None:
    config.write_text(GOOD.replace("steps = 3", "steps = 3\noptimizer = { gradient_clip = 2.0 }\nseed = 5"))
    loaded = load_config(config, ["train.hpt.optimizer.gradient_clip=none", "train.hpt.seed=none"]).train["hpt"]
    assert (loaded.optimizer.gradient_clip, loaded.seed) == (None, None)


@pytest.mark.parametrize("field", ["stabilization_mask", "stabilization_mask.name"])
@pytest.mark.parametrize("algorithm", ['"hpt"', '{ name = "hpt", rl = { stabilization_mask = "clip" } }'])
def test_none_selects_a_variant_named_none(config: Path, field: str, algorithm: str) -> None:
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
        (
            'evaluate.suites=["aime42"]',
            ["evaluate.suites.0 = 'aime42': unknown name 'aime42' in benchmarks. ", "'aime24'"],
        ),
        ("train.hpt.optimizer.lr=1", ["unknown field 'train.hpt.optimizer.lr'", "learning_rate"]),
        ("train.hpt.algorithm.gate.gama=1", ["unknown field", "gama", "'gamma'"]),
        ('train.hpt.engine="endpoint"', ["train.hpt", "does not accept weights", 'set engine to "vllm"']),
        ("train.hpt.sampling.temperature=0", ["train.hpt", "sampling.temperature is 0", "set sampling.temperature"]),
        ("train.hpt.sampling.top_p=0.9", ["train.hpt", "sampling.top_p is 0.9", "set sampling.top_p to 1"]),
        ("train.hpt.optimizer.betas=[0.9, 1.0]", ["train.hpt.optimizer.betas.1 = 1.0", "less than 1"]),
        ("train.hpt.optimizer.learning_rate=inf", ["train.hpt.optimizer.learning_rate = inf", "a finite number"]),
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
        (GOOD.replace("steps = 3\n", ""), ["demo.toml", "'train.hpt.steps' is missing", "Training steps"]),
        (
            GOOD.replace('name = "demo"', 'name = "De mo"'),
            ["name = 'De mo': 'De mo' is not a valid name", "use letters"],
        ),
        (GOOD.replace('from = "model.base"', 'from = "train.hpt"'), ["cycle"]),
        (GOOD.replace("[data.d]", '[data."../d"]'), ["data.../d: '../d' is not a valid name", "use letters"]),
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


def test_a_file_may_begin_with_a_byte_order_mark(config: Path) -> None:
    config.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_config(config).name == "demo"


def test_a_missing_file_lists_its_neighbors(config: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no config .*dmo\.toml.*did you mean .*demo\.toml"):
        load_config(config.with_name("dmo.toml"))


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: p.write_bytes(b"\xff\xfe\x00")])
def test_a_file_that_is_not_text_is_refused(tmp_path: Path, make: Any) -> None:
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
        ('evaluate.suites=["aime24","aime24"]', "'aime24' is listed twice"),
        ('evaluate.models=["train.hpt","train.hpt"]', "'train.hpt' is listed twice"),
        ("train.hpt.sampling.top_p=0.9", "sampling.top_p is 0.9"),
    ],
)
def test_errors_of_the_last_stage_are_found_at_load(config: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(config, [override])
    assert said in str(error.value)


def write(folder: Path, **files: str) -> Path:
    """Files by name, written into a folder; the folder."""
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


SHARED = GOOD.replace('name = "demo"', 'name = "shared"\nseed = 3')


def test_a_config_overrides_its_base(tmp_path: Path) -> None:
    above = """
extends = "shared.toml"
name = "mine"
[train.hpt]
steps = 9
algorithm.gate.gamma = 0.5
[train.grpo]
from = "model.base"
data = "data.d"
algorithm = "grpo"
steps = 1
[evaluate]
models = ["train.grpo"]
[[publish]]
name = "static_site"
path = "elsewhere"
"""
    write(tmp_path, shared=SHARED, mine=above)
    loaded = load_config(tmp_path / "mine.toml")
    assert (loaded.name, loaded.seed) == ("mine", 3)
    # Tables are merged field by field; what is no table is replaced, a list as a whole.
    hpt = loaded.train["hpt"]
    assert (hpt.steps, str(hpt.from_), hpt.algorithm.name, hpt.algorithm.gate.gamma) == (9, "model.base", "hpt", 0.5)
    assert list(loaded.train) == ["hpt", "grpo"]
    assert [str(model) for model in loaded.evaluate.models] == ["train.grpo"]
    assert [suite.name for suite in loaded.evaluate.suites] == ["aime24"]
    assert [p.model_dump()["path"] for p in loaded.publish] == [Path("elsewhere")]
    assert load_config(tmp_path / "shared.toml").train["hpt"].steps == 3, "the base itself is as it was"


def test_later_bases_win_and_the_file_wins_over_all(tmp_path: Path) -> None:
    write(
        tmp_path,
        shared=SHARED,
        longer="[train.hpt]\nsteps = 50\noptimizer = { learning_rate = 1e-4 }\n[data.d]\nlimit = 4\n",
        shorter="[train.hpt]\nsteps = 2\n[data.d]\nngram = 9\n",
        mine='extends = ["shared.toml", "longer.toml", "shorter.toml"]\nname = "mine"\n[data.d]\nngram = 7\n',
    )
    loaded = load_config(tmp_path / "mine.toml")
    assert (loaded.train["hpt"].steps, loaded.train["hpt"].optimizer.learning_rate) == (2, 1e-4)
    assert (loaded.data["d"].limit, loaded.data["d"].ngram) == (4, 7)


def test_a_base_finds_its_own_bases_by_relative_path(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    write(tmp_path / "base", shared=SHARED, fast='extends = "shared.toml"\n[train.hpt]\nsteps = 1\n')
    # What two bases have in common may come twice.
    write(tmp_path, mine='extends = ["base/shared.toml", "base/fast.toml"]\nname = "mine"\n')
    loaded = load_config(tmp_path / "mine.toml")
    assert (loaded.name, loaded.seed, loaded.train["hpt"].steps) == ("mine", 3, 1)


def test_a_plug_in_of_the_base_is_replaced_with_its_fields(tmp_path: Path) -> None:
    write(
        tmp_path,
        shared=SHARED.replace('algorithm = "hpt"', 'algorithm = { name = "hpt", gate = { gamma = 0.5 } }'),
        mine='extends = "shared.toml"\n[train.hpt]\nalgorithm = "grpo"\n',
        same='extends = "shared.toml"\n[train.hpt]\nalgorithm = { normalization = "script" }\n',
    )
    assert load_config(tmp_path / "mine.toml").train["hpt"].algorithm.name == "grpo"
    same = load_config(tmp_path / "same.toml").train["hpt"].algorithm
    assert (same.name, same.gate.gamma, same.normalization) == ("hpt", 0.5, "script")


def test_overrides_win_over_all_files(tmp_path: Path) -> None:
    write(tmp_path, shared=SHARED, mine='extends = "shared.toml"\n[train.hpt]\nsteps = 9\n')
    overrides = ["train.hpt.steps=5", "train.hpt.algorithm.gate.gamma=0.25", "data.d.limit=2"]
    loaded = load_config(tmp_path / "mine.toml", overrides)
    assert (loaded.train["hpt"].steps, loaded.data["d"].limit) == (5, 2)
    assert (loaded.train["hpt"].algorithm.name, loaded.train["hpt"].algorithm.gate.gamma) == ("hpt", 0.25)


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        ({"mine": 'extends = "mine.toml"\n'}, ["mine.toml extends itself", 'remove one "extends"']),
        (
            {"mine": 'extends = "a.toml"\n', "a": 'extends = ["b.toml"]\n', "b": 'extends = "a.toml"\n'},
            ["a.toml extends itself"],
        ),
        (
            {"mine": 'extends = "sharde.toml"\n', "shared": SHARED},
            ["there is no config", "sharde.toml", "did you mean", "shared.toml"],
        ),
        ({"mine": 'extends = "gone/base.toml"\n'}, ["there is no config", "gone/base.toml"]),
        ({"mine": "extends = 3\n"}, ["mine.toml: extends = 3 is not a path", 'write extends = "base.toml"']),
        ({"mine": 'extends = ["shared.toml", 3]\n', "shared": SHARED}, ["extends = ['shared.toml', 3] is not a path"]),
        ({"mine": 'extends = { a = "shared.toml" }\n'}, ["extends = {'a': 'shared.toml'} is not a path"]),
        ({"mine": 'extends = "shared.toml"\n', "shared": "steps = \n"}, ["shared.toml is not valid TOML", "line 1"]),
        (
            {"mine": 'extends = "shared.toml"\n[train.hpt]\nstps = 1\n', "shared": SHARED},
            ["unknown field 'train.hpt.stps'", "mean 'steps'"],
        ),
        ({"mine": GOOD + '[train.hpt.extends]\na = "b.toml"\n'}, ["unknown field 'train.hpt.extends'"]),
    ],
)
def test_wrong_bases_are_refused(tmp_path: Path, files: dict[str, str], parts: list[str]) -> None:
    write(tmp_path, **files)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "mine.toml")
    message = str(caught.value)
    assert "Remedy: " in message and "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("old", "new", "field", "count"),
    [
        ("[[publish]]", "[publish]", "publish", 1),
        ('suites = ["aime24"]', 'suites = "aime24"', "evaluate.suites", 1),
        ('models = ["model.base", "train.hpt"]', 'models = "model.base"', "evaluate.models", 1),
        ('models = ["model.base", "train.hpt"]', 'models = "*.*"', "evaluate.models", 2),
        ("steps = 3", "steps = 3\nrewards = { weight = 2.0 }", "train.hpt.rewards", 1),
        ("rows = 8", "rows = 8, difficulties = 2", "data.d.source.difficulties", 1),
        (
            'algorithm = "hpt"',
            'algorithm = { name = "hpt", regularizers = "entropy" }',
            "train.hpt.algorithm.regularizers",
            1,
        ),
        ('name = "demo"', 'name = "demo"\ntrackers = "tensorboard"', "trackers", 1),
        ("steps = 3", 'steps = 3\nvariants = { name = "short", steps = 1 }', "train", 2),
    ],
)
def test_a_single_value_is_a_list_of_one(config: Path, old: str, new: str, field: str, count: int) -> None:
    config.write_text(GOOD.replace(old, new))
    value: Any = load_config(config)
    for name in field.split("."):
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    assert isinstance(value, tuple | dict) and len(value) == count


STAGE = "write [train.NAME] with a name of your choice, and all fields of the stage below it"


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        (
            "steps = 3",
            "steps = [3]",
            ["train.hpt.steps: a list is given", "takes one value", "steps = VALUE, of type integer"],
        ),
        ("steps = 3", "steps = { a = 3 }", ["train.hpt.steps: a table is given", "takes one value"]),
        ("steps = 3", 'steps = 3\ndtype = ["float32"]', ["dtype: a list is given", '"float32" or "bfloat16"']),
        (
            "steps = 3",
            'steps = 3\noptimizer = "adam"',
            ["optimizer = 'adam': a value is given", "write [train.hpt.optimizer]"],
        ),
        (
            "steps = 3",
            "steps = 3\noptimizer = [{}]",
            ["write [train.hpt.optimizer] instead of [[train.hpt.optimizer]]"],
        ),
        ("steps = 3", "steps = 3\noptimizer = { betas = 0.9 }", ["betas = 0.9", "of type list of 2: number, number"]),
        (
            "[evaluate]",
            "[[evaluate]]",
            ["evaluate: a list of tables is given", "write [evaluate] instead of [[evaluate]]"],
        ),
        (
            "[train.hpt]",
            "[[train.hpt]]",
            ["train.hpt: a list of tables is given", "write [train.hpt] instead of [[train.hpt]]"],
        ),
        ("[train.hpt]", "[train]", ["train.from = 'model.base': a value is given", "write [train.NAME]"]),
        ("[model.base]", "[[model]]", ["model: a list of tables is given", "write [model.NAME] instead of [[model]]"]),
        ("[train.hpt]", "[train]\nsampling = { max_tokens = 5 }", ["train.sampling is a field of a stage", STAGE]),
        ("[train.hpt]", "[[train.variants]]\nsteps = 2\n[train.hpt]", ["train.variants is a field of a stage", STAGE]),
        ("[model.base]", "[model]", ["model.source is a field of a stage", "write [model.NAME]"]),
        ("[data.d]", "[data]", ["data.source is a field of a stage", "write [data.NAME]"]),
        (
            "[evaluate]",
            '[average]\nmodels = ["train.hpt"]\n[evaluate]',
            ["average.models is a field", "[average.NAME]"],
        ),
        (
            "[evaluate]",
            "[sampling]\ntop_k = 3\n[evaluate]",
            ["unknown field 'sampling'", "write it below [train.NAME]"],
        ),
        ("[train.hpt]", "[train.data]\nstps = 3", ["unknown field 'train.data.stps'", "did you mean 'steps'"]),
        (
            "[[publish]]\nname",
            "[publish.static_site]\nname2",
            ['write [[publish]] and name = "static_site" below it, instead of [publish.static_site]'],
        ),
        (
            'suites = ["aime24"]',
            'suites = { name = "aime24", k = 3 }',
            ["evaluate.suites.0: a table is given, but this field takes names", 'write "aime24"'],
        ),
        ('["aime24"]', "5", ["evaluate.suites.0 = 5: 5 is not a name. Remedy: known: aime24"]),
        ('["aime24"]', "[]", ["evaluate.suites: no value is given", "write evaluate.suites = [VALUE, ...]"]),
        (
            "steps = 3",
            'steps = 3\nrewards = "math"',
            ["rewards.0 = 'math': a value is given, but this field takes tables", "the fields verifier, weight"],
        ),
        ("steps = 3", "steps = 3\nrewards = [[]]", ["rewards.0: a list is given, but this field takes tables"]),
        (
            "steps = 3",
            "steps = 3\noptimizer = { betas = 0.9 }",
            ["betas = 0.9: one value is given, but this field takes several", "optimizer.betas = [VALUE, VALUE]"],
        ),
        (
            "steps = 3",
            "steps = 3\noptimizer = { betas = [0.9] }",
            ["optimizer.betas: one value is given", "optimizer.betas = [VALUE, VALUE]"],
        ),
        ("steps = 3", "steps = 3\noptimizer = { betas = [0.1, 0.2, 0.3] }", ["3 values are given", "[VALUE, VALUE]"]),
        (
            "[evaluate]",
            '[evaluate]\nengine = { name = "scripted", responses = { a = "b" } }',
            ["responses.a = 'b': one value is given", "responses.a = [VALUE, ...], of type list of string"],
        ),
        (
            "[evaluate]",
            '[evaluate]\nengine = { name = "scripted", responses = 5 }',
            ["responses = 5: a value is given", "write [evaluate.engine.responses], and"],
        ),
        (
            '[model.base]\nsource = { name = "scratch" }',
            "[model]",
            ["model: the table is empty", "write [model.NAME], and its fields below it"],
        ),
        ("steps = 3", f"steps = 3\ndtype = '{'x' * 300}'", [f"dtype = '{'x' * 99}...: "]),
    ],
)
def test_a_value_of_the_wrong_shape_gets_a_remedy(config: Path, old: str, new: str, parts: list[str]) -> None:
    config.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_config(config)
    for part in parts:
        assert part in str(caught.value)


WRONG: tuple[Any, ...] = ([], {}, [{}], 7, "words", True)


@pytest.mark.parametrize(
    "section", ["", "train.hpt", "train.hpt.optimizer", "train.hpt.sampling", "data.d", "evaluate", "report"]
)
def test_no_field_answers_a_wrong_type_without_a_remedy(section: str) -> None:
    table = tomllib.loads(GOOD)
    config = PipelineConfig.model_validate(table)
    for name in section.split(".") if section else ():
        config = config[name] if isinstance(config, dict) else getattr(config, name)  # type: ignore[assignment]
    for name in named_fields(type(config)):
        for value in WRONG:
            changed = tomllib.loads(GOOD)
            place = changed
            for part in section.split(".") if section else ():
                place = place.setdefault(part, {})
            place[name] = value
            try:
                validated(changed, "x.toml")
            except ConfigError as error:
                assert "input should be a valid" not in error.cause or "of type" in error.remedy, error


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"aime24"', '"AIME24"', "did you mean 'aime24'"),
        ('"aime24"', '"MATH500"', "did you mean 'math500'"),
        ('algorithm = "hpt"', 'algorithm = "HPT"', "did you mean 'hpt'"),
        ('algorithm = "hpt"', 'algorithm = { name = "hpt", gate = "SWITCH" }', "did you mean 'switch'"),
        ('"scratch"', '"Scratch"', "did you mean 'scratch'"),
        ('"static_site"', '"STATIC_SITE"', "did you mean 'static_site'"),
        ('"procedural"', '"PROCEDURAL"', "did you mean 'procedural'"),
        ('"train.hpt"]', '"TRAIN.HPT"]', "did you mean 'train.hpt'"),
        ("steps = 3", "STEPS = 3", "did you mean 'steps'"),
        ("[evaluate]", "[EVALUATE]", "did you mean 'evaluate'"),
        ('data = "data.d"', 'data = "d"', "did you mean 'data.d'"),
        ("steps = 3", 'steps = 3\ndtype = "BFLOAT16"', "did you mean 'bfloat16'"),
        ("steps = 3", 'steps = 3\nengine = "VLLM"', "did you mean 'vllm'"),
    ],
)
def test_wrong_case_gets_the_near_match(config: Path, old: str, new: str, said: str) -> None:
    config.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_config(config)
    assert said in str(caught.value)


BAD_NAMES = [
    "a*",
    "a?",
    "a[b]",
    "*x",
    "../../x",
    "",
    "a/b",
    "a b",
    ".",
    "..",
    "-x",
    "é",
    "a\nb",
    "a:b",
    "x" * 101,
    "x" * 300,
]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("table", ["model", "data", "train"])
def test_names_that_no_file_or_glob_can_have_are_refused(table: str, name: str) -> None:
    """A model with such a name would be left out of the evaluation, or written outside the store."""
    found = tomllib.loads(GOOD)
    found[table][name] = found[table].popitem()[1]
    for evaluated in ([f"{table}.{name}"], ["train.*"], ["model.*"]):
        found["evaluate"]["models"] = evaluated
        with pytest.raises(ConfigError) as caught:
            validated(found, "x.toml")
        assert "\n" not in str(caught.value)
        assert table == "data" or "use letters" in str(caught.value) or "use at most" in str(caught.value)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_the_same_names_are_refused_for_pipelines_and_variants(name: str) -> None:
    found = tomllib.loads(GOOD)
    with pytest.raises(ConfigError, match="use "):
        validated(found | {"name": name}, "x.toml")
    found["train"]["hpt"]["variants"] = [{"name": name}]
    with pytest.raises(ConfigError, match="use "):
        validated(found, "x.toml")


@pytest.mark.parametrize("name", ["a", "A-b_3", "x" * 100])
def test_names_of_letters_digits_and_dashes_are_accepted(name: str) -> None:
    found = tomllib.loads(GOOD.replace("train.hpt", f"train.{name}"))
    assert list(validated(found | {"name": f"{name[:90]}-2.5"}, "x.toml").train) == [name]
