"""Overlap of training data with the benchmarks: `python -m hpt_core.data.contamination`."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hpt_core.artifacts import Cost, FileEntry, outputs_hash
from hpt_core.data import contamination
from hpt_core.data.contamination import ContaminationSpec, ContaminationUnit
from tasks.context import Context
from tasks.part import Mades, Making, Part, Stage, Unit

LOG = logging.getLogger("hpt.contamination")

FILE = "contamination.parquet"


class Gate(NamedTuple):
    """What will keep the report from being published."""

    overlap_share: float
    """Share of a question's n-grams from which on it overlaps."""
    max_overlap: float
    """Largest share of a benchmark's questions that may."""


def stage_key(data: str) -> str:
    """Key of the stage for training data `data.NAME`."""
    return f"contamination.{data.removeprefix('data.')}"


def contamination_key(data: str, benchmark: str) -> str:
    """Key of the output for training data `data.NAME` and a benchmark."""
    return f"contamination/{data}/{benchmark}"


class ContaminationPart(Part):
    """One table a benchmark; one pass over the data for all that are missing."""

    def __init__(self, key: str, data: str, ngram: int, benchmarks: tuple[str, ...], gate: Gate | None = None) -> None:
        self.key = key
        self.gate = gate
        self.data = data
        self.ngram = ngram
        self.benchmarks = benchmarks

    def units(self, made: Mades, context: Context) -> list[Unit]:
        """Depends on the prepared rows and on the questions that are asked."""
        return [self._unit(name, made) for name in self.benchmarks]

    def _unit(self, benchmark: str, made: Mades) -> Unit:
        data, questions = made[self.data], made[f"benchmark.{benchmark}"]
        return Unit(
            contamination_key(self.data, benchmark),
            "contamination",
            {"ngram": self.ngram},
            {"contamination": str(contamination.VERSION)},
            {"prepared": data.hash("prepared"), "questions": questions.hash("asked")},
            data.provisional or questions.provisional,
        )

    def make(self, jobs: Sequence[Making], made: Mades, context: Context) -> Cost:
        """Run the worker once for all that is missing, and warn of what will not be published."""
        by_key = {contamination_key(self.data, name): name for name in self.benchmarks}
        units = [
            ContaminationUnit(
                benchmark=by_key[job.unit.key],
                questions=made[f"benchmark.{by_key[job.unit.key]}"].output / "asked.parquet",
                output=job.slot.output / FILE,
            )
            for job in jobs
        ]
        spec = ContaminationSpec(data=made[self.data].output / "prepared.parquet", ngram=self.ngram, units=tuple(units))
        cost = context.worker(self.key, "hpt_core.data.contamination", spec, [job.slot for job in jobs])
        if self.gate is not None:
            for unit in units:
                warn(self.data, unit.benchmark, unit.output, self.gate)
        return cost

    def outputs(self, job: Making, files: tuple[FileEntry, ...]) -> dict[str, str]:
        """`contamination`: one row a question."""
        return {"contamination": outputs_hash(files, FILE)}

    def facts(self, job: Making) -> dict[str, Any]:
        """How many questions share any run of words with training questions, and with demonstrations."""
        import pyarrow.parquet as pq

        table = pq.read_table(job.slot.output / FILE)
        return {
            "questions": table.num_rows,
            **{
                name: sum(share > 0 for share in table.column(name).to_pylist())
                for name in ("question_overlap", "demonstration_overlap")
            },
        }


def warn(data: str, benchmark: str, path: Path, gate: Gate) -> None:
    """Log a warning where these data alone keep the report from being published."""
    import pyarrow.parquet as pq

    rows = pq.read_table(path, columns=["question_overlap", "demonstration_overlap"]).to_pylist()
    found = sum(max(row.values()) >= gate.overlap_share for row in rows)
    if rows and found / len(rows) > gate.max_overlap:
        LOG.warning(
            "%d of %d questions of %s overlap %s; report.max_overlap is %g: nothing will be published",
            *(found, len(rows), benchmark, data, gate.max_overlap),
        )


def stage(data: str, ngram: int, benchmarks: tuple[str, ...], gate: Gate | None = None) -> Stage:
    """`contamination.NAME` for training data `data.NAME`; the gate is only warned of, and changes no output."""
    key = stage_key(data)
    after = (data, *(f"benchmark.{name}" for name in benchmarks))
    return Stage(key, after, (ContaminationPart(key, data, ngram, benchmarks, gate),))
