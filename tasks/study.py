"""Studies: claims that are declared before training, tested over seeds, and reported either way."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any

import pyarrow.parquet as pq
from pydantic import Field

from benchmarks.study.inputs import Benchmark, Claim, Declared, HeldOut, Log, Member, StudyInputs, Trial
from benchmarks.study.models import FILES, read_facts, read_models
from hpt_core import prompts, training, upge, verifiers
from hpt_core.artifacts import Cost
from hpt_core.base import NOT_IDENTITY, Frozen
from hpt_core.code import code_of, code_of_packages
from hpt_core.data import decontaminate
from hpt_core.errors import near
from hpt_core.files import sha256_file, sha256_json, write_json
from hpt_core.paths import UserPath
from tasks import evaluate, train
from tasks.execution.artifact import Artifact, Artifacts, Job, Stage, Step, Target
from tasks.execution.config import PipelineConfig, references
from tasks.execution.context import Context
from tasks.execution.keys import MODEL, PREPARED, Output, StageKey, method_of
from tasks.execution.kind import LABEL, StageKind, Summary

LOG = logging.getLogger("hpt.study")
CLAIMS = Output("claims", "claims.json")
"""The declared claims."""
STUDY = Output("study", "")
"""The whole output: study.md, index.html, figures/ and tables/."""


SOURCES = (
    *("benchmarks.study", "benchmarks.effects", "benchmarks.figures", "benchmarks.significance"),
    *("benchmarks.report.measured", "hpt_core.evaluation.metrics", "hpt_core.evaluation.student"),
    "hpt_core.training.questions",
)
"""Packages and modules whose code determines the report."""


class Search(Frozen):
    """A search for the settings of a method."""

    method: str
    """Name of the method."""
    trials: str
    """Glob of the training stages that are its trials, such as "search_hpt*"."""


class Config(Frozen):
    """A study: `[study]`. Its methods are the models that [evaluate] measures, and its seeds those of their stages."""

    title: str = "Study"
    """Title of the report."""
    base: str
    """The method from which all others are trained. Budgets count from there."""
    claims: tuple[Claim, ...] = Field(min_length=1)
    """What the study tests. Declared, by their hash, before anything is trained."""
    elsewhere: Annotated[tuple[UserPath, ...], NOT_IDENTITY] = ()
    """Folders with the tables/ of this study from other stores. What they have is not trained again, if its settings
    are the same."""
    search: tuple[Search, ...] = ()
    """The searches for the methods' settings. The report shows them."""


class Methods(dict[str, dict[int, StageKey]]):
    """Method -> seed -> the stage that makes its model, of every evaluated model."""

    @classmethod
    def of(cls, pipeline: PipelineConfig) -> "Methods":
        """The methods of a pipeline."""
        found = cls()
        evaluation = evaluate.KIND.of(pipeline)
        for model in evaluation.models if evaluation else ():
            seed = seed_of(pipeline, model)
            of_method = found.setdefault(method_of(model.name, seed), {})
            if (other := of_method.setdefault(seed, model)) != model:
                raise ValueError(f"study: {other} and {model} are both {method_of(model.name, seed)} of seed {seed}")
        return found

    @property
    def by_seed(self) -> list[list[StageKey]]:
        """The models of each seed."""
        seeds = dict.fromkeys(seed for found in self.values() for seed in found)
        return [[found[seed] for found in self.values() if seed in found] for seed in seeds]

    @property
    def models(self) -> list[StageKey]:
        """All models, seed by seed."""
        return [model for models in self.by_seed for model in models]


def seed_of(pipeline: PipelineConfig, stage: StageKey) -> int:
    """The seed of a stage: its own, or the pipeline's."""
    own = getattr(pipeline.config_of(stage), "seed", None)
    return pipeline.seed if own is None else int(own)


