"""The command line: wrong input gives a one-line error, the right exit code, and no partial files."""

import io
import json
import re
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from rich.text import Text

from flows.cli import main
from flows.commands import common
from hpt_core.plugins import KINDS

GOOD = """
name = "demo"
[model.base]
source = { name = "scratch" }
[evaluate]
models = ["model.base"]
suites = ["procedural_double"]
max_tokens = 40
"""

TRAIN = """
[data.d]
source = { name = "procedural", rows = 8, seed = 1 }
model = "model.base"
[train.x]
from = "model.base"
data = "data.d"
algorithm = "NAME"
steps = 1
"""


class Result(NamedTuple):
    code: int
    out: str
    err: str


Hpt = Callable[..., Result]


@pytest.fixture
def hpt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Hpt:
    """The command, run in a folder of its own that holds demo.toml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HPT_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "demo.toml").write_text(GOOD)

    def run(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        captured = capsys.readouterr()
        return Result(int(caught.value.code or 0), captured.out, captured.err)

    return run


def with_model_folder(folder: Path, without: str) -> None:
    """A model folder that lacks one file, and a config that starts from it."""
    model = folder / "half"
    model.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (model / name).write_text("{}")
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(2, np.float32)}, model / "model.safetensors")
    (model / without).unlink()
    text = GOOD.replace('{ name = "scratch" }', f'{{ name = "folder", path = "{model}" }}')
    (folder / "demo.toml").write_text(text)


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["run", "gone.toml"], 2, ["there is no config gone.toml", "did you mean"]),
        (["run"], 2, ["Missing argument 'CONFIG'"]),
        (["rnu", "demo.toml"], 2, ["No such command 'rnu'"]),
        (["run", "demo.toml", "--set", "evaluate.engine=vlm"], 2, ["unknown name 'vlm'", "did you mean 'vllm'"]),
        (["run", "demo.toml", "--set", "seed=many"], 2, ["--set seed=many", "'many'", "integer"]),
        (["run", "demo.toml", "--set", "sed=1"], 2, ["unknown field 'sed'", "did you mean 'seed'"]),
        (["run", "demo.toml", "--store", "demo.toml/runs"], 2, ["demo.toml is a file", "give a folder", "--store"]),
        (["plan", "demo.toml", "--store", "demo.toml"], 2, ["demo.toml is a file", "give a folder"]),
        (["run", "demo.toml", "--store", "/proc/runs"], 1, ["cannot write to the store /proc/runs"]),
        (["run", "demo.toml", "--store", "s4://bucket/runs"], 2, ["Protocol not known: s4", "s3://"]),
        (["run", "demo.toml", "--set", "evaluate.max_tokens=100000"], 2, ["leaves no room for a prompt", "100000"]),
        (["rerun", "demo.toml", "--from", "evaluate.bse"], 2, ["unknown stage", "did you mean 'evaluate.base'"]),
        (["train", "demo.toml", "hpt"], 2, ["unknown stage 'train.hpt'"]),
        (["list", "algoritms"], 2, ["did you mean 'algorithms'"]),
        (["prompt", "demo.toml", "--benchmark", "aime23"], 2, ["unknown name 'aime23'", "did you mean 'aime2"]),
        (
            ["prompt", "demo.toml", "--benchmark", "procedural_double", "--model", "model.bse"],
            2,
            ["there is no model 'model.bse'", "did you mean 'model.base'"],
        ),
        (
            ["prompt", "demo.toml", "--benchmark", "procedural_double", "--store", "/proc/foo"],
            1,
            ["cannot write to the store /proc/foo", "--store"],
        ),
        (["models", "fetch", "smolm2"], 2, ["unknown model 'smolm2'", "did you mean 'smollm2-135m'"]),
        (["grade", "gone.jsonl", "--out", "x.parquet"], 2, ["gone.jsonl"]),
    ],
)
def test_wrong_input(hpt: Hpt, tmp_path: Path, arguments: list[str], code: int, parts: list[str]) -> None:
    result = hpt(*arguments)
    assert result.code == code, result
    for part in parts:
        assert part in result.err
    assert "Traceback" not in result.err
    assert sum(line.startswith(("error: ", "Error: ")) for line in result.err.splitlines()) <= 1
    assert not [p for p in (tmp_path / "runs").rglob("*") if p.is_file()]
    assert not (tmp_path / "x.parquet").exists()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (GOOD.replace("max_tokens = 40", "max_tokens = = 40"), "is not valid TOML"),
        (GOOD.replace('["model.base"]', "[]"), "evaluate.models"),
        (GOOD + TRAIN.replace("NAME", "hptt"), "unknown name 'hptt' in algorithms. Remedy: did you mean 'hpt'"),
        (GOOD.replace("procedural_double", "aime2024"), "unknown name 'aime2024' in benchmarks"),
        (GOOD.replace('"model.base"', '"model.bas"'), "did you mean 'model.base'"),
    ],
)
def test_wrong_configs(hpt: Hpt, tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "demo.toml").write_text(text)
    for command in ("run", "plan", "status"):
        result = hpt(command, "demo.toml")
        assert result.code == 2
        assert "demo.toml" in result.err
        assert part in result.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("missing", ["tokenizer.json", "config.json", "model.safetensors"])
def test_an_incomplete_model_folder(hpt: Hpt, tmp_path: Path, missing: str) -> None:
    with_model_folder(tmp_path, missing)
    result = hpt("run", "demo.toml")
    assert result.code == 2
    assert f"{missing} is missing" in result.err
    assert "Remedy: " in result.err
    assert not [p for p in (tmp_path / "runs").rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("resources.launcher=hpt-no-such-launcher -n 2", ["there is no command 'hpt-no-such-launcher'", "install it"]),
        ("resources.launcher=torchrun --rdzv-endpoint=$HPT_NO_SUCH", ["$HPT_NO_SUCH is not set"]),
        ("resources.processes=0", ["resources.processes = 0", "greater than or equal to 1"]),
        ('trackers=["wand"]', ["unknown name 'wand'", "did you mean 'wandb'"]),
        (
            'trackers=[{ name = "wandb" }]',
            ["trackers: wandb", "WANDB_API_KEY" if find_spec("wandb") else "pip install"],
        ),
    ],
)
def test_training_errors_are_reported_before_anything_runs(
    hpt: Hpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, parts: list[str]
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    (tmp_path / "demo.toml").write_text(GOOD + TRAIN.replace("NAME", "sft"))
    result = hpt("run", "demo.toml", "--set", override)
    assert result.code == 2
    for part in parts:
        assert part in result.err
    assert not [p for p in (tmp_path / "runs").rglob("*") if p.is_file()]


def test_missing_benchmark_data(hpt: Hpt, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    result = hpt("run", "demo.toml", "--data-dir", "data", "--set", 'evaluate.suites=["aime24"]')
    assert result.code == 2
    assert "aime24.json" in result.err


def test_a_plan_with_a_missing_model_shows_the_other_stages(hpt: Hpt, tmp_path: Path) -> None:
    with_model_folder(tmp_path, "tokenizer.json")
    result = hpt("plan", "demo.toml", "--json")
    assert result.code == 0
    stages = {s["stage"]: s for s in json.loads(result.out)["stages"]}
    assert "tokenizer.json is missing" in stages["model.base"]["problem"]
    assert stages["benchmark.procedural_double"]["state"] == "to do"
    assert stages["report"]["state"] == "blocked"


def test_plan_shows_every_stage_or_every_artifact_and_writes_nothing(hpt: Hpt, tmp_path: Path) -> None:
    result = hpt("plan", "demo.toml", "--units")
    assert result.code == 0
    for part in ("model.base", "procedural_double", "samples", "verdicts", "report", "provisional"):
        assert part in result.out
    short = hpt("plan", "demo.toml")
    (line,) = [line for line in short.out.splitlines() if line.startswith("evaluate.base")]
    assert re.search(r"to do +unknown +\d+ artifacts$", line)
    assert "samples/" not in short.out and "verdicts/" not in short.out
    assert not (tmp_path / "runs").exists()


def test_plan_fits_a_narrow_terminal_and_names_what_keeps_a_run_from_starting(
    hpt: Hpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo.toml").write_text(GOOD + TRAIN.replace("NAME", "sft"))
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=80, highlight=False, soft_wrap=True, emoji=False)
    monkeypatch.setattr(common, "OUT", console)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))  # type: ignore[attr-defined]
    result = hpt("plan", "demo.toml", "--set", "evaluate.max_tokens=100000")
    assert result.code == 0
    text = Text.from_ansi(terminal.getvalue()).plain
    stages = text.partition("\n\n")[0]
    assert "after " in stages and max(map(len, stages.splitlines())) <= 80
    assert "10 to do" not in stages and "unknown for " in text, "an empty store tells nothing about times"
    told = json.loads(hpt("plan", "demo.toml", "--json", "--set", "evaluate.max_tokens=100000").out)
    assert (told["seconds"], len(told["unknown"])) == (0, len(told["stages"]))
    for part in ("leaves no room for a prompt", "GiB of disk"):
        assert part in " ".join(told["problems"]) and part in " ".join(text.split())
    assert not (tmp_path / "runs").exists()


def test_plan_warns_of_settings_without_effect(hpt: Hpt, tmp_path: Path) -> None:
    (tmp_path / "demo.toml").write_text(GOOD + TRAIN.replace("NAME", "grpo") + "rollouts_per_question = 1\n")
    result = hpt("plan", "demo.toml")
    assert result.code == 0
    assert "warning: train.x.algorithm.rl.advantage compares the rollouts of a question" in result.err
    (text,) = json.loads(hpt("plan", "demo.toml", "--json").out)["warnings"]
    assert text.endswith("set rollouts_per_question to 2 or more")


def test_list(hpt: Hpt) -> None:
    found = json.loads(hpt("list", "--json").out)
    assert {"sft", "grpo", "dr_grpo", "hpt"} <= set(found["algorithms"])
    assert list(found) == sorted(KINDS)
    kinds = {"algorithms", "benchmarks", "engines", "gates", "models", "prompts", "publishers", "sources", "stages"}
    assert kinds | {"advantages", "aggregations", "regularizers", "trackers", "verifiers"} <= set(found)
    assert found["trackers"] == ["mlflow", "tensorboard", "wandb"]
    assert json.loads(hpt("list", "publishers", "--json").out) == found["publishers"]
    assert "aime24" in hpt("list", "benchmarks").out
    algorithms = hpt("list", "algorithms").out
    assert "dr_grpo  Dr. GRPO: GRPO without its two biases" in algorithms
    assert "sft  Supervised fine-tuning on the demonstrations\n" in algorithms


@pytest.mark.slow
def test_prompt_of_a_trained_model_uses_its_base_models_tokenizer(hpt: Hpt, tmp_path: Path) -> None:
    (tmp_path / "demo.toml").write_text(GOOD + TRAIN.replace("NAME", "sft"))
    asked = ["prompt", "demo.toml", "--benchmark", "procedural_double", "--json"]
    trained, base = hpt(*asked, "--model", "train.x"), hpt(*asked, "--model", "base")
    assert trained.code == 0, trained.err
    assert json.loads(trained.out)["model"] == "train.x"
    assert json.loads(trained.out)["text"] == json.loads(base.out)["text"]
    assert json.loads(trained.out)["tokens"] == json.loads(base.out)["tokens"] > 0
    with_bos, without = (json.loads(hpt(*asked, "--set", f"prompt.bos={bos}").out) for bos in ("always", "never"))
    assert with_bos["text"] == f"<bos>{without['text']}"
    assert with_bos["tokens"] == without["tokens"] + 1
    assert (with_bos["bos"], without["bos"]) == ("<bos>", None)


def test_grade(hpt: Hpt, tmp_path: Path) -> None:
    rows = [
        {"id": "a", "gold": "1/2", "response": "so \\boxed{0.5}", "kind": "math"},
        {"id": "b", "gold": "C", "response": "\\boxed{B}", "kind": "choice"},
        {"id": "c", "gold": "\\frac{", "response": "\\boxed{1}", "kind": "math"},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = hpt("grade", "rows.jsonl", "--out", "verdicts.parquet", "--json")
    assert result.code == 0, result.err
    outcomes = pq.read_table(tmp_path / "verdicts.parquet").column("outcome").to_pylist()
    assert outcomes == ["correct", "incorrect", "gold_error"]
    assert json.loads(result.out)["outcomes"]["gold_error"] == 1


def test_grade_of_broken_json_names_the_row(hpt: Hpt, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"id": "a", "gold": "1"\n')
    result = hpt("grade", "rows.jsonl", "--out", "verdicts.parquet")
    assert result.code == 2
    assert "rows.jsonl" in result.err
    assert not (tmp_path / "verdicts.parquet").exists()


def test_debug_shows_the_traceback(hpt: Hpt) -> None:
    from hpt_core.errors import ConfigError

    for arguments in (["run", "gone.toml", "--debug"], ["--debug", "run", "gone.toml"]):
        with pytest.raises(ConfigError):
            main(arguments)
        assert hpt("run", "gone.toml").code == 2, "it holds for one command"
    assert "--debug" in hpt("--help").out


@pytest.mark.parametrize(("name", "wrong"), [("base", "bse"), ("model.base", "model.bse")])
def test_a_model_has_the_same_names_in_every_command(
    hpt: Hpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, wrong: str
) -> None:
    """Its own and its stage's. `hpt prompt` is tested below."""
    scripted = GOOD.replace("max_tokens = 40", 'max_tokens = 40\nengine = "scripted"')
    (tmp_path / "demo.toml").write_text(scripted)
    for command in ("samples", "audit"):
        assert "there are no samples yet" in hpt(command, "demo.toml", "--model", name).err
        assert f"did you mean '{name}'" in hpt(command, "demo.toml", "--model", wrong).err
    assert f"did you mean '{name}'" in hpt("estimate", "demo.toml", wrong).err
    assert f"did you mean '{name}'" in hpt("prompt", "demo.toml", "--benchmark", "aime24", "--model", wrong).err
    goals = []

    def make(config: Any, options: Any, **_: Any) -> Any:
        goals.append(options.only)
        return {}

    monkeypatch.setattr("flows.commands.run.make", make)
    for command in ("evaluate", "regrade"):
        assert hpt(command, "demo.toml", name).code == 0
    assert goals == [("evaluate.base",), ("evaluate.base/verdicts",)]


