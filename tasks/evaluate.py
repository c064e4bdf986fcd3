"""Evaluation of one model: `python -m hpt_core.evaluation.sample` draws what is missing, then `.grade` verifies.

Samples and verdicts are outputs of their own, one a benchmark: a new grader reads the samples that are there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.suite import get_suite
from hpt_core import prompts, verifiers
from hpt_core.artifacts import Cost, FileEntry, outputs_hash
from hpt_core.base import Frozen
from hpt_core.evaluation.budget import Budget
from hpt_core.evaluation.grade import GradeSpec, GradeUnit
from hpt_core.evaluation.spec import SampleSpec, SampleUnit
from hpt_core.rollout.base import Sampling
from tasks import environment, slices
from tasks.context import Context
from tasks.part import Mades, Making, Part, Stage, Unit


@dataclass(frozen=True)
class Measurement:
    """How one benchmark is put to a model."""

    benchmark: str
    instruction: str | None
    sampling: Sampling
    k: int


@dataclass(frozen=True)
class Protocol:
    """How models are measured: resolved, so that it is all that a fingerprint takes."""

    prompt: Frozen
    engine: Any
    dtype: Literal["float32", "bfloat16"]
    seed: int
    measurements: tuple[Measurement, ...]
    shard_samples: int = 512
    grade_timeout_s: float = 5.0
    budget: Budget = field(default_factory=Budget)

    @property
    def engine_version(self) -> str:
        """Name and version of the engine."""
        return environment.engine_version(self.engine)


VERDICTS = "verdicts"
"""Kind of the outputs that `hpt regrade` makes again."""


def samples_key(model: str, benchmark: str) -> str:
    """Key of a samples output."""
    return f"samples/{model}/{benchmark}"


def verdicts_key(model: str, benchmark: str) -> str:
    """Key of a verdicts output."""
    return f"{VERDICTS}/{model}/{benchmark}"


class SamplePart(Part):
    """Samples of one model on every benchmark; one engine process draws those that are missing."""

    keeps_output = True
    mends = True

    def __init__(self, key: str, model: str, protocol: Protocol) -> None:
        self.key = key
        self.model = model
        self.protocol = protocol

    def units(self, made: Mades, context: Context) -> list[Unit]:
        """One output a benchmark."""
        return [self._unit(m, made) for m in self.protocol.measurements]

    def _unit(self, measurement: Measurement, made: Mades) -> Unit:
        p, model, questions = self.protocol, made[self.model], made[f"benchmark.{measurement.benchmark}"]
        config = {
            "prompt": p.prompt.model_dump(mode="json"),
            "instruction": measurement.instruction,
            "sampling": measurement.sampling.model_dump(mode="json"),
            "k": measurement.k,
            "engine": p.engine.identity(),
            "dtype": p.dtype,
            "seed": p.seed,
            # Seeds of single samples derive from the benchmark's name too.
            "benchmark": measurement.benchmark,
        }
        inputs = {"model": model.hash("model"), "questions": questions.hash("asked")}
        return Unit(
            samples_key(self.model, measurement.benchmark),
            "samples",
            config,
            {"engine": p.engine_version, "prompts": str(prompts.VERSION)},
            inputs,
            model.provisional or questions.provisional,
        )

    def make(self, jobs: Sequence[Making], made: Mades, context: Context) -> Cost:
        """Draw all that is missing: in one process, or in slices, on this machine or on a cluster."""
        return slices.draw(self.key, self.spec(jobs, made), [job.slot for job in jobs], context)

    def spec(self, jobs: Sequence[Making], made: Mades) -> SampleSpec:
        """What the worker reads."""
        by_key = {samples_key(self.model, m.benchmark): m for m in self.protocol.measurements}
        units = [
            SampleUnit(
                benchmark=m.benchmark,
                questions=made[f"benchmark.{m.benchmark}"].output / "asked.parquet",
                instruction=m.instruction,
                sampling=m.sampling,
                k=m.k,
                output=job.slot.output,
                work=job.slot.work,
            )
            for job in jobs
            if (m := by_key[job.unit.key])
        ]
        return SampleSpec(
            model=made[self.model].output / "model",
            prompt=self.protocol.prompt,
            engine=self.protocol.engine,
            dtype=self.protocol.dtype,
            seed=self.protocol.seed,
            shard_samples=self.protocol.shard_samples,
            units=tuple(units),
            budget=self.protocol.budget,
        )

    def outputs(self, job: Making, files: tuple[FileEntry, ...]) -> dict[str, str]:
        """`samples`: the shards."""
        return {"samples": outputs_hash(files, "samples")}


class GradePart(Part):
    """Verdicts of one model on every benchmark."""

    def __init__(self, key: str, model: str, protocol: Protocol) -> None:
        self.key = key
        self.model = model
        self.protocol = protocol

    def units(self, made: Mades, context: Context) -> list[Unit]:
        """One output a benchmark."""
        return [self._unit(m, made) for m in self.protocol.measurements]

    def _unit(self, measurement: Measurement, made: Mades) -> Unit:
        samples = made[samples_key(self.model, measurement.benchmark)]
        questions = made[f"benchmark.{measurement.benchmark}"]
        kind = get_suite(measurement.benchmark).kind
        return Unit(
            verdicts_key(self.model, measurement.benchmark),
            VERDICTS,
            {"timeout_s": self.protocol.grade_timeout_s, "k": measurement.k, "benchmark": measurement.benchmark},
            {kind: verifiers.version(kind)},
            {"samples": samples.hash("samples"), "questions": questions.hash("asked")},
            samples.provisional or questions.provisional,
        )

    def make(self, jobs: Sequence[Making], made: Mades, context: Context) -> Cost:
        """Run the worker once for all that is missing."""
        by_key = {verdicts_key(self.model, m.benchmark): m for m in self.protocol.measurements}
        units = [
            GradeUnit(
                benchmark=m.benchmark,
                questions=made[f"benchmark.{m.benchmark}"].output / "asked.parquet",
                samples=made[samples_key(self.model, m.benchmark)].output / "samples",
                k=m.k,
                output=job.slot.output / "verdicts.parquet",
            )
            for job in jobs
            if (m := by_key[job.unit.key])
        ]
        spec = GradeSpec(workers=context.workers, timeout_s=self.protocol.grade_timeout_s, units=tuple(units))
        return context.worker(self.key, "hpt_core.evaluation.grade", spec, [job.slot for job in jobs])

    def outputs(self, job: Making, files: tuple[FileEntry, ...]) -> dict[str, str]:
        """`verdicts`: one row a sample."""
        return {"verdicts": outputs_hash(files, "verdicts.parquet")}

    def facts(self, job: Making) -> dict[str, Any]:
        """How many samples came to which outcome."""
        import pyarrow.parquet as pq

        column = pq.read_table(job.slot.output / "verdicts.parquet", columns=["outcome"]).column("outcome")
        counts: Mapping[str, int] = {str(c["values"]): int(c["counts"]) for c in column.value_counts().to_pylist()}
        return {"outcomes": dict(sorted(counts.items()))}


def stage(model: str, protocol: Protocol) -> Stage:
    """`evaluate.NAME` for a model `model.NAME` or `train.NAME`."""
    key = f"evaluate.{model.split('.', 1)[1]}"
    after = (model, *(f"benchmark.{m.benchmark}" for m in protocol.measurements))
    return Stage(key, after, (SamplePart(key, model, protocol), GradePart(key, model, protocol)))
