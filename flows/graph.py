"""The graph of a pipeline's stages, and the plan of a run: which artifacts exist and which are missing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from hpt_core.errors import ConfigError, HPTError, near
from tasks.execution.artifact import Artifact, Artifacts, Stage, Step, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import StageKey
from tasks.execution.stage import Check, check

Graph = Mapping[StageKey, Stage]
"""Stages by key, each after the stages it depends on."""


def build(config: PipelineConfig, goals: Iterable[str] = ()) -> Graph:
    """The stages that the goals match (see `match`) and their dependencies.

    Without goals, every goal stage of the pipeline; models and data that no stage uses are left out. An unknown key
    raises ConfigError with near matches.
    """
    every = {stage.key: stage for kind in config.known_kinds for stage in kind.stages(config)}
    wanted = [found for goal in goals for found in match(every, goal)]
    # A config without training or evaluation only prepares models and data.
    wanted = wanted or [key for key in every if config.kind_of(key).is_goal] or list(every)
    return _closure(every, wanted)


def match(stages: Graph, text: str) -> list[StageKey]:
    """The stages that `text` names: one stage, all stages of a kind ("train"), or matches of a glob ("train.hpt*")."""
    found = [key for key in stages if str(key) == text]
    found = found or [key for key in stages if key.kind == text or fnmatchcase(str(key), text)]
    if not found:
        raise ConfigError(f"unknown stage {text!r}", near(text, tuple(map(str, stages))))
    return found


def following(stages: Graph, start: Iterable[StageKey]) -> frozenset[StageKey]:
    """The stages in `start` and every stage that depends on them."""
    found = set(start)
    for key, stage in stages.items():
        if found & set(stage.after):
            found.add(key)
    return frozenset(found)


def _closure(stages: Graph, goals: Iterable[StageKey]) -> Graph:
    """The goals and their dependencies: dependencies first, otherwise in the config's order."""
    found: dict[StageKey, Stage] = {}

    def visit(key: StageKey) -> None:
        if key not in found:
            for needed in stages[key].after:
                visit(needed)
            found[key] = stages[key]

    for goal in goals:
        visit(goal)
    return found


@dataclass(frozen=True)
class Planned:
    """One artifact of a plan."""

    step: Step
    target: Target
    check: Check
    needs: str = ""
    """What producing it requires, such as a download."""


@dataclass
class Plan:
    """The state of every artifact of a graph."""

    graph: Graph
    planned: list[Planned] = field(default_factory=list)
    problems: dict[StageKey, HPTError] = field(default_factory=dict)
    """Stages that cannot be planned, and the error of each."""
    blocked: dict[StageKey, StageKey] = field(default_factory=dict)
    """Stages blocked by an upstream error, and the stage with the error."""
    artifacts: Artifacts = field(default_factory=Artifacts)

    @property
    def finished(self) -> bool:
        """Whether every artifact exists."""
        return not self.problems and all(p.check.state == "done" for p in self.planned)

    def of(self, stage: StageKey) -> list[Planned]:
        """The artifacts of one stage."""
        return [p for p in self.planned if p.target.key.stage == stage]

    def state(self, stage: StageKey) -> str:
        """The state of a stage: that of its artifacts, "in part" if only some exist, or "blocked"."""
        if stage in self.problems or stage in self.blocked:
            return "blocked"
        found = {p.check.state for p in self.of(stage)}
        if len(found) == 1:
            return found.pop()
        for word in ("damaged", "running", "rerun"):
            if word in found:
                return word
        return "in part" if found & {"done", "started"} else "to do"


def plan(graph: Graph, context: Context) -> Plan:
    """Plan a run, without Prefect and without changing the store.

    The hash of a missing input is unknown, so fingerprints downstream of it are provisional.
    """
    found = Plan(graph)
    for key, stage in graph.items():
        upstream = next((need for need in stage.after if need in found.problems or need in found.blocked), None)
        if upstream:
            found.blocked[key] = found.blocked.get(upstream, upstream)
            continue
        try:
            _plan_stage(stage, found, context)
        except HPTError as error:
            found.problems[key] = error
    context.known.save()
    return found


def _plan_stage(stage: Stage, found: Plan, context: Context) -> None:
    for step in stage.steps:
        for target in step.targets(found.artifacts, context):
            checked = check(step, target, context)
            folder = context.store.slot(target.kind, target.fingerprint).folder
            found.artifacts[target.key] = checked.artifact or Artifact(
                target.key, target.kind, target.fingerprint, folder, {}, provisional=True
            )
            found.planned.append(Planned(step, target, checked, "" if checked.artifact else step.needs(context)))