@pytest.mark.parametrize(("name", "hint"), [("bse", "evaluate.base"), ("model.bse", "model.base")])
def test_an_evaluated_model_that_does_not_exist_has_near_matches(hpt: Hpt, name: str, hint: str) -> None:
    result = hpt("evaluate", "demo.toml", name)
    assert result.code == 2
    assert f"did you mean '{hint}'" in result.err


def test_a_full_disk_is_reported_before_anything_starts(
    hpt: Hpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    result = hpt("run", "demo.toml")
    assert result.code == 2
    assert "GiB of disk" in result.err


@pytest.mark.parametrize(
    ("arguments", "again"),
    [
        (["run", "demo.toml"], "hpt run demo.toml"),
        (
            ["run", "my demo.toml", "--force", "--set", 'evaluate.suites=["aime24"]', "--store", "a b"],
            "hpt run 'my demo.toml' --set 'evaluate.suites=[\"aime24\"]' --store 'a b'",
        ),
        (["rerun", "demo.toml", "--from", "train.x", "--data-dir", "d"], "hpt run demo.toml --data-dir d"),
        (["rerun", "--from=train.x", "demo.toml", "--store=s"], "hpt run demo.toml --store s"),
        (["rerun", "demo.toml", "--only", "train.x"], "hpt run demo.toml --only train.x"),
        (["train", "demo.toml", "x", "--force", "--strict"], "hpt train demo.toml x --strict"),
        (
            ["evaluate", "demo.toml", "--set", "seed=1", "--set", "name=x"],
            "hpt evaluate demo.toml --set seed=1 --set name=x",
        ),
        (["regrade", "demo.toml", "base"], "hpt regrade demo.toml base"),
        (["spec", "demo.toml", "train.x", "--out", "a b"], "hpt spec demo.toml train.x --out 'a b'"),
        (["plan", "demo.toml"], None),
        (["list"], None),
    ],
)
def test_after_an_interrupt_the_command_prints_how_to_continue(
    hpt: Hpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], again: str | None
) -> None:
    """Where the user stops a command, it advises one that goes on."""

    def interrupted(*_: Any, **__: Any) -> NoReturn:
        raise KeyboardInterrupt

    for name in ("demo.toml", "my demo.toml"):
        (tmp_path / name).write_text(GOOD.replace("procedural_double", "aime24") + TRAIN.replace("NAME", "sft"))
    monkeypatch.setattr(common.STATE, "resume", None)
    for module in ("api", "commands.plan", "commands.spec"):
        monkeypatch.setattr(f"flows.{module}.plan_run", interrupted)
    monkeypatch.setattr("flows.commands.look.summary", interrupted)
    result = hpt(*arguments)
    assert result.code == 130
    if again is None:
        assert result.err == "\ninterrupted\n"
    else:
        assert result.err == f"\ninterrupted: finished work is kept; continue with `{again}`\n"


def test_a_store_without_runs_says_so(hpt: Hpt, tmp_path: Path) -> None:
    (tmp_path / "runs" / "by-name").mkdir(parents=True)
    done = hpt("runs", "--store", str(tmp_path / "runs"))
    assert (done.code, done.out) == (0, "")
    assert f"no run is recorded in {tmp_path / 'runs'}" in done.err
