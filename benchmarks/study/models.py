"""The models of a study: what each scored, and what its training took. They are read from a store's artifacts, or from
the tables of a report, so that seeds may be measured in several stores."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.report.measured import read_table
from benchmarks.study.inputs import Benchmark, Declared, HeldOut, Member
from hpt_core import schemas
from hpt_core.base import Frozen
from hpt_core.errors import DataError
from hpt_core.evaluation.metrics import question_counts
from hpt_core.files import sha256_json, write_json, write_parquet
from hpt_core.training.questions import hold_out, read_questions

BUDGETS = {
    "steps": "steps",
    "demonstration_tokens": "demonstration tokens",
    "generated_tokens": "generated tokens",
    "trained_tokens": "trained tokens",
    "device_seconds": "device-seconds",
}
"""Budget -> its name in words."""
CURVES = ("demonstration_share", "entropy", "response_tokens", "truncated_share", "validation_reward")
"""Columns of the training log that the report plots."""


class Validation(NamedTuple):
    """One validation."""

    step: int
    """Index of the step."""
    held_out: str
    """Hash of the held-out questions, and of how they were sampled."""
    rewards: npt.NDArray[np.float64]
    """[V]"""


@dataclass(frozen=True)
class Trained:
    """A method with one seed: what it scored, and what it took."""

    method: str
    seed: int
    stage: str
    fingerprint: str
    """Hash of what trained and measured it."""
    where: str
    """Folder of the tables that it was read from; "" for this store."""
    begun: datetime | None
    """When the first of its trainings after the base began; None without one."""
    correct: Mapping[str, npt.NDArray[np.int64]]
    """Benchmark -> [Q] correct samples, in the order of the question ids."""
    k: Mapping[str, int]
    """Benchmark -> samples per question."""
    asked: Mapping[str, str]
    """Benchmark -> hash of the ids of its questions."""
    spent: Mapping[str, npt.NDArray[np.float64]]
    """Budget -> [T] sum up to each step, over all stages after the base."""
    curves: Mapping[str, npt.NDArray[np.float64]]
    """Column of the training log -> [T]."""
    validated: Sequence["Validation"]

    def shares(self, benchmark: str) -> npt.NDArray[np.float64]:
        """[Q] share of correct samples of each question."""
        return self.correct[benchmark] / self.k[benchmark]


class TrialResult(Frozen):
    """What a trial of a search gave."""

    fingerprint: str
    """Hash of what trained it."""
    reward: float
    """Of its last validation."""


class Facts(Frozen):
    """What belongs to the models of a study as a whole: study.json."""

    declared: tuple[Declared, ...]
    """All versions of the claims, oldest first."""
    trials: dict[str, TrialResult]
    """Stage of a trial of the search -> its result."""


FACTS = "study.json"
FILES = ("scores.parquet", "training.parquet", FACTS)
"""What `write_models` writes."""


def trained(member: Member, benchmarks: Iterable[Benchmark]) -> Trained:
    """A model of this store. Raises DataError if its verdicts are damaged."""
    assert member.verdicts is not None
    correct, asked = {}, {}
    for b in benchmarks:
        counts = question_counts(read_table(member.verdicts[b.name], schemas.VERDICTS), b.k)
        correct[b.name] = np.array([counts[q][0] for q in sorted(counts)])
        asked[b.name] = sha256_json(sorted(counts))
    rows = [
        {**row, "held_out": None if log.held_out is None else _hash(log.held_out)}
        for log in member.logs
        for row in read_table(log.path, schemas.TRAIN_LOG).to_pylist()
    ]
    return Trained(
        method=member.method,
        seed=member.seed,
        stage=member.stage,
        fingerprint=member.fingerprint,
        where="",
        begun=member.begun,
        correct=correct,
        k={b.name: b.k for b in benchmarks},
        asked=asked,
        spent={name: np.cumsum([1.0 if name == "steps" else float(row[name]) for row in rows]) for name in BUDGETS},
        curves={name: np.array([row[name] for row in rows], dtype=float) for name in CURVES},
        validated=_validations(rows),
    )


def _validations(rows: Sequence[Mapping[str, Any]]) -> list[Validation]:
    return [
        Validation(step, row["held_out"] or "", np.array(row["validation_rewards"]))
        for step, row in enumerate(rows)
        if row["validation_rewards"]
    ]


@lru_cache
def _hash(held_out: HeldOut) -> str:
    questions = read_questions(held_out.data, held_out.needs_demonstrations)
    _, chosen = hold_out(questions, held_out.questions)
    return sha256_json([[question.question_id for question in chosen], held_out.sampling])


def write_models(folder: Path, models: Iterable[Trained], facts: Facts) -> None:
    """Write scores.parquet, training.parquet and study.json to `folder`."""
    scores: list[dict[str, Any]] = []
    training: list[dict[str, Any]] = []
    for model in models:
        front = {"method": model.method, "seed": model.seed, "stage": model.stage}
        for name, correct in model.correct.items():
            score = float(model.shares(name).mean())
            found = {
                "benchmark": name,
                "k": model.k[name],
                "score": score,
                "asked": model.asked[name],
                "correct": correct.tolist(),
            }
            scores.append({**front, "fingerprint": model.fingerprint, "begun": model.begun, **found})
        found_at = {each.step: each for each in model.validated}
        for step in range(len(model.spent["steps"])):
            row: dict[str, Any] = {name: float(sums[step]) for name, sums in model.spent.items()}
            row |= {name: _or_none(values[step]) for name, values in model.curves.items()}
            if validation := found_at.get(step):
                row |= {"held_out": validation.held_out, "validation_rewards": validation.rewards.tolist()}
            training.append({"validation_rewards": [], **front, **row})
    write_parquet(folder / "scores.parquet", pa.Table.from_pylist(scores, SCORES))
    write_parquet(folder / "training.parquet", pa.Table.from_pylist(training, TRAINING))
    write_json(folder / FACTS, facts.model_dump(mode="json"))


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def read_models(folder: Path) -> Iterator[Trained]:
    """The models that `write_models` has written. Raises DataError."""
    training: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in read_table(folder / "training.parquet", TRAINING).to_pylist():
        training.setdefault((row["method"], row["seed"]), []).append(row)
    scores: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in read_table(folder / "scores.parquet", SCORES).to_pylist():
        scores.setdefault((row["method"], row["seed"]), []).append(row)
    for (method, seed), found in scores.items():
        rows = training.get((method, seed), [])
        yield Trained(
            method=method,
            seed=seed,
            stage=found[0]["stage"],
            fingerprint=found[0]["fingerprint"],
            where=str(folder),
            begun=found[0]["begun"],
            correct={row["benchmark"]: np.array(row["correct"]) for row in found},
            k={row["benchmark"]: row["k"] for row in found},
            asked={row["benchmark"]: row["asked"] for row in found},
            spent={name: np.array([row[name] for row in rows], dtype=float) for name in BUDGETS},
            curves={name: np.array([row[name] for row in rows], dtype=float) for name in CURVES},
            validated=_validations(rows),
        )


def read_facts(folder: Path) -> Facts:
    """The facts that belong to these models. Raises DataError."""
    path = folder / FACTS
    try:
        return Facts.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {str(error).splitlines()[0]}", "give the tables/ of a study") from error


_TEXT, _I32, _I64, _F64 = pa.string(), pa.int32(), pa.int64(), pa.float64()
_FRONT = [("method", _TEXT), ("seed", _I64), ("stage", _TEXT)]
SCORES = pa.schema(
    [
        *_FRONT, ("fingerprint", _TEXT), ("begun", pa.timestamp("us", tz="UTC")),
        ("benchmark", _TEXT), ("k", _I32), ("score", _F64), ("asked", _TEXT), ("correct", pa.list_(_I32)),
    ]
)  # fmt: skip
"""One row per model and benchmark. `correct` is in the order of the question ids; `begun` is when the first training
after the base began."""
TRAINING = pa.schema(
    [
        *_FRONT, *((name, _F64) for name in (*BUDGETS, *CURVES)),
        ("held_out", _TEXT), ("validation_rewards", pa.list_(_F64)),
    ]
)  # fmt: skip
"""One row per model and step after the base: budgets are sums up to the step; null where nothing was logged."""
