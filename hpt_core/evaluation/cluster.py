"""`python -m hpt_core.evaluation.cluster SPEC.json`: sample a model on a Ray cluster, in slices.

A slice is a Ray task that runs `hpt_core.evaluation.sample` on one node. It writes its samples to the journals in the
store, so every node must see the store at the same path. If a node dies, its slice restarts on another node and
generates only the samples missing from the journals. Ray's own retries are off, because Ray does not distinguish a
slice's own error from a lost node. When this process ends, Ray ends its tasks.
"""

import importlib
import logging
import math
import os
import socket
import time
from pathlib import Path
from typing import Any

from pydantic import Field

from hpt_core import errors, redact
from hpt_core.base import Frozen
from hpt_core.errors import BudgetError, ConfigError, HPTError, PreflightError, WorkerError
from hpt_core.evaluation import sample
from hpt_core.evaluation.shards import read_questions, rows_in_shards
from hpt_core.evaluation.spec import SampleSpec, Slice
from hpt_core.evaluation.spending import spent_on
from hpt_core.plugins import FOLDERS
from hpt_core.worker import ENVIRONMENT, leave_standard_output, main

logger = logging.getLogger("hpt.evaluation.cluster")

ATTEMPTS = 3
"""Maximum attempts at a slice whose node or process dies."""
EVERY_S = 1.0
"""Seconds between two checks of the slices."""
CONNECT_S = 10.0
"""Seconds to wait for a connection to the cluster."""
STILL_S = 300.0
"""Seconds without a new sample until a warning is logged."""
Failure = tuple[str, str, str]
"""(class, cause, remedy) of the HPTError that ended a slice."""


class ClusterSpec(Frozen):
    """Spec of `python -m hpt_core.evaluation.cluster`: the slices of a SampleSpec, on a Ray cluster."""

    sample: SampleSpec
    """What to sample. Every node must see its folders."""
    address: str
    """Address of the cluster, as for ray.init."""
    slices: int | None = Field(None, ge=1)
    """Number of slices. None means one per GPU of the cluster, or one per node if there are no GPUs."""


def run(spec: ClusterSpec) -> None:
    """Generate every slice, then write the shards. Raises ConfigError, PreflightError, WorkerError and a slice's
    errors."""
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
            f"cannot connect to a Ray cluster at {spec.address!r}: {str(error).strip().splitlines()[0]}",
            "check resources.ray, and that RAY_AUTH_MODE and the token match the cluster's",
        ) from error
    try:
        _generate(ray, spec)
    finally:
        ray.shutdown()
    sample.run(spec.sample.model_copy(update={"joins": True}))


def _require_listening(address: str) -> None:
    """Raise ConfigError if nothing listens at HOST:PORT. Ray itself would keep trying for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cannot connect to a Ray cluster at {address!r}: {error}", "check resources.ray and the network"
        ) from error


def _generate(ray: Any, spec: ClusterSpec) -> None:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    if not nodes:
        raise PreflightError(f"the Ray cluster at {spec.address} has no node with a CPU", "add a node to it")
    count = spec.slices or gpus or len(nodes)
    # Without GPUs, the slices of a node share its cores; the smallest node decides.
    cpus = 1 if gpus else max(1, int(min(n["CPU"] for n in nodes)) // math.ceil(count / len(nodes)))
    logger.info("%d slices on %d nodes with %d GPUs; each takes %d cores", count, len(nodes), gpus, cpus)
    task = ray.remote(_slice).options(
        num_gpus=1 if gpus else 0,
        num_cpus=cpus,
        max_retries=0,
        scheduling_strategy="SPREAD",
        # The folders of plug-ins lie on the nodes' shared file system, as the store does.
        runtime_env={"env_vars": {**ENVIRONMENT, "OMP_NUM_THREADS": str(cpus), FOLDERS: os.environ.get(FOLDERS, "")}},
    )
    budget = spec.sample.budget.left(spent_on(spec.sample.units), count)
    specs = [
        spec.sample.model_copy(update={"slice": Slice(index=i, count=count), "budget": budget}).model_dump_json()
        for i in range(count)
    ]
    attempts = [1] * count
    running = {task.remote(text): index for index, text in enumerate(specs)}
    used_up: BudgetError | None = None
    watch = _Watch(spec.sample)
    while running:
        ended, _ = ray.wait(list(running), num_returns=1, timeout=EVERY_S)
        for reference in ended:
            index = running.pop(reference)
            try:
                lost = _outcome(ray, reference)
            except BudgetError as error:
                # Other slices may still have budget.
                used_up = used_up or error
                continue
            if lost:
                if attempts[index] == ATTEMPTS:
                    raise WorkerError(
                        f"slice {index} was lost {ATTEMPTS} times: {lost}",
                        "see the cluster's logs, then run again to continue",
                    )
                logger.warning("slice %d was lost and restarts: %s", index, lost)
                attempts[index] += 1
                running[task.remote(specs[index])] = index
        watch.report(f"{len(running)} of {count} slices")
    if used_up is not None:
        raise used_up


def _slice(text: str) -> Failure | None:
    """A Ray task: sample one slice. Returns an error as plain text, because Ray may not be able to transfer its
    class."""
    redact.install()
    logging.basicConfig(level=logging.INFO)
    try:
        sample.run(SampleSpec.model_validate_json(text), lambda *_, **__: None)
    except HPTError as error:
        return type(error).__name__, error.cause, error.remedy
    return None


def _outcome(ray: Any, reference: Any) -> str:
    """Why a slice was lost; "" if it finished. Raises the HPTError that ended it."""
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
    """Counts the samples in shards and journals. Reads only the new part of each journal."""

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
        """Report progress, with an estimate of the remaining time from the average rate so far."""
        done, now = self._count(), time.monotonic()
        if done > self._last[1]:
            self._last = now, done
        elif now - self._last[0] > STILL_S:
            logger.warning("no new sample for %.0f s; slices may be waiting for GPUs or cores", STILL_S)
            self._last = now, done
        start, before = self._begun
        left = (now - start) * (self._total - done) / (done - before) if before < done < self._total else None
        sample.report_event(min(done, self._total), self._total, text, left)

    def _count(self) -> int:
        for path in [path for folder in self._folders for path in folder.glob("*.jsonl")]:
            with path.open("rb") as file:
                # The first line names the engine and is not a sample.
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
