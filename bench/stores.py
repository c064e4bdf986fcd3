"""Stores with made-up results, for measurements and tests: manifests, samples, verdicts and records of runs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.suite import get_suite
from hpt_core.artifacts import Cost, Manifest, RunRecord, Slot, StageRecord, Store
from hpt_core.files import sha256_json, write_text
from hpt_core.schemas import QUESTIONS, SAMPLES, VERDICTS

Correct = npt.NDArray[np.bool_]
"""[Q, k] whether each sample is correct."""
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
SAMPLING = {"temperature": 0.6, "top_p": 0.95, "max_tokens": 8192}
EVALUATE: dict[str, Any] = {"protocol": {"name": "benchmark"}, "engine": {"name": "vllm"}, "limit": None, "k": None}


class MadeUp:
    """A store that is filled with made-up artifacts. Every artifact is a second younger than the one before."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self._now = BEGUN
        self._asked: dict[str, tuple[str, int, int]] = {}

    def run(
        self,
        pipeline: str,
        models: Mapping[str, Mapping[str, Correct]],
        failed: Mapping[str, str] | None = None,
        whole: Mapping[str, int] | None = None,
        evaluate: Mapping[str, Any] | None = None,
        version: str = "1",
        parent: str = "",
        options: Mapping[str, Any] | None = None,
        logs: Mapping[str, pa.Table] | None = None,
        overrides: Sequence[str] = (),
        labels: Mapping[str, str | None] | None = None,
    ) -> dict[str, str]:
        """Add a run that trained the `models` (name -> benchmark -> answers) and evaluated them.

        `failed` holds stages and their errors, `whole` the rows of benchmarks that were asked in part. `version` makes
        other models of the same names. `logs` holds training logs of models. With `overrides`, the run is a trial.
        `labels` are those of trainings in its config. Returns the hash of each model by name.
        """
        start, artifacts, hashes = self._tick(), dict[str, str](), dict[str, str]()
        suites = list(dict.fromkeys(name for found in models.values() for name in found))
        base = parent or self._add(artifacts, "model.base", "model", {"source": pipeline}, {}, facts=_FACTS)["model"]
        for name, found in models.items():
            config = {"algorithm": {"name": name.split("_")[0]}, "seed": int(name.partition("_seed_")[2] or 1)}
            inputs = {"model": base, "prepared": sha256_json(f"data of {pipeline}")}
            facts = {"tokens": {"generated": 1000, "trained": 2000}}
            config |= {"version": version}
            log = (logs or {}).get(name)
            trained = self._add(artifacts, f"train.{name}", "train", config, inputs, facts=facts, log=log)
            hashes[name] = trained["model"]
            for benchmark, correct in found.items():
                asked = self._benchmark(artifacts, benchmark, len(correct), (whole or {}).get(benchmark, len(correct)))
                self.measure(artifacts, name, trained["model"], benchmark, asked, correct)
        stages = {key.split("/")[0]: StageRecord(what="made", seconds=1.0) for key in artifacts}
        stages |= {key: StageRecord(what="failed", seconds=1.0, text=text) for key, text in (failed or {}).items()}
        table = {**EVALUATE, **(evaluate or {}), "models": [*models], "suites": [{"name": name} for name in suites]}
        record = RunRecord(
            id=f"{start:%Y%m%d-%H%M%S}-{pipeline}-{len(stages):04x}",
            pipeline=pipeline,
            config={
                "name": pipeline,
                "evaluate": table,
                "prompt": {"name": "chat"},
                "seed": 0,
                "overrides": [*overrides],
                "train": {name: {"label": label} for name, label in (labels or {}).items()},
            },
            options=dict(options or {}),
            git_commit="0" * 40,
            start=start,
            end=self._tick(),
            outcome="failed" if failed else "done",
            error=next(iter((failed or {"": ""}).values())),
            stages=stages,
            artifacts=artifacts,
        )
        write_text(self.store.history.folder / f"{record.id}.json", record.model_dump_json() + "\n")
        return hashes

    def measure(
        self, artifacts: dict[str, str], name: str, model: str, benchmark: str, asked: str, correct: Correct
    ) -> None:
        """Add the samples and verdicts of a model on a benchmark."""
        count, k = correct.shape
        config = {
            "engine": {"name": "vllm"}, "dtype": "bfloat16", "prompt": {"name": "chat"}, "instruction": None,
            "sampling": SAMPLING, "k": k, "seed": 7, "benchmark": benchmark,
        }  # fmt: skip
        inputs = {"model": model, "questions": asked}
        slot = self._slot("samples", config, inputs)
        (slot.output / "samples").mkdir(parents=True, exist_ok=True)
        pq.write_table(_samples(benchmark, count, k), slot.output / "samples" / "part-00000.parquet")
        key = f"evaluate.{name}/samples/{benchmark}"
        samples = self._commit(artifacts, key, slot, config, inputs, {"engine": "vllm 1"}, {})
        config = {"timeout_s": 5.0, "k": k, "benchmark": benchmark}
        inputs = {"model": model, "samples": samples["samples"], "questions": asked}
        slot = self._slot("verdicts", config, inputs)
        slot.output.mkdir(parents=True, exist_ok=True)
        pq.write_table(_verdicts(benchmark, count, k, correct), slot.output / "verdicts.parquet")
        self._commit(artifacts, f"evaluate.{name}/verdicts/{benchmark}", slot, config, inputs, {"math": "math 1"}, {})

    def overlap(self, pipeline: str, benchmark: str, shares: Sequence[float]) -> None:
        """Add the overlap of the questions of a benchmark, which was asked, with the pipeline's training data."""
        inputs = {"prepared": sha256_json(f"data of {pipeline}"), "questions": self._asked[benchmark][0]}
        config = {"ngram": 13}
        slot = self._slot("contamination", config, inputs)
        slot.output.mkdir(parents=True, exist_ok=True)
        ids = question_ids(len(shares))
        columns = {"question_id": ids, "question_overlap": shares, "demonstration_overlap": [0.0] * len(shares)}
        pq.write_table(pa.table(columns), slot.output / "contamination.parquet")
        self._commit({}, f"contamination.d/{benchmark}", slot, config, inputs, {}, {})

    def _benchmark(self, artifacts: dict[str, str], name: str, asked: int, rows: int) -> str:
        """Hash of the questions of a benchmark."""
        known = self._asked.get(name)
        if known is None or known[1:] != (asked, rows):
            config = {"source": name, "rows": rows, "limit": None if asked == rows else asked}
            slot = self._slot("benchmark", config, {})
            slot.output.mkdir(parents=True, exist_ok=True)
            ids = question_ids(asked)
            columns = {"question_id": ids, "question": ids, "gold": ["1"] * asked, "kind": ["math"] * asked}
            table = pa.table({**columns, "family": [""] * asked}, schema=QUESTIONS)
            pq.write_table(table, slot.output / "asked.parquet")
            made = self._commit(
                artifacts, f"benchmark.{name}", slot, config, {}, {}, {"rows": rows, "asked": asked}, "asked"
            )
            self._asked[name] = made["asked"], asked, rows
        return self._asked[name][0]

    def _add(
        self,
        artifacts: dict[str, str],
        key: str,
        kind: str,
        config: Any,
        inputs: dict[str, str],
        facts: dict[str, Any],
        log: pa.Table | None = None,
    ) -> dict[str, str]:
        slot = self._slot(kind, config, inputs)
        if log is None:
            return self._commit(artifacts, key, slot, config, inputs, {}, facts, "model")
        slot.output.mkdir(parents=True, exist_ok=True)
        pq.write_table(log, slot.output / "log.parquet")
        return self._commit(artifacts, key, slot, config, inputs, {}, facts, "model", "log")

    def _slot(self, kind: str, config: Any, inputs: dict[str, str]) -> Slot:
        return self.store.slot(kind, sha256_json([kind, config, inputs]))

    def _commit(
        self,
        artifacts: dict[str, str],
        key: str,
        slot: Slot,
        config: Any,
        inputs: dict[str, str],
        versions: dict[str, str],
        facts: dict[str, Any],
        *names: str,
    ) -> dict[str, str]:
        """Write the manifest, not flushed: thousands are made."""
        outputs = {name: sha256_json([slot.fingerprint, name]) for name in names or (slot.kind,)}
        manifest = Manifest(
            stage=key,
            kind=slot.kind,
            fingerprint=slot.fingerprint,
            inputs=inputs,
            config=config,
            versions=versions,
            files=(),
            outputs=outputs,
            facts=facts,
            hardware=_HARDWARE,
            packages=_PACKAGES,
            git_commit="0" * 40,
            start=self._now,
            end=self._tick(),
            cost=Cost(seconds=1.0, device_hours=0.001),
        )
        slot.folder.mkdir(parents=True, exist_ok=True)
        slot.manifest_file.write_text(manifest.model_dump_json())
        artifacts[key] = f"{slot.kind}/{slot.fingerprint}"
        return outputs

    def _tick(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


_FACTS = {"architecture": "Qwen2ForCausalLM", "parameters": 1_500_000_000, "origin": {"repo": "Qwen/Qwen2.5-Math-1.5B"}}
_HARDWARE = {"processor": "a processor", "gpus": ["a GPU"], "cpus": 2, "memory_bytes": 2**34, "python": "3.11"}
_PACKAGES = dict.fromkeys(("torch", "transformers", "vllm", "numpy", "pyarrow", "prefect"), "1.0")


def question_ids(count: int) -> list[str]:
    """Ids of a benchmark's questions."""
    return [f"q{number:04}" for number in range(count)]


def drawn(generator: np.random.Generator, questions: int, k: int, chance: float) -> Correct:
    """Answers of a model that solves easy questions more often than hard ones, `chance` of all samples on average."""
    spread = 0.6 * min(chance, 1 - chance)
    chances = np.linspace(chance - spread, chance + spread, questions)[:, None]
    return generator.random((questions, k)) < chances


def rows_of(benchmark: str) -> int:
    """Number of questions of an installed benchmark."""
    return get_suite(benchmark).rows


@lru_cache(16)
def _keys(benchmark: str, count: int, k: int) -> dict[str, Sequence[Any] | pa.Array]:
    ids = pa.array(np.repeat(question_ids(count), k).tolist(), pa.string())
    index = pa.array(np.tile(np.arange(k), count), pa.int32())
    return {"benchmark": pa.array([benchmark] * (count * k)), "question_id": ids, "sample_index": index}


@lru_cache(16)
def _samples(benchmark: str, count: int, k: int) -> pa.Table:
    """The same responses for every model, with one in ten cut: their texts decide nothing here."""
    total = count * k
    cut = np.arange(total) % 10 == 9
    columns = {
        "seed": pa.array(np.arange(total), pa.int64()),
        "response": pa.array(["so the answer is 1"] * total),
        "tokens": pa.array(100 + np.arange(total) % 50, pa.int32()),
        "prompt_tokens": pa.array(np.full(total, 60), pa.int32()),
        "finish_reason": pa.array(np.where(cut, "length", "stop").tolist()),
    }
    return pa.table({**_keys(benchmark, count, k), **columns}, schema=SAMPLES)


def _verdicts(benchmark: str, count: int, k: int, correct: Correct) -> pa.Table:
    flat = correct.reshape(-1)
    outcomes = pa.DictionaryArray.from_arrays(pa.array(flat.astype(np.int32)), ["incorrect", "correct"]).cast("string")
    columns = {"outcome": outcomes, "extracted": pa.nulls(len(flat), pa.string())}
    return pa.table({**_keys(benchmark, count, k), **columns}, schema=VERDICTS)
