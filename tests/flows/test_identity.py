"""An edit of a plug-in reruns exactly the stages that use it; an edit of a comment reruns none.

Every kind of plug-in is tested, with a shipped one and with a user's.
"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.graph import Plan
from flows.run import plan_run
from hpt_core import code
from hpt_core.base import merge
from hpt_core.plugins import KINDS, add_folder
from tasks.execution.config import PipelineConfig, pipeline_type
from tasks.train import TrainStep

MODULE = '''
"""Plug-ins of a user's own."""

from typing import ClassVar

from benchmarks.procedural import ProceduralQuestions
from benchmarks.protocols.paper import Paper
from benchmarks.publishers.static_site import StaticSite
from benchmarks.suite import Suite
from hpt_core.algorithms.hpt import HPT
from hpt_core.data.procedural import double
from hpt_core.data.procedural.base import Chain
from hpt_core.data.sources.procedural import ProceduralProblems
from hpt_core.gates.switch import Switch
from hpt_core.models.scratch import ScratchModel
from hpt_core.prompts.plain import PlainText
from hpt_core.rollout.scripted import Scripted
from hpt_core.trackers.tensorboard import TensorBoard
from hpt_core.upge.advantage.group_mean import GroupMean
from hpt_core.upge.aggregation.token_mean import TokenMean
from hpt_core.upge.likelihood_gradient.plain import PlainLikelihood
from hpt_core.upge.reference_policy.old import OldPolicy
from hpt_core.upge.regularizers.entropy import EntropyBonus
from hpt_core.upge.stabilization_mask.none import NoMask
from hpt_core.verifiers.math import Math
from tasks.execution.artifact import Stage, Step
from tasks.execution.keys import ArtifactKey
from tasks.execution.kind import NamedStages, StageConfig
from tasks.notifiers.webhook import Webhook


class MyVerifier(Math):
    pass


CHANGED = 1
FAMILY = Chain((double.OPERATION,))
SUITE = Suite(
    name="mine", title="Mine", group="in", rows=4, kind="my_KIND:MyVerifier", k=1,
    source=ProceduralQuestions(families=("double",), difficulties=(2,), rows=4),
)


class NoteStep(Step):
    kind = "note"

    def targets(self, artifacts, context):
        return [self.target({}, {})]

    def make(self, jobs, artifacts, context):
        raise NotImplementedError


class Notes(NamedStages):
    """Notes."""

    config = StageConfig

    def stage(self, key, config, pipeline):
        return Stage(key, (), (NoteStep(key),))


