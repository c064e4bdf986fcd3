"""Tables and leaderboard: `python -m benchmarks.report.build`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from benchmarks.report.inputs import BenchmarkResult, ContaminationResult, ModelResult, ReportInputs, SuiteInfo
from benchmarks.report.inputs import Protocol as ReportProtocol
from benchmarks.suite import get_suite
from hpt_core import verifiers
from hpt_core.artifacts import Cost, FileEntry, outputs_hash
from tasks import contamination, environment
from tasks.contamination import FILE, contamination_key
from tasks.context import Context
from tasks.evaluate import Measurement, Protocol, samples_key, verdicts_key
from tasks.part import Made, Mades, Making, Part, Stage, Unit

KEY = "report"


@dataclass(frozen=True)
class ReportPlan:
    """What the page shows."""

    pipeline: str
    title: str
    published: str | None
    baseline: str | None
    notes: tuple[str, ...]
    limit: int | None
    models: tuple[tuple[str, str | None], ...]
    """`model.NAME` or `train.NAME`, and the algorithm that trained it."""
    protocol: Protocol
    trained_on: Mapping[str, tuple[str, ...]]
    """`train.NAME` -> `data.NAME` of that stage and of those before it."""
    overlap_share: float = 0.2
    """Share of a question's n-grams that must stand in training data for it to count as overlapping."""
    overlap_ngram: int = 13
    """Words of an n-gram."""

    @property
    def checked(self) -> list[tuple[str, str]]:
        """(data, benchmark) of all that is held against each other."""
        data = dict.fromkeys(name for names in self.trained_on.values() for name in names)
        return [(name, m.benchmark) for name in data for m in self.protocol.measurements]

    def as_json(self) -> dict[str, Any]:
        """What the fingerprint takes."""
        return {
            "pipeline": self.pipeline,
            "title": self.title,
            "published": self.published,
            "baseline": self.baseline,
            "notes": list(self.notes),
            "limit": self.limit,
            "models": [list(m) for m in self.models],
            "suites": [m.benchmark for m in self.protocol.measurements],
            "trained_on": {model: list(data) for model, data in self.trained_on.items()},
            "overlap": {"share": self.overlap_share, "ngram": self.overlap_ngram},
        }


SOURCES = (
    "benchmarks.report",
    "benchmarks.significance",
    "hpt_core.evaluation.metrics",
    "hpt_core.evaluation.consistency",
)
"""Whose code a report's numbers and pages come from."""


