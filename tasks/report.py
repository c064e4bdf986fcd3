"""Tables and leaderboard: `python -m benchmarks.report.build`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from benchmarks.report.inputs import BenchmarkResult, ModelResult, ReportInputs, SuiteInfo
from benchmarks.report.inputs import Protocol as ReportProtocol
from benchmarks.suite import get_suite
from hpt_core import verifiers
from hpt_core.artifacts import Cost, FileEntry, outputs_hash
from tasks import environment
from tasks.context import Context
from tasks.evaluate import Measurement, Protocol, samples_key, verdicts_key
from tasks.part import Mades, Making, Part, Stage, Unit

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
        }


SOURCES = ("benchmarks.report", "benchmarks.significance", "hpt_core.evaluation.metrics")
"""Whose code a report's numbers and pages come from."""


class ReportPart(Part):
    """Parquet tables, leaderboard.md and the page."""

    def __init__(self, plan: ReportPlan) -> None:
        self.plan = plan

    def units(self, made: Mades, context: Context) -> list[Unit]:
        """Depends on every sample, verdict and training log."""
        inputs, provisional = {}, False
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
        return [Unit(KEY, "report", self.plan.as_json(), versions, inputs, provisional)]

    def make(self, jobs: Sequence[Making], made: Mades, context: Context) -> Cost:
        """Run the worker."""
        (job,) = jobs
        spec = ReportInputs(
            title=self.plan.title,
            pipeline=self.plan.pipeline,
            published=self.plan.published,
            baseline=self.plan.baseline,
            models=tuple(self._model(model, algorithm, made) for model, algorithm in self.plan.models),
            suites=tuple(self._suite(m) for m in self.plan.protocol.measurements),
            created=self._ended(made, context),
            notes=self.plan.notes,
            output=job.slot.output,
        )
        return context.worker(KEY, "benchmarks.report.build", spec, [job.slot])

    def _model(self, model: str, algorithm: str | None, made: Mades) -> ModelResult:
        results = {m.benchmark: self._result(model, m, made) for m in self.plan.protocol.measurements}
        log = made[model].output / "log.parquet" if model.startswith("train.") else None
        return ModelResult(
            name=model, label=model.split(".", 1)[1], algorithm=algorithm, results=results, train_log=log
        )

    def _result(self, model: str, m: Measurement, made: Mades) -> BenchmarkResult:
        p = self.plan.protocol
        suite = get_suite(m.benchmark)
        return BenchmarkResult(
            samples=made[samples_key(model, m.benchmark)].output / "samples",
            verdicts=made[verdicts_key(model, m.benchmark)].output / "verdicts.parquet",
            protocol=ReportProtocol(
                prompt=p.prompt.model_dump_json()
                if m.instruction is None
                else f"{p.prompt.model_dump_json()} with the instruction {m.instruction!r}",
                sampling=m.sampling,
                k=m.k,
                engine_version=p.engine_version,
                model_hash=made[model].hash("model"),
                benchmark_hash=made[f"benchmark.{m.benchmark}"].hash("asked"),
                grader_version=verifiers.version(suite.kind),
                seed=p.seed,
                limit=self.plan.limit if self.plan.limit and self.plan.limit < suite.rows else None,
            ),
        )

    @staticmethod
    def _suite(m: Measurement) -> SuiteInfo:
        suite = get_suite(m.benchmark)
        return SuiteInfo(
            name=suite.name, title=suite.title, group=suite.group, rows=suite.rows, k=suite.k, sampling=suite.sampling
        )

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


def stage(plan: ReportPlan) -> Stage:
    """`report`."""
    evaluated = [f"evaluate.{model.split('.', 1)[1]}" for model, _ in plan.models]
    trained = [model for model, _ in plan.models]
    asked = [f"benchmark.{m.benchmark}" for m in plan.protocol.measurements]
    return Stage(KEY, (*evaluated, *trained, *asked), (ReportPart(plan),))
