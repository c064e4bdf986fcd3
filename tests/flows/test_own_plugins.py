"""Plug-ins in files beside a config: an edited part of the estimator, and a user's kinds of stages."""

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("plugins")

MODEL = """
name = "own"
trackers = []
[model.base]
source = { name = "scratch", layers = 1, hidden_size = 32, intermediate_size = 32, heads = 1, max_positions = 512 }
"""
TRAINED = """
[data.d]
source = { name = "procedural", rows = 16, seed = 1 }
model = "model.base"
[train.mine]
from = "model.base"
data = "data.d"
algorithm = { name = "sft", sft = { aggregation = "my_parts:Halved" } }
steps = 2
questions_per_step = 4
sampling = { max_tokens = 40 }
[train.other]
from = "model.base"
data = "data.d"
algorithm = "sft"
steps = 2
questions_per_step = 4
sampling = { max_tokens = 40 }
"""
PARTS = '''
"""Half of the mean over tokens."""

from hpt_core.upge.aggregation.token_mean import TokenMean
from my_numbers import HALF


class Halved(TokenMean):
    """What the class is."""

    def weights(self, rows):
        # Why it does so.
        return tuple(weight * HALF for weight in super().weights(rows))
'''


def plan(hpt: Any) -> dict[str, tuple[str, str]]:
    """State and text by stage, for stages of one artifact."""
    found = json.loads(hpt("plan", "tiny.toml", "--json").stdout)
    return {s["stage"]: (s["state"], s["artifacts"][0]["text"]) for s in found["stages"] if len(s["artifacts"]) == 1}


def links(hpt: Any) -> dict[str, tuple[Path, int]]:
    """Where each name leads, and the link's own inode."""
    names = hpt.store / "by-name"
    found = (path for path in names.rglob("*") if path.is_symlink())
    return {str(path.relative_to(names)): (path.resolve(), path.lstat().st_ino) for path in found}


def test_an_edited_part_reruns_only_the_stages_that_use_it(fresh: Any) -> None:
    fresh.write(MODEL + TRAINED)
    parts, numbers = fresh.folder / "my_parts.py", fresh.folder / "my_numbers.py"
    parts.write_text(PARTS)
    numbers.write_text("HALF = 0.5\n")
    fresh("train", "tiny.toml")
    first = links(fresh)
    assert set(first) == {"model.base", "data.d", "train.mine", "train.other"}
    assert {state for state, _ in plan(fresh).values()} == {"done"}
    manifest = json.loads((first["train.mine"][0] / "manifest.json").read_text())
    assert {"my_parts", "my_numbers"} <= set(manifest["versions"])

    parts.write_text(PARTS.replace("# Why it does so.", "# Another reason.").replace("What the class is", "It halves"))
    again = fresh("train", "tiny.toml")
    assert again.stderr.count(": reused") == len(first)
    assert links(fresh) == first, "a second run keeps the links as they are"

    parts.write_text(PARTS.replace("* HALF", "* HALF * 2"))
    states = plan(fresh)
    assert states["train.mine"] == ("to do", "changed: my_parts.py")
    assert {stage for stage, (state, _) in states.items() if state != "done"} == {"train.mine"}
    shown = fresh("plan", "tiny.toml").stdout
    assert "changed: my_parts.py" in shown.partition("\ntrain.mine ")[2].splitlines()[1]
    done = fresh("train", "tiny.toml")
    assert "train.mine: done" in done.stderr and done.stderr.count(": reused") == len(first) - 1
    second = links(fresh)
    assert second["train.mine"][0] != first["train.mine"][0], "the name leads to what was made anew"
    assert {name: second[name] for name in second if name != "train.mine"} == {
        name: first[name] for name in first if name != "train.mine"
    }

    # What it imports of the user's own counts as much; taken back, what was made before is there still.
    numbers.write_text("HALF = 0.25\n")
    assert plan(fresh)["train.mine"] == ("to do", "changed: my_numbers.py")
    numbers.write_text("HALF = 0.5\n")
    parts.write_text(PARTS)
    assert plan(fresh)["train.mine"] == ("done", "")
    fresh("train", "tiny.toml")
    assert links(fresh)["train.mine"][0] == first["train.mine"][0], "a name leads to what was used last"