class ReportPart(Part):
    """Parquet tables, leaderboard.md and the page."""

    def __init__(self, plan: ReportPlan) -> None:
        self.plan = plan

    def units(self, made: Mades, context: Context) -> list[Unit]:
        """Depends on every sample, verdict and training log, on the questions' levels and on what overlaps them."""
        inputs = {key: made[key].hash("asked") for key in self._benchmarks()}
        checked = [made[contamination_key(data, benchmark)] for data, benchmark in self.plan.checked]
        inputs |= {found.key: found.hash("contamination") for found in checked}
        provisional = any(found.provisional for found in checked)
        for model, _ in self.plan.models:
            for m in self.plan.protocol.measurements:
                samples, verdicts = made[samples_key(model, m.benchmark)], made[verdicts_key(model, m.benchmark)]
                inputs[samples.key] = samples.hash("samples")
                inputs[verdicts.key] = verdicts.hash("verdicts")
                provisional = provisional or samples.provisional or verdicts.provisional
            if model.startswith("train."):
                inputs[model] = made[model].hash("log")
        versions = {"report": environment.source_hash(*SOURCES)}
        if self.plan.published:
            versions["published"] = environment.source_hash("benchmarks.published")
        config = self.plan.as_json() | self._shown(made)
        return [Unit(KEY, "report", config, versions, inputs, provisional)]

    def _shown(self, made: Mades) -> dict[str, Any]:
        """Protocols and benchmarks as the tables state them: verdicts can be the same bytes under another protocol."""
        measurements = self.plan.protocol.measurements
        return {
            "protocols": [
                self._protocol(model, m, made).model_dump(mode="json")
                for model, _ in self.plan.models
                for m in measurements
            ],
            "benchmarks": [self._suite(m).model_dump(mode="json", exclude={"questions"}) for m in measurements],
        }

    def make(self, jobs: Sequence[Making], made: Mades, context: Context) -> Cost:
        """Run the worker."""
        (job,) = jobs
        spec = ReportInputs(
            title=self.plan.title,
            pipeline=self.plan.pipeline,
            published=self.plan.published,
            baseline=self.plan.baseline,
            models=tuple(self._model(model, algorithm, made) for model, algorithm in self.plan.models),
            suites=tuple(self._asked(m, made) for m in self.plan.protocol.measurements),
            contamination=tuple(
                ContaminationResult(
                    data=data, benchmark=benchmark, path=made[contamination_key(data, benchmark)].output / FILE
                )
                for data, benchmark in self.plan.checked
            ),
            overlap_share=self.plan.overlap_share,
            overlap_ngram=self.plan.overlap_ngram,
            created=self._ended(made, context),
            notes=self.plan.notes,
            output=job.slot.output,
        )
        return context.worker(KEY, "benchmarks.report.build", spec, [job.slot])

    def _model(self, model: str, algorithm: str | None, made: Mades) -> ModelResult:
        results = {m.benchmark: self._result(model, m, made) for m in self.plan.protocol.measurements}
        log = made[model].output / "log.parquet" if model.startswith("train.") else None
        return ModelResult(
            name=model,
            label=model.split(".", 1)[1],
            algorithm=algorithm,
            results=results,
            train_log=log,
            trained_on=self.plan.trained_on.get(model, ()),
        )

    def _result(self, model: str, m: Measurement, made: Mades) -> BenchmarkResult:
        samples = made[samples_key(model, m.benchmark)]
        return BenchmarkResult(
            samples=samples.output / "samples",
            verdicts=made[verdicts_key(model, m.benchmark)].output / "verdicts.parquet",
            protocol=self._protocol(model, m, made).model_copy(update=_recorded(samples)),
        )

    def _protocol(self, model: str, m: Measurement, made: Mades) -> ReportProtocol:
        """How a number is made, as far as it is known before it is."""
        p = self.plan.protocol
        suite = get_suite(m.benchmark)
        prompt = p.prompt.model_dump_json()
        return ReportProtocol(
            prompt=prompt if m.instruction is None else f"{prompt} with the instruction {m.instruction!r}",
            sampling=m.sampling,
            k=m.k,
            engine_version=p.engine_version,
            engine=json.dumps(p.engine.identity()),
            dtype=p.dtype,
            model_hash=made[model].hash("model"),
            benchmark_hash=made[f"benchmark.{m.benchmark}"].hash("asked"),
            grader_version=verifiers.version(suite.kind),
            grade_timeout_s=p.grade_timeout_s,
            seed=p.seed,
            limit=self.plan.limit if self.plan.limit and self.plan.limit < suite.rows else None,
        )

    def _asked(self, m: Measurement, made: Mades) -> SuiteInfo:
        path = made[f"benchmark.{m.benchmark}"].output / "asked.parquet"
        return self._suite(m).model_copy(update={"questions": path})

    @staticmethod
    def _suite(m: Measurement) -> SuiteInfo:
        suite = get_suite(m.benchmark)
        return SuiteInfo(
            name=suite.name, title=suite.title, group=suite.group, rows=suite.rows, k=suite.k, sampling=suite.sampling
        )

    def _benchmarks(self) -> list[str]:
        return [f"benchmark.{m.benchmark}" for m in self.plan.protocol.measurements]

    def _ended(self, made: Mades, context: Context) -> datetime:
        """When the last verdict was written: the same inputs give the same page."""
        keys = [
            verdicts_key(model, m.benchmark) for model, _ in self.plan.models for m in self.plan.protocol.measurements
        ]
        manifests = [context.store.slot(made[k].kind, made[k].fingerprint).manifest() for k in keys]
        return max(m.end for m in manifests if m).replace(microsecond=0)

    def outputs(self, job: Making, files: tuple[FileEntry, ...]) -> dict[str, str]:
        """`report`: everything."""
        return {"report": outputs_hash(files, "")}


def _recorded(samples: Made) -> dict[str, str]:
    """Fields of a protocol that the samples' files alone know: what drew them, which the config of an endpoint does not
    say, and the prompt as the model's chat template made it. What is not recorded is left out."""
    try:
        recorded = json.loads((samples.output / "sampling.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    found = {}
    if engines := recorded.get("engines"):
        found["engine_version"] = ", ".join(engines)
    if example := recorded.get("prompt_example"):
        found["prompt_hash"] = f"sha256:{hashlib.sha256(example.encode()).hexdigest()}"
    return found


def stage(plan: ReportPlan) -> Stage:
    """`report`."""
    evaluated = [f"evaluate.{model.split('.', 1)[1]}" for model, _ in plan.models]
    trained = [model for model, _ in plan.models]
    asked = [f"benchmark.{m.benchmark}" for m in plan.protocol.measurements]
    checked = dict.fromkeys(contamination.stage_key(data) for data, _ in plan.checked)
    # What is found in training data comes first, so that it is told before hours are spent.
    return Stage(KEY, (*checked, *evaluated, *trained, *asked), (ReportPart(plan),))