NOTES = Notes()
'''
CLASSES = {
    "algorithms": "HPT",
    "gates": "Switch",
    "stabilization_masks": "NoMask",
    "reference_policies": "OldPolicy",
    "advantages": "GroupMean",
    "likelihood_gradients": "PlainLikelihood",
    "aggregations": "TokenMean",
    "regularizers": "EntropyBonus",
    "engines": "Scripted",
    "prompts": "PlainText",
    "protocols": "Paper",
    "models": "ScratchModel",
    "sources": "ProceduralProblems",
    "publishers": "StaticSite",
    "trackers": "TensorBoard",
    "notifiers": "Webhook",
    "verifiers": "MyVerifier",
}
"""Kind -> the shipped class that the user's class derives from, or the code of the user's own class."""
TINY = {"name": "scratch", "layers": 1, "hidden_size": 32, "intermediate_size": 32, "heads": 1}
PIPELINE: dict[str, Any] = {
    "name": "identity",
    "prompt": "plain",
    "model": {"base": {"source": TINY}},
    "data": {"d": {"source": {"name": "procedural", "rows": 8, "seed": 1}, "model": "model.base"}},
    "train": {
        "hpt": {
            "from": "model.base",
            "data": "data.d",
            "algorithm": {"name": "hpt", "regularizers": ["entropy"]},
            "steps": 1,
            "engine": "scripted",
        },
        "sft": {"from": "model.base", "data": "data.d", "algorithm": "sft", "steps": 1},
    },
    "evaluate": {"models": ["train.hpt"], "suites": ["procedural_double"], "engine": "scripted"},
    "publish": [{"name": "static_site", "path": "site"}],
    "notify": ["webhook"],
}
RL = ("train", "hpt", "algorithm", "rl")
EVERYWHERE = {"data.d", "train.hpt", "train.sft", "samples"}
PLACES: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "algorithms": (("train", "hpt", "algorithm"), {"train.hpt"}),
    "gates": (("train", "hpt", "algorithm", "gate"), {"train.hpt"}),
    "stabilization_masks": ((*RL, "stabilization_mask"), {"train.hpt"}),
    "reference_policies": ((*RL, "reference_policy"), {"train.hpt"}),
    "advantages": ((*RL, "advantage"), {"train.hpt"}),
    "likelihood_gradients": ((*RL, "likelihood_gradient"), {"train.hpt"}),
    "aggregations": ((*RL, "aggregation"), {"train.hpt"}),
    "regularizers": (("train", "hpt", "algorithm", "regularizers"), {"train.hpt"}),
    "engines": (("evaluate", "engine"), {"samples"}),
    "prompts": (("prompt",), EVERYWHERE),
    "models": (("model", "base", "source"), {"model.base"}),
    "sources": (("data", "d", "source"), {"data.d"}),
    "families": (("data", "d", "source", "families"), {"data.d"}),
    "verifiers": (("train", "hpt", "rewards"), {"train.hpt"}),
    "protocols": (("evaluate", "protocol"), {"samples"}),
    "benchmarks": (("evaluate", "suites"), {"benchmark.mine", "verdicts"}),
    "publishers": (("publish",), {"publish.Mine"}),
    "trackers": (("trackers",), set()),
    "notifiers": (("notify",), set()),
}
"""Kind -> the field that names the plug-in, and the stages or kinds of artifacts that depend on it."""


def test_every_kind_has_both_cases() -> None:
    pipeline_type({})
    assert set(PLACES) | {"stages"} == set(OURS) == set(KINDS)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """Write a user's module for one kind and return its name."""
    kind = request.node.callspec.params["kind"]
    name = f"my_{kind}"
    base = CLASSES.get(kind)
    own = f"\n\nclass Mine({base}):\n    def added(self):\n        return 1\n" if base else ""
    (tmp_path / f"{name}.py").write_text(MODULE.replace("my_KIND", name) + own)
    monkeypatch.setenv("HPT_PLUGINS", "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    add_folder(tmp_path)
    yield name
    sys.modules.pop(name, None)


def config_with(kind: str, module: str) -> PipelineConfig:
    """The pipeline with the user's plug-in of a kind."""
    path, _ = PLACES[kind]
    named: Any = f"{module}:Mine"
    if kind == "models":
        named = {**TINY, "name": named}
    if kind == "sources":
        named = {"name": named, "rows": 8, "seed": 1}
    if kind == "families":
        named = [f"{module}:FAMILY"]
    if kind == "verifiers":
        named = [{}, {"verifier": named}]
    if kind == "benchmarks":
        named = [f"{module}:SUITE"]
    if kind == "publishers":
        named = [{"name": named, "path": "site"}]
    if kind in ("regularizers", "trackers"):
        named = [named]
    table: Any = named
    for key in reversed(path):
        table = {key: table}
    return PipelineConfig.model_validate(merge(PIPELINE, table))


def planned(config: PipelineConfig, store: Path) -> dict[str, list[dict[str, str]]]:
    """Versions and code hashes in fingerprints, by stage or, for evaluations, by kind of artifact; "" is the step's."""
    plan: Plan = plan_run(config.model_copy(update={"store": str(store)})).plan
    assert not plan.problems, plan.problems
    found: dict[str, list[dict[str, str]]] = {}
    for p in plan.planned:
        versions = {"": p.target.version, **p.target.versions}
        found.setdefault(p.target.key.kind or str(p.target.key.stage), []).append(versions)
    return found


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("kind", sorted(PLACES))
def test_editing_a_users_plug_in_reruns_the_stages_that_use_it(kind: str, module: str, tmp_path: Path) -> None:
    config = config_with(kind, module)
    before = planned(config, tmp_path / "runs")
    file = tmp_path / f"{module}.py"
    text = file.read_text()
    file.write_text(text.replace('"""Plug-ins of a user\'s own."""', '"""Another word."""') + "\n# a comment\n")
    assert changed(before, planned(config, tmp_path / "runs")) == set()
    file.write_text(text.replace("CHANGED = 1", "CHANGED = 2"))
    assert changed(before, planned(config, tmp_path / "runs")) == PLACES[kind][1]


OURS = {
    "algorithms": ("hpt_core.algorithms.hpt", {"train.hpt"}),
    "gates": ("hpt_core.gates.switch", {"train.hpt"}),
    "stabilization_masks": ("hpt_core.upge.stabilization_mask.clip", {"train.hpt"}),
    "reference_policies": ("hpt_core.upge.reference_policy.old", {"train.hpt"}),
    "advantages": ("hpt_core.upge.advantage.group_mean", {"train.hpt"}),
    "likelihood_gradients": ("hpt_core.upge.likelihood_gradient.plain", {"train.hpt", "train.sft"}),
    "aggregations": ("hpt_core.upge.aggregation.fixed_length", {"train.hpt"}),
    "regularizers": ("hpt_core.upge.regularizers.entropy", {"train.hpt"}),
    "engines": ("hpt_core.rollout.scripted", {"train.hpt", "samples"}),
    "prompts": ("hpt_core.prompts.plain", EVERYWHERE),
    "models": ("hpt_core.models.scratch", {"model.base"}),
    "sources": ("hpt_core.data.sources.procedural", {"data.d"}),
    "families": ("hpt_core.data.procedural.double", {"data.d", "benchmark.procedural_double"}),
    "verifiers": ("hpt_core.verifiers.math", {"data.d", "train.hpt", "verdicts"}),
    "protocols": ("benchmarks.protocols.paper", {"samples"}),
    "benchmarks": ("benchmarks.suites.procedural_double", {"benchmark.procedural_double"}),
    "publishers": ("benchmarks.publishers.static_site", {"publish.static_site"}),
    "trackers": ("hpt_core.trackers.tensorboard", set()),
    "notifiers": ("tasks.notifiers.webhook", set()),
    # Its steps have versions instead: a file holds a whole kind of stage, and few of its edits change a result.
    "stages": ("tasks.train", set()),
}
"""Kind -> a shipped plug-in that the pipeline uses, and the stages that depend on it. Training uses the graders of its
data's rows."""


@pytest.mark.parametrize("kind", sorted(OURS))
def test_editing_a_shipped_plug_in_reruns_the_stages_that_use_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, users = OURS[kind]
    original = Path(str(importlib.import_module(module).__file__))
    edited = tmp_path / "edited" / original.name
    edited.parent.mkdir()
    find = code.source_file
    monkeypatch.setattr(code, "_KNOWN", {})  # it watches the files, not where they are found
    monkeypatch.setattr(code, "source_file", lambda name: edited if name == module else find(name))
    # The default protocol has no code of its own in a fingerprint.
    protocol = {"evaluate": {"protocol": "paper"}} if kind == "protocols" else {}
    config = PipelineConfig.model_validate(merge(PIPELINE, protocol))
    edited.write_text(original.read_text())
    before = planned(config, tmp_path / "runs")
    edited.write_text(original.read_text() + "\n# a comment\n")
    assert changed(before, planned(config, tmp_path / "runs")) == set()
    edited.write_text(original.read_text() + "\nCHANGED = 2\n")
    # Before the data are there nobody knows which graders training takes.
    unknown = {"train.hpt"} if kind == "verifiers" else set()
    assert changed(before, planned(config, tmp_path / "runs")) == users - unknown


def test_raising_the_version_of_a_shipped_step_reruns_its_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PipelineConfig.model_validate(PIPELINE)
    before = planned(config, tmp_path / "runs")
    monkeypatch.setattr(TrainStep, "version", f"{TrainStep.version}.1")
    assert changed(before, planned(config, tmp_path / "runs")) == {"train.hpt", "train.sft"}


def test_editing_a_users_stage_kind_reruns_its_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "my_stages.py"
    file.write_text(MODULE.replace("my_KIND", "my_stages"))
    monkeypatch.setenv("HPT_PLUGINS", "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    add_folder(tmp_path)
    config = PipelineConfig.model_validate({**PIPELINE, "my_stages:NOTES": {"a": {}}})
    before = planned(config, tmp_path / "runs")
    assert "my_stages:NOTES.a" in before
    file.write_text(file.read_text() + "\n# a comment\n")
    assert changed(before, planned(config, tmp_path / "runs")) == set()
    file.write_text(file.read_text().replace("raise NotImplementedError", "return None"))
    assert changed(before, planned(config, tmp_path / "runs")) == {"my_stages:NOTES.a"}
    sys.modules.pop("my_stages")