class ClaimsStep(Step):
    """The claims, with the time of their declaration in the manifest."""

    kind = "claims"
    produces = (CLAIMS,)

    def __init__(self, stage: StageKey, pipeline: str, claims: tuple[Claim, ...]) -> None:
        super().__init__(stage)
        self.pipeline = pipeline
        self.claims = claims

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """One target, which depends only on the claims."""
        claims = [claim.model_dump(mode="json") for claim in self.claims]
        return [self.target({"pipeline": self.pipeline, "claims": claims}, {})]

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Write them down."""
        (job,) = jobs
        write_json(job.slot.output / CLAIMS.path, job.target.config)
        return Cost()


class StudyStep(Step):
    """The report: tables, figures, study.md and a page."""

    kind = "study"
    produces = (STUDY,)

    def __init__(self, stage: StageKey, pipeline: PipelineConfig, config: Config) -> None:
        super().__init__(stage)
        self.pipeline = pipeline
        self.config = config
        self.methods = Methods.of(pipeline)
        evaluation = evaluate.KIND.of(pipeline)
        assert evaluation is not None
        self.plan = evaluate.EvaluationPlan.of(pipeline, evaluation)
        self.measurements = self.plan.measurements

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """One target, which depends on the claims, and on all verdicts and training logs that exist."""
        inputs = {str(self._claims): (artifacts[self._claims], CLAIMS)}
        for model in self.methods.models:
            for key in self._verdicts(model).values() if self._is_measured(model, artifacts) else ():
                inputs[str(key)] = (artifacts[key], evaluate.VERDICTS)
            inputs |= {str(key): (artifacts[key], train.LOG) for key in self._trained(model) if artifacts.of(key)}
        for key in (key for keys in self.search.values() for key in keys if artifacts.of(key)):
            inputs[str(key)] = (artifacts[key], train.LOG)
        config = {
            **self.config.identity(),
            "elsewhere": [sha256_file(folder / name) for folder in self.config.elsewhere for name in FILES],
            "declared": sorted({claims.fingerprint for claims in self._declared(artifacts, context)}),
            "fingerprints": {str(key): self._fingerprint(key) for key in self._models_and_trials},
            "pipeline": self.pipeline.name,
            "methods": {name: {str(s): str(key) for s, key in found.items()} for name, found in self.methods.items()},
            "benchmarks": [benchmark.model_dump(mode="json") for benchmark in self._benchmarks],
            "trials": {name: self._settings(keys) for name, keys in self.search.items()},
        }
        return [self.target(config, inputs, {"study": code_of_packages(*SOURCES)})]

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Run the worker."""
        (job,) = jobs
        spec = StudyInputs(
            title=self.config.title,
            base=self.config.base,
            claims=self.config.claims,
            declared=tuple(self._declared(artifacts, context)),
            members=tuple(self._members(artifacts, context)),
            benchmarks=self._benchmarks,
            elsewhere=self.config.elsewhere,
            search={name: tuple(self._trials(name, artifacts)) for name in self.search},
            output=job.slot.output,
        )
        return context.worker(self.stage, "benchmarks.study.build", spec, [job.slot])

    def is_elsewhere(self, key: StageKey) -> bool:
        """Whether another store has this model or trial, so that it is not made here."""
        return key in self._found_elsewhere

    @property
    def _models_and_trials(self) -> list[StageKey]:
        """The models and the trials."""
        return [*self.methods.models, *(key for keys in self.search.values() for key in keys)]

    @property
    def _benchmarks(self) -> tuple[Benchmark, ...]:
        return tuple(
            Benchmark(name=m.suite.name, title=m.suite.title, group=m.suite.group, k=m.settings.k)
            for m in self.measurements
        )

    @property
    def _claims(self) -> StageKey:
        return KIND.key("claims")

    @property
    def search(self) -> dict[str, list[StageKey]]:
        """Method -> the trainings of its search."""
        known = [train.KIND.key(name) for name in train.KIND.of(self.pipeline)]
        return {
            search.method: [key for key in known if fnmatchcase(key.name, search.trials)]
            for search in self.config.search
        }

    def _verdicts(self, model: StageKey) -> dict[str, Any]:
        """Benchmark -> key of its verdicts."""
        stage = evaluate.KIND.stage_of(model)
        return {m.suite.name: evaluate.verdicts_key(stage, m.suite.name) for m in self.measurements}

    def _is_measured(self, model: StageKey, artifacts: Artifacts) -> bool:
        return all(artifacts.of(key) for key in self._verdicts(model).values())

    def _trained(self, model: StageKey) -> list[StageKey]:
        """The training stages that a model was made by after the study's base, each after those that it starts from."""
        bases = set(self.methods.get(self.config.base, {}).values())
        found: dict[StageKey, None] = {}

        def visit(key: StageKey) -> None:
            if key in bases or key in found:
                return
            for origin in self.pipeline.inputs(key, MODEL):
                visit(origin)
            if train.LOG in self.pipeline.kind_of(key).produces:
                found[key] = None

        visit(model)
        return list(found)

    def _log(self, stage: StageKey, artifacts: Artifacts) -> Log:
        config = self.pipeline.config_of(stage)
        validation = config.validation
        held_out = validation and HeldOut(
            data=artifacts[config.data].path(PREPARED),
            needs_demonstrations=config.uses_demonstrations,
            questions=validation.questions,
            sampling=(validation.samples, validation.temperature, validation.top_p, config.sampling.max_tokens),
        )
        return Log(path=artifacts[stage].path(train.LOG), held_out=held_out)

    def _members(self, artifacts: Artifacts, context: Context) -> Iterator[Member]:
        for method, seeds in self.methods.items():
            for seed, model in seeds.items():
                verdicts = None
                if self._is_measured(model, artifacts):
                    keys = self._verdicts(model)
                    verdicts = {name: artifacts[key].path(evaluate.VERDICTS) for name, key in keys.items()}
                trained = [key for key in self._trained(model) if artifacts.of(key)]
                begun = [_begun(artifacts[key], context) for key in trained]
                yield Member(
                    method=method,
                    seed=seed,
                    stage=str(model),
                    fingerprint=self._fingerprint(model),
                    verdicts=verdicts,
                    logs=tuple(self._log(key, artifacts) for key in trained),
                    begun=min(filter(None, begun), default=None),
                )

    def _settings(self, stages: Iterable[StageKey]) -> dict[str, dict[str, str]]:
        """Stage -> the fields in which the stages differ, with their values."""
        flat = {str(key): self._fields(key) for key in stages}
        fields = dict.fromkeys(field for values in flat.values() for field in values)
        varied = [f for f in fields if len({values.get(f) for values in flat.values()}) > 1]
        return {key: {f: values.get(f, "null") for f in varied} for key, values in flat.items()}

    def _fields(self, stage: StageKey) -> dict[str, str]:
        """Every field of a training's config but its seed and what names a place: path -> value as JSON."""
        config = self.pipeline.config_of(stage).model_dump(mode="json", by_alias=True)
        own = {name: value for name, value in config.items() if name not in ("from", "seed", "swept", LABEL)}
        return {path: json.dumps(value) for path, value in _leaves(own)}

    def _trials(self, method: str, artifacts: Artifacts) -> Iterator[Trial]:
        own = self._fields(next(iter(self.methods[method].values())))
        for stage, settings in self._settings(self.search[method]).items():
            key = StageKey.parse(stage)
            found = artifacts.of(key)
            yield Trial(
                stage=stage,
                seed=seed_of(self.pipeline, key),
                fingerprint=self._fingerprint(key),
                settings=settings,
                chosen=self._fields(key) == own,
                log=found and found.path(train.LOG),
            )

    def _fingerprint(self, model: StageKey) -> str:
        """Hash of how a model is made and measured: configs, versions and plug-ins of all stages that it is made
        by, and of its evaluation."""
        left, seen = [model], dict[str, Any]()
        while left:
            key = left.pop()
            config = self.pipeline.config_of(key)
            clean = [suite.name for suite in getattr(config, "decontaminate", ())]
            seen[str(key)] = [config.identity(), getattr(config, "seed", None), clean, code_of(config)]
            left += [other for _, other, _ in references(config, "") if str(other) not in seen]
        plan = self.plan
        measured = [
            [m.identity, verifiers.get(m.suite.kind).version, code_of(verifiers.get(m.suite.kind))]
            for m in plan.measurements
        ]
        return sha256_json(
            {
                "stages": seen,
                "evaluation": [plan.config.identity(), plan.config.limit, plan.engine_version, measured],
                "plug-ins": code_of(plan.config.engine, plan.config.protocol, self.pipeline.prompt),
                "prompt": self.pipeline.prompt.identity(),
                "seed": self.pipeline.seed,
                "versions": [training.VERSION, upge.VERSION, prompts.VERSION, decontaminate.VERSION],
            }
        )

    @cached_property
    def _found_elsewhere(self) -> frozenset[StageKey]:
        """The models, and the trials, that other stores have."""
        trials = {str(key): key for keys in self.search.values() for key in keys}
        found: set[StageKey] = set()
        for folder in self.config.elsewhere:
            there = {stage: result.fingerprint for stage, result in read_facts(folder).trials.items()}
            pairs = [(trials[stage], fingerprint) for stage, fingerprint in there.items() if stage in trials]
            for model in read_models(folder):
                if (own := self.methods.get(model.method, {}).get(model.seed)) is not None:
                    pairs.append((own, model.fingerprint))
            for key, fingerprint in pairs:
                if self._fingerprint(key) == fingerprint:
                    found.add(key)
                else:
                    LOG.warning("%s of %s was trained or measured in another way, so it is not used", key, folder)
        return frozenset(found)

    def _declared(self, artifacts: Artifacts, context: Context) -> list[Declared]:
        """All claims that this store has declared, the present ones last."""
        now = artifacts[self._claims].fingerprint
        versions = sorted(context.store.outputs(ClaimsStep.kind), key=lambda m: (m.fingerprint == now, m.end))
        return [
            Declared(
                pipeline=manifest.config["pipeline"],
                time=manifest.end,
                claims=tuple(map(Claim.model_validate, manifest.config["claims"])),
            )
            for manifest in versions
        ]


