"""The graph of a pipeline's stages, and the plan of a run: which artifacts exist and which are missing."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from hpt_core.errors import ConfigError, HPTError, near
from tasks.execution.artifact import Artifacts, Stage, Step, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import ArtifactKey, StageKey
from tasks.execution.selection import Selection
from tasks.execution.stage import Check, check, placeholder

Graph = Mapping[StageKey, Stage]
"""Stages by key, each after the stages it depends on."""


def build(config: PipelineConfig, only: Iterable[str] = ()) -> Graph:
    """The stages that `only` names (see `select`) and their dependencies.

    If it names none, every goal stage of the pipeline; models and data that no stage uses are left out. An unknown key
    raises ConfigError with near matches.
    """
    every = {stage.key: stage for kind in config.known_kinds for stage in kind.stages(config)}
    named = select(every, only).stages
    wanted = [key for key in every if key in named]
    # A config without training or evaluation only prepares models and data.
    wanted = wanted or [key for key in every if config.kind_of(key).is_goal] or list(every)
    return _closure(every, wanted)


def select(stages: Graph, texts: Iterable[str]) -> Selection:
    """What the texts name: stages as `match` reads them, or with a `/` only some of their artifacts.

    "evaluate.hpt/aime24" is all of a benchmark, "evaluate.hpt/verdicts" all of a kind, "evaluate/verdicts/aime24" the
    verdicts of every model on a benchmark. Globs work in each part.
    """
    found: set[tuple[StageKey, tuple[str, ...]]] = set()
    for text in texts:
        stage, *rest = text.split("/")
        found |= {(key, tuple(rest)) for key in match(stages, stage)}
    return Selection(frozenset(found))


def match(stages: Graph, text: str) -> list[StageKey]:
    """The stages that `text` names: one stage ("train.hpt"), all stages of a kind ("train") or of a model or benchmark
    ("hpt"), or matches of a glob ("train.hpt*"). Raises ConfigError if there is none."""
    found = [key for key in stages if str(key) == text]
    found = found or [key for key in stages if key.kind == text or fnmatchcase(str(key), text)]
    found = found or [key for key in stages if key.name == text]
    if not found:
        raise ConfigError(f"unknown stage {text!r}", near(text, tuple(map(str, stages))))
    return found


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
    skipped: set[ArtifactKey] = field(default_factory=set)
    """Artifacts of the graph's stages that the run was not asked for and does not need."""

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


def plan(
    graph: Graph,
    context: Context,
    only: Selection = Selection(),  # noqa: B008  (immutable)
    unfinished: Collection[StageKey] | None = None,
) -> Plan:
    """Plan a run, without Prefect and without changing the store.

    Of the stages in `only`, the plan has the selected artifacts and those that they are made from. With `unfinished`,
    only these stages may be unfinished: others that are, and stages that cannot do without them, are left out. The hash
    of a missing input is unknown, so fingerprints downstream of it are provisional.
    """
    stages: dict[StageKey, Stage] = {}
    found, absent = Plan(stages), set[StageKey]()
    for key, stage in graph.items():
        if stage.lacks(absent) is not None:
            absent.add(key)
            continue
        stages[key] = replace(stage, after=tuple(need for need in stage.after if need not in absent))
        _plan_stage(stages[key], found, context)
        if unfinished is not None and key not in unfinished and found.state(key) != "done":
            absent.add(key)
            del stages[key]
            _leave_out(found, key)
    context.known.save()
    for key in only.stages - found.problems.keys() - found.blocked.keys():
        _narrow(found, key, only)
    return found


def _narrow(found: Plan, key: StageKey, only: Selection) -> None:
    """Leave out the artifacts of a stage that are not selected and that no selected one is made from."""
    of_stage = found.of(key)
    wanted = {p.target.key for p in of_stage if p.target.key in only}
    for p in reversed(of_stage):
        artifact = found.artifacts[p.target.key]
        hashes = {artifact.hash(output) for output in p.step.produces}
        if any(hashes & set(user.target.inputs.values()) for user in of_stage if user.target.key in wanted):
            wanted.add(p.target.key)
    found.skipped |= {p.target.key for p in of_stage} - wanted
    found.planned = [p for p in found.planned if p.target.key not in found.skipped]


def _leave_out(found: Plan, key: StageKey) -> None:
    for p in found.of(key):
        del found.artifacts[p.target.key]
    found.planned = [p for p in found.planned if p.target.key.stage != key]
    found.problems.pop(key, None)
    found.blocked.pop(key, None)


def _plan_stage(stage: Stage, found: Plan, context: Context) -> None:
    upstream = next((need for need in stage.after if need in found.problems or need in found.blocked), None)
    if upstream:
        found.blocked[stage.key] = found.blocked.get(upstream, upstream)
        return
    try:
        for step in stage.steps:
            for target in step.targets(found.artifacts, context):
                checked = check(step, target, context)
                found.artifacts[target.key] = checked.artifact or placeholder(target, context)
                found.planned.append(Planned(step, target, checked, "" if checked.artifact else step.needs(context)))
    except HPTError as error:
        found.problems[stage.key] = error
