"""The graph of a pipeline's stages: what is needed, in which order, and what holds already."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from benchmarks.publishers.base import PublisherConfig
from benchmarks.suite import get_suite
from flows.config import EvaluateConfig, PipelineConfig
from hpt_core.errors import ConfigError, HPTError
from hpt_core.plugins import near
from tasks import benchmark, contamination, evaluate, model, prepare, publish, report, train
from tasks.context import Context
from tasks.part import Made, Stage, Unit
from tasks.stage import Check, check

Graph = Mapping[str, Stage]
"""Stages by key, every stage after those it depends on."""


def build(config: PipelineConfig) -> Graph:
    """Every stage that the pipeline needs: what is evaluated and published, every training stage, and what they take.

    A model or a data set that nothing uses is left out. What training data share with the benchmarks is found before
    anything is trained on them.
    """
    every = _all_stages(config)
    goals = [key for key in every if key.split(".")[0] in ("contamination", "train", "evaluate", "report", "publish")]
    # Without training or evaluation, preparing is all that there is to do.
    return closure(every, goals or list(every))


def select(config: PipelineConfig, keys: Iterable[str]) -> Graph:
    """The stages with these keys, or of these kinds ("train"), and all that they depend on.

    An unknown key raises ConfigError with near matches.
    """
    every = _all_stages(config)
    return closure(every, [found for key in keys for found in match(every, key)])


def match(stages: Graph, key: str) -> list[str]:
    """Keys that `key` stands for: itself, every stage of a kind, or those that it matches as a glob ("train.hpt*")."""
    if key in stages:
        return [key]
    kind = [k for k in stages if k.split(".")[0] == key or fnmatchcase(k, key)]
    if not kind:
        raise ConfigError(f"unknown stage {key!r}", near(key, tuple(stages)))
    return kind


def closure(stages: Graph, goals: Iterable[str]) -> Graph:
    """The goals and everything they depend on, dependencies first and otherwise in the config's order."""
    found: dict[str, Stage] = {}

    def visit(key: str) -> None:
        if key not in found:
            for needed in stages[key].after:
                visit(needed)
            found[key] = stages[key]

    for goal in goals:
        visit(goal)
    return found


def following(stages: Graph, start: Iterable[str]) -> frozenset[str]:
    """`start` and every stage that depends on one of them."""
    found = set(start)
    for key, stage in stages.items():
        if found & set(stage.after):
            found.add(key)
    return frozenset(found)


def _all_stages(config: PipelineConfig) -> dict[str, Stage]:
    stages = [model.stage(name, c) for name, c in config.model.items()]
    limit = config.evaluate.limit if config.evaluate else None
    suites = config.evaluate.suites if config.evaluate else ()
    listed = [name for data in config.data.values() for name in data.decontaminate]
    stages += [benchmark.stage(name, limit if name in suites else None) for name in dict.fromkeys([*suites, *listed])]
    stages += [prepare.stage(name, c, config.prompt) for name, c in config.data.items()]
    if config.evaluate:
        # Before training, so that overlaps are known before hours are spent.
        gate = _gate(config)
        for name in dict.fromkeys(d for data in trained_on(config, config.evaluate).values() for d in data):
            stages.append(contamination.stage(name, config.report.overlap_ngram, config.evaluate.suites, gate))
    stages += [train.stage(name, c, config.prompt, config.seed) for name, c in config.train.items()]
    if config.evaluate:
        protocol = evaluation_protocol(config, config.evaluate)
        stages += [evaluate.stage(reference, protocol) for reference in config.evaluate.models]
        stages.append(report.stage(_report_plan(config, config.evaluate, protocol)))
        stages += [publish.stage(name, c, config.report.max_overlap) for name, c in publisher_names(config).items()]
    return {stage.key: stage for stage in stages}


def _gate(config: PipelineConfig) -> contamination.Gate | None:
    """What is held against the training data before a publication; None where nothing is, or nothing is published."""
    if config.report.max_overlap is None or not config.publish:
        return None
    return contamination.Gate(config.report.overlap_share, config.report.max_overlap)


def publisher_names(config: PipelineConfig) -> dict[str, PublisherConfig]:
    """Publishers by the name of their stage: the plug-in's name, numbered from its second use on."""
    found: dict[str, PublisherConfig] = {}
    used: Counter[str] = Counter()
    for publisher in config.publish:
        name = str(publisher.model_dump()["name"])
        used[name] += 1
        found[name if used[name] == 1 else f"{name}-{used[name]}"] = publisher
    return found


