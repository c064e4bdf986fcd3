"""`python -m hpt_core.evaluation.cluster SPEC.json`: a model's samples on a Ray cluster, in slices.

A slice is a Ray task that does what `hpt_core.evaluation.sample` does on one machine: it writes its samples to the
journals, which lie in the store and so must be seen by every node at the same path. A slice whose node dies begins
again on another one and generates only what the journals lack. Ray itself retries nothing: it would count a slice's
own errors and a lost node alike. When this process ends, Ray ends its tasks.
"""

import importlib
import logging
import math
import socket
import time
from pathlib import Path
from typing import Any

from pydantic import Field

from hpt_core import errors
from hpt_core.base import Frozen
from hpt_core.errors import BudgetError, ConfigError, HPTError, PreflightError, WorkerError
from hpt_core.evaluation import sample
from hpt_core.evaluation.shards import read_questions, rows_in_shards
from hpt_core.evaluation.spec import SampleSpec, Slice
from hpt_core.evaluation.spending import spent_on
from hpt_core.worker import ENVIRONMENT, leave_standard_output, main

logger = logging.getLogger("hpt.evaluation.cluster")

ATTEMPTS = 3
"""Times that a slice is begun whose node or process dies."""
EVERY_S = 1.0
"""Seconds between two looks at the slices."""
CONNECT_S = 10.0
"""Seconds that a cluster has to answer a connection."""
STILL_S = 300.0
"""Seconds without a sample after which the log says so."""
Failure = tuple[str, str, str]
"""(class, cause, remedy) of the HPTError that a slice ended with."""


class ClusterSpec(Frozen):
    """Spec of `python -m hpt_core.evaluation.cluster`: the slices of a SampleSpec, on a Ray cluster."""

    sample: SampleSpec
    """What is sampled; its folders lie where every node sees them."""
    address: str
    """Address of the cluster, as ray.init takes it."""
    slices: int | None = Field(None, ge=1)
    """Parts of the questions; None is one for each GPU of the cluster, or for each node where it has none."""


def run(spec: ClusterSpec) -> None:
    """Generate every slice, then write the shards. Raises ConfigError, PreflightError, WorkerError and a slice's."""
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError(
            f"resources.ray is {spec.address!r} and Ray is not installed",
            "install it: pip install 'hpt-pipelines[ray]'",
        ) from error
    _require_listening(spec.address)
    leave_standard_output()
    try:
        ray.init(address=spec.address, log_to_driver=False, logging_level=logging.WARNING)
    except Exception as error:  # ray raises ConnectionError, ValueError, RuntimeError and its own alike
        raise ConfigError(
            f"there is no Ray cluster to be had at {spec.address!r}: {str(error).strip().splitlines()[0]}",
            "check resources.ray, and that RAY_AUTH_MODE and the token are those of the cluster",
        ) from error
    try:
        _draw(ray, spec)
    finally:
        ray.shutdown()
    sample.run(spec.sample.model_copy(update={"joins": True}))