def _begun(artifact: Artifact, context: Context) -> datetime | None:
    """When the first attempt at an artifact began, as far as its manifest says; None if it does not exist yet."""
    manifest = context.store.slot(artifact.kind, artifact.fingerprint).manifest()
    return None if manifest is None else min(manifest.start, manifest.end - timedelta(seconds=manifest.cost.seconds))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of everything in a JSON value that is no table."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    else:
        yield path, value


class Study(StageKind):
    """Studies."""

    config = Config
    table = (Config | None, None)
    # First, so that a run takes the stages in the study's order: everything of one seed before the next.
    order = 5
    command = ("study", "Run a study seed by seed, and build its report")
    boards = (StudyStep.kind,)
    # A study must show all claims ever declared.
    forever = (ClaimsStep.kind,)

    def check(self, pipeline: PipelineConfig) -> None:
        """Claims name methods and metrics of the pipeline."""
        config = self.of(pipeline)
        if config is None:
            return
        evaluation = evaluate.KIND.of(pipeline)
        if evaluation is None:
            raise ValueError("study: nothing is evaluated; add a table [evaluate]")
        methods = tuple(Methods.of(pipeline))
        suites = [suite.name for suite in evaluation.suites]
        metrics = (*dict.fromkeys(suite.group for suite in evaluation.suites), *suites)
        named = [(f"claims.{i}.{field}", getattr(c, field)) for i, c in enumerate(config.claims) for field in METHODS]
        named += [(f"search.{place}.method", search.method) for place, search in enumerate(config.search)]
        for field, name in [("base", config.base), *named]:
            if name not in methods:
                raise ValueError(f"study.{field}: {name!r} is no evaluated method; {near(name, methods)}")
        for place, claim in enumerate(config.claims):
            if claim.metric not in metrics:
                hint = near(claim.metric, metrics)
                raise ValueError(f"study.claims.{place}.metric: {claim.metric!r} is not measured; {hint}")
            if claim.method == claim.than:
                raise ValueError(f"study.claims.{place}: {claim.method} is compared with itself; name two methods")
        for place, search in enumerate(config.search):
            if not any(fnmatchcase(stage, search.trials) for stage in train.KIND.of(pipeline)):
                where = f"study.search.{place}.trials"
                raise ValueError(f"{where}: no training stage matches {search.trials!r}; correct the pattern")

    def without_effect(self, pipeline: PipelineConfig) -> Iterator[str]:
        """Claims that cannot be decided, because their methods share fewer than two seeds."""
        config = self.of(pipeline)
        methods = Methods.of(pipeline) if config else Methods()
        for place, claim in enumerate(config.claims if config else ()):
            if len(methods[claim.method].keys() & methods[claim.than].keys()) < 2:
                yield (
                    f"{self.name}.claims.{place} cannot be decided, because {claim.method} and {claim.than} share "
                    "fewer than two seeds; set seeds = [1, 2, 3] at the stage of the base"
                )

    def stages(self, pipeline: PipelineConfig) -> Iterable[Stage]:
        """`study.claims`, which comes before everything else, and `study.report`."""
        config = self.of(pipeline)
        if config is None:
            return
        claims, report = self.key("claims"), self.key("report")
        yield Stage(claims, (), (ClaimsStep(claims, pipeline.name, config.claims),))
        step = StudyStep(report, pipeline, config)
        trials = [key for keys in step.search.values() for key in keys if not step.is_elsewhere(key)]
        # An engine stays open from one evaluation to the next, so a seed's evaluations follow its trainings.
        of_seeds = [
            [*models, *map(evaluate.KIND.stage_of, models)]
            for every in step.methods.by_seed
            for models in [[model for model in every if not step.is_elsewhere(model)]]
        ]
        after = dict.fromkeys([claims, *trials, *(key for keys in of_seeds for key in keys)])
        evaluated = frozenset(key for key in after if key.kind == evaluate.KIND.name)
        yield Stage(report, tuple(after), (step,), optional=frozenset(after) - {claims} - evaluated, one_of=evaluated)

    def show(self, artifact: Artifact) -> Summary | None:
        """How many claims are supported, and where the page is."""
        if artifact.kind != StudyStep.kind:
            return None
        rows = pq.read_table(artifact.file("tables/claims.parquet"), columns=["budget", "verdict"]).to_pylist()
        found = [row["verdict"] for row in rows if row["budget"] == "as trained"]
        counts = ", ".join(f"{found.count(verdict)} {verdict}" for verdict in dict.fromkeys(found))
        page = artifact.where("index.html")
        return Summary(f"study: {counts}: {page}", {"study": page, "verdicts": found})


METHODS = ("method", "than")
"""Fields of a claim that name a method."""
KIND = Study()