STAGES = '''
"""Kinds of stages of a user's own."""

import shutil
from typing import Annotated

from hpt_core.artifacts import Cost
from hpt_core.files import write_text
from tasks.execution.artifact import Stage, Step
from tasks.execution.keys import MODEL, Output, Reference, StageKey
from tasks.execution.kind import NamedStages, StageConfig

NOTE = Output("note", "note.txt")


class NoteConfig(StageConfig):
    """A note on models."""

    models: tuple[Annotated[StageKey, Reference(MODEL)], ...]
    """Models that it is about."""
    text: str = "a note"
    """What it says."""


class NoteStep(Step):
    kind = "note"
    produces = (NOTE,)

    def __init__(self, stage, config):
        super().__init__(stage)
        self.config = config

    def targets(self, artifacts, context):
        inputs = {f"model {i}": (artifacts[key], MODEL) for i, key in enumerate(self.config.models)}
        return [self.target(self.config.identity(), inputs)]

    def make(self, jobs, artifacts, context):
        (job,) = jobs
        names = ", ".join(path.name for path in sorted(artifacts[self.config.models[0]].path(MODEL).iterdir()))
        write_text(job.slot.output / NOTE.path, f"{self.config.text}: {names}")
        return Cost()


class NoteKind(NamedStages):
    """Notes on models."""

    config = NoteConfig
    command = ("note", "Write notes")

    def stage(self, key, config, pipeline):
        return Stage(key, config.models, (NoteStep(key, config),))


class CopyConfig(StageConfig):
    """A copy of a model."""

    model: Annotated[StageKey, Reference(MODEL)]
    """What is copied."""


class CopyStep(Step):
    kind = "copy"
    produces = (MODEL,)

    def __init__(self, stage, config):
        super().__init__(stage)
        self.config = config

    def targets(self, artifacts, context):
        return [self.target(self.config.identity(), {"model": (artifacts[self.config.model], MODEL)})]

    def make(self, jobs, artifacts, context):
        (job,) = jobs
        shutil.copytree(artifacts[self.config.model].path(MODEL), job.slot.output / MODEL.path)
        return Cost()


class CopyKind(NamedStages):
    """Copies of models."""

    config = CopyConfig
    produces = (MODEL,)

    def stage(self, key, config, pipeline):
        return Stage(key, (config.model,), (CopyStep(key, config),))


NOTES = NoteKind()
COPIES = CopyKind()
'''
OWN = """
["my_stages:COPIES".second]
model = "model.base"
["my_stages:NOTES".first]
models = ["model.base", "my_stages:COPIES.*"]
text = "one"
[["my_stages:NOTES".first.variants]]
name = "again"
text = "two"
"""
EVALUATED = """
[evaluate]
models = ["model.base", "my_stages:COPIES.second"]
suites = ["procedural_double"]
engine = { name = "scripted", otherwise = "\\\\boxed{3}" }
dtype = "float32"
limit = 2
k = 1
max_tokens = 40
"""
FIRST, AGAIN, SECOND = "my_stages:NOTES.first", "my_stages:NOTES.first_again", "my_stages:COPIES.second"


def test_stage_kinds_beside_the_config_are_planned_run_and_reported(fresh: Any) -> None:
    fresh.write(MODEL + OWN + EVALUATED)
    file = fresh.folder / "my_stages.py"
    file.write_text(STAGES)
    states = plan(fresh)
    assert {states[stage][0] for stage in (FIRST, AGAIN, SECOND)} == {"to do"}
    done = fresh("run", "tiny.toml")
    for stage in (FIRST, AGAIN, SECOND, "evaluate.base", "report"):
        assert f"{stage}: done" in done.stderr
    # The copy's weights are those of the model, whose samples are there.
    assert "evaluate.second: reused" in done.stderr
    named = fresh.store / "by-name"
    assert (named / FIRST / "output" / "note.txt").read_text().startswith("one: ")
    assert (named / AGAIN / "output" / "note.txt").read_text().startswith("two: ")
    assert "model.safetensors" in (named / FIRST / "output" / "note.txt").read_text()
    # A model from any kind of stage is in the table, under its stage's name.
    assert "| second |" in (named / "report" / "output" / "leaderboard.md").read_text()
    assert (named / "evaluate.second" / "verdicts" / "procedural_double" / "output").is_dir()
    assert json.loads((named / FIRST / "manifest.json").read_text())["config"] == {"text": "one"}

    assert f"{FIRST}: reused" in fresh("run", "tiny.toml").stderr
    rerun = fresh("rerun", "tiny.toml", "--from", FIRST)
    assert f"{FIRST}: done" in rerun.stderr and f"{AGAIN}: reused" in rerun.stderr
    changed = fresh("plan", "tiny.toml", "--set", "my_stages:NOTES.first.text=three", "--json").stdout
    assert {s["stage"]: s["artifacts"][0]["text"] for s in json.loads(changed)["stages"] if s["state"] == "to do"} == {
        FIRST: "changed: text",
        "report": "changed: notes",  # the page of a run with changes says so
    }
    file.write_text(STAGES.replace('f"{self.config.text}: {names}"', 'f"{self.config.text}: {names}!"'))
    states = plan(fresh)
    # Both kinds are in the edited file, so the artifacts of both are produced again.
    assert states[SECOND] == ("to do", "changed: my_stages.py")
    assert states[FIRST][0] == states[AGAIN][0] == "to do"


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        ('["my_stages:NOTES".x]\nmodels = ["model.bse"]\n', ["my_stages:NOTES.x.models", "did you mean 'model.base'"]),
        ('["my_stages:NOTES".x]\nmodls = []\n', ["unknown field 'my_stages:NOTES.x.modls'", "did you mean 'models'"]),
        (
            '["my_stages:NOTES".x]\ntext = "a"\n',
            ["field 'my_stages:NOTES.x.models' is missing", "Models that it is about"],
        ),
        ('["my_stages:NOTS".x]\n', ["my_stages has no 'NOTS'", "did you mean 'NOTES'"]),
        ('["my_stages:NoteKind".x]\n', ["'my_stages:NoteKind' is not one of stages", "an instance"]),
        ('["my_stges:NOTES".x]\n', ["'my_stges:NOTES' cannot be imported", "HPT_PLUGINS"]),
        (
            '["my_stages:COPIES".base]\nmodel = "model.base"\n',
            ["names model.base and my_stages:COPIES.base", "rename one"],
        ),
    ],
)
def test_errors_in_the_table_of_a_users_stage_kind_name_field_and_remedy(
    fresh: Any, table: str, parts: list[str]
) -> None:
    fresh.write(MODEL + table)
    (fresh.folder / "my_stages.py").write_text(STAGES)
    refused = fresh("plan", "tiny.toml", code=2)
    assert "Traceback" not in refused.stderr
    for part in parts:
        assert part in refused.stderr