def _require_listening(address: str) -> None:
    """Raise ConfigError where nothing listens at HOST:PORT: Ray itself would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"there is no Ray cluster to be had at {address!r}: {error}", "check resources.ray and the network"
        ) from error


def _draw(ray: Any, spec: ClusterSpec) -> None:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    if not nodes:
        raise PreflightError(f"the Ray cluster at {spec.address} has no node with a CPU", "add a node to it")
    count = spec.slices or gpus or len(nodes)
    # Without GPUs a slice takes the cores that slices leave each other on the smallest node.
    cpus = 1 if gpus else max(1, int(min(n["CPU"] for n in nodes)) // math.ceil(count / len(nodes)))
    logger.info("%d slices on %d nodes with %d GPUs; each takes %d cores", count, len(nodes), gpus, cpus)
    task = ray.remote(_slice).options(
        num_gpus=1 if gpus else 0,
        num_cpus=cpus,
        max_retries=0,
        scheduling_strategy="SPREAD",
        runtime_env={"env_vars": {**ENVIRONMENT, "OMP_NUM_THREADS": str(cpus)}},
    )
    budget = spec.sample.budget.left(spent_on(spec.sample.units), count)
    specs = [
        spec.sample.model_copy(update={"slice": Slice(index=i, count=count), "budget": budget}).model_dump_json()
        for i in range(count)
    ]
    attempts = [1] * count
    under_way = {task.remote(text): index for index, text in enumerate(specs)}
    used_up: BudgetError | None = None
    watch = _Watch(spec.sample)
    while under_way:
        ended, _ = ray.wait(list(under_way), num_returns=1, timeout=EVERY_S)
        for reference in ended:
            index = under_way.pop(reference)
            try:
                lost = _outcome(ray, reference)
            except BudgetError as error:
                # The others may go on with theirs.
                used_up = used_up or error
                continue
            if lost:
                if attempts[index] == ATTEMPTS:
                    raise WorkerError(
                        f"slice {index} was lost {ATTEMPTS} times: {lost}",
                        "see the cluster's logs; run it again to go on",
                    )
                logger.warning("slice %d was lost and begins again: %s", index, lost)
                attempts[index] += 1
                under_way[task.remote(specs[index])] = index
        watch.report(f"{len(under_way)} of {count} slices")
    if used_up is not None:
        raise used_up


def _slice(text: str) -> Failure | None:
    """A Ray task: sample one slice. What went wrong goes back as plain text, since a class may not survive the way."""
    logging.basicConfig(level=logging.INFO)
    try:
        sample.run(SampleSpec.model_validate_json(text), lambda *_, **__: None)
    except HPTError as error:
        return type(error).__name__, error.cause, error.remedy
    return None


def _outcome(ray: Any, reference: Any) -> str:
    """Why a slice was lost, "" where it was not. Raises the HPTError that it ended with."""
    try:
        failure = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise WorkerError(f"a slice ended with {str(error.cause).strip()[:300]}", "see the cluster's logs") from error
    except ray.exceptions.RayError as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    if failure is None:
        return ""
    name, cause, remedy = failure
    raise getattr(errors, name, WorkerError)(cause, remedy)


class _Watch:
    """Counts what stands in shards and journals, reading of these only what is new."""

    def __init__(self, spec: SampleSpec) -> None:
        self._folders = [unit.work / "journal" for unit in spec.units]
        self._read: dict[Path, int] = {}
        asked = [read_questions(unit.questions).num_rows for unit in spec.units]
        if spec.pilot is not None:
            asked = [min(count, spec.pilot) for count in asked]
        self._total = sum(count * unit.k for count, unit in zip(asked, spec.units, strict=True))
        self._done = sum(rows_in_shards(unit.output) for unit in spec.units)
        self._begun = self._last = time.monotonic(), self._count()

    def report(self, text: str) -> None:
        """Report the samples that are there, and how long the rest will take at the rate so far."""
        done, now = self._count(), time.monotonic()
        if done > self._last[1]:
            self._last = now, done
        elif now - self._last[0] > STILL_S:
            logger.warning("no sample for %.0f s; the cluster may lack the GPUs or cores that slices wait for", STILL_S)
            self._last = now, done
        start, before = self._begun
        left = (now - start) * (self._total - done) / (done - before) if before < done < self._total else None
        sample.report_event(min(done, self._total), self._total, text, left)

    def _count(self) -> int:
        for path in [path for folder in self._folders for path in folder.glob("*.jsonl")]:
            with path.open("rb") as file:
                # The first line names the engine, and is no sample.
                self._done -= path not in self._read
                file.seek(self._read.get(path, 0))
                for line in file:
                    if line.endswith(b"\n"):
                        self._done += 1
                        self._read[path] = self._read.get(path, 0) + len(line)
                self._read.setdefault(path, 0)
        return self._done


if __name__ == "__main__":
    main(ClusterSpec, run)