def evaluation_protocol(config: PipelineConfig, evaluation: EvaluateConfig) -> evaluate.Protocol:
    """How models are measured: the benchmarks' own protocol with the config's overrides."""
    measurements = []
    names = ("max_tokens", "temperature", "stop_repetition")
    overrides = {name: value for name in names if (value := getattr(evaluation, name)) is not None}
    for name in evaluation.suites:
        suite = get_suite(name)
        measurements.append(
            evaluate.Measurement(
                benchmark=name,
                instruction=suite.instruction,
                sampling=suite.sampling.model_copy(update=overrides),
                k=evaluation.k or suite.k,
            )
        )
    return evaluate.Protocol(
        prompt=config.prompt,
        engine=evaluation.engine,
        dtype=evaluation.dtype,
        seed=config.seed if evaluation.seed is None else evaluation.seed,
        measurements=tuple(measurements),
        shard_samples=evaluation.shard_samples,
        budget=evaluation.budget,
        grade_timeout_s=evaluation.grade_timeout_s,
    )


def _report_plan(config: PipelineConfig, evaluation: EvaluateConfig, protocol: evaluate.Protocol) -> report.ReportPlan:
    def algorithm(reference: str) -> str | None:
        kind, name = reference.split(".", 1)
        return str(config.train[name].algorithm.name) if kind == "train" else None

    notes = () if evaluation.limit is None else (f"At most {evaluation.limit} questions of each benchmark were asked.",)
    return report.ReportPlan(
        pipeline=config.name,
        title=config.report.title,
        published=config.report.published,
        baseline=config.report.baseline,
        notes=notes,
        limit=evaluation.limit,
        models=tuple((reference, algorithm(reference)) for reference in evaluation.models),
        protocol=protocol,
        trained_on=trained_on(config, evaluation),
        overlap_share=config.report.overlap_share,
        overlap_ngram=config.report.overlap_ngram,
    )


def trained_on(config: PipelineConfig, evaluation: EvaluateConfig) -> dict[str, tuple[str, ...]]:
    """`train.NAME` -> `data.NAME` of it and of the stages that made the model it starts from, each once."""
    found = {}
    for reference in evaluation.models:
        data, origin = [], reference
        while origin.startswith("train."):
            stage = config.train[origin.removeprefix("train.")]
            data.append(stage.data)
            origin = stage.from_
        if data:
            found[reference] = tuple(dict.fromkeys(data))
    return found


@dataclass(frozen=True)
class PlannedUnit:
    """One output, how it stands, and what it needs."""

    stage: str
    unit: Unit
    check: Check
    needs: str = ""


@dataclass
class Plan:
    """What a run would do."""

    graph: Graph
    units: list[PlannedUnit] = field(default_factory=list)
    problems: dict[str, HPTError] = field(default_factory=dict)
    """Stages that cannot start, and why."""
    after: dict[str, str] = field(default_factory=dict)
    """Stages that a problem of another keeps from being planned."""
    made: dict[str, Made] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether every output is there."""
        return not self.problems and all(u.check.standing == "done" for u in self.units)

    def of(self, stage: str) -> list[PlannedUnit]:
        """The outputs of one stage."""
        return [u for u in self.units if u.stage == stage]

    def standing(self, stage: str) -> str:
        """One word for a stage: "done", "to do", "in part" where some of its outputs are there, "blocked"..."""
        if stage in self.problems or stage in self.after:
            return "blocked"
        found = {u.check.standing for u in self.of(stage)}
        if len(found) == 1:
            return found.pop()
        for word in ("damaged", "running", "redo"):
            if word in found:
                return word
        return "in part" if found & {"done", "started"} else "to do"


def plan(graph: Graph, context: Context) -> Plan:
    """What a run would do, computed without Prefect and without changing anything.

    Where an input is not there yet its hash is not known: the fingerprints that follow are provisional.
    """
    found = Plan(graph)
    for key, stage in graph.items():
        blocked = next((need for need in stage.after if need in found.problems or need in found.after), None)
        if blocked:
            found.after[key] = found.after.get(blocked, blocked)
            continue
        try:
            _plan_stage(stage, found, context)
        except HPTError as error:
            found.problems[key] = error
    context.known.save()
    return found


def _plan_stage(stage: Stage, found: Plan, context: Context) -> None:
    for part in stage.parts:
        for unit in part.units(found.made, context):
            state = check(part, unit, stage.key, context)
            slot = context.store.slot(unit.kind, unit.fingerprint)
            found.made[unit.key] = state.made or Made(
                unit.key, unit.kind, unit.fingerprint, str(slot.folder), {}, provisional=True
            )
            needs = "" if state.made else part.needs(context)
            found.units.append(PlannedUnit(stage.key, unit, state, needs))
