"""Sample a model in one process, in slices on this machine's GPUs, or in slices on a Ray cluster.

Ray runs inside a worker program, not as Prefect's task runner; ARCHITECTURE.md explains why. Ending the worker ends
its tasks on the cluster.
"""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from queue import Queue

from hpt_core.artifacts import Cost, Slot
from hpt_core.errors import BudgetError, WorkerStopped
from hpt_core.evaluation.budget import Spent
from hpt_core.evaluation.cluster import ClusterSpec
from hpt_core.evaluation.spec import SampleSpec, Slice
from hpt_core.evaluation.spending import spent_on
from tasks.execution import environment, process
from tasks.execution.context import Context, Notice, as_notice
from tasks.execution.keys import StageKey

SAMPLE = "hpt_core.evaluation.sample"
CLUSTER = "hpt_core.evaluation.cluster"


def sample(stage: StageKey, spec: SampleSpec, slots: Sequence[Slot], context: Context) -> Cost:
    """Generate all missing samples and write the shards. Raises HPTError; finished samples are kept."""
    if not spec.engine.LOCAL:
        return context.worker(stage, SAMPLE, spec, slots)
    spent = spent_on(spec.units) if spec.budget.limited else Spent()
    if spec.budget.reached(spent):
        # Nothing may be sampled, but all samples may exist already.
        return context.worker(stage, SAMPLE, spec, slots)
    if context.resources.ray is not None:
        cluster = ClusterSpec(sample=spec, address=context.resources.ray, slices=context.resources.slices)
        return context.worker(stage, CLUSTER, cluster, slots)
    devices = environment.visible_devices()
    count = context.resources.slices or max(1, len(devices))
    if count == 1:
        return context.worker(stage, SAMPLE, spec, slots, stays=spec.engine.SHARES)
    part = spec.model_copy(update={"budget": spec.budget.left(spent, count)})
    sampled = _Slices(stage, part, slots, context, count, devices).run()
    joined = context.worker(stage, SAMPLE, spec.model_copy(update={"joins": True}), slots)
    return Cost(
        cpu_seconds=round(sampled.cpu_seconds + joined.cpu_seconds, 3),
        peak_memory_bytes=max(sampled.peak_memory_bytes, joined.peak_memory_bytes),
    )


class _Slices:
    """Parallel worker processes, one for each device, or for each core without any. A worker takes one slice after the
    other and keeps its engine."""

    def __init__(
        self,
        stage: StageKey,
        spec: SampleSpec,
        slots: Sequence[Slot],
        context: Context,
        count: int,
        devices: Sequence[str],
    ) -> None:
        self._stage, self._spec, self._slots, self._context = stage, spec, slots, context
        at_once = min(count, len(devices) or len(os.sched_getaffinity(0)))
        self._count, self._at_once = count, at_once
        self._has_devices = bool(devices)
        self._free: Queue[tuple[str | None, process.Staying]] = Queue()
        for device in devices[:at_once] or [None] * at_once:  # type: ignore[list-item]
            self._free.put((device, process.Staying()))
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._notices: dict[int, Notice] = {}

    def run(self) -> Cost:
        """Run every slice. A failed slice stops the others, unless it failed by using up its budget."""
        with ThreadPoolExecutor(self._at_once) as pool:
            futures = [pool.submit(self._one, index) for index in range(self._count)]
            try:
                pending = set(futures)
                while pending and not self._context.cancelled.is_set():
                    done, pending = wait(pending, 0.2, FIRST_COMPLETED)
                    if any(_stops_others(future) for future in done):
                        break
            finally:
                self._stop.set()
        while not self._free.empty():
            self._free.get()[1].close()
        return self._cost(futures)

    def _one(self, index: int) -> Cost:
        if self._stop.is_set():
            raise WorkerStopped(f"{self._stage}: slice {index} was not started", "run it again to continue")
        device, worker = self._free.get()
        try:
            spec = self._spec.model_copy(update={"slice": Slice(index=index, count=self._count)})
            job = self._context.job(self._stage, SAMPLE, spec, self._slots, self._threads(), name=f"spec-{index}")
            if device is not None:
                job.environment["CUDA_VISIBLE_DEVICES"] = device
            return worker.run(job, lambda event: self._show(index, event), self._stop)
        finally:
            self._free.put((device, worker))

    def _threads(self) -> int | None:
        """Threads per slice: as configured; otherwise, slices without GPUs share the cores."""
        if self._context.resources.threads is not None or self._has_devices:
            return self._context.resources.threads
        return max(1, len(os.sched_getaffinity(0)) // self._at_once)

    def _show(self, index: int, event: process.Event) -> None:
        notice = as_notice(str(self._stage), event)
        if notice is None:
            return
        with self._lock:
            self._notices[index] = notice
            if len(self._notices) < self._at_once:
                return
            every = list(self._notices.values())
            done, total = sum(n.done for n in every), sum(n.total for n in every)
            text = f"slice {index}: {notice.text}" if notice.text else ""
            left = max((n.left for n in every if n.left is not None), default=None)
            self._context.notify(Notice(str(self._stage), "progress", text, done, total, notice.unit, left))

    @staticmethod
    def _cost(futures: "Sequence[Future[Cost]]") -> Cost:
        errors = [error for future in futures if (error := future.exception())]
        if errors:
            # Slices that were stopped are not the cause.
            raise next((e for e in errors if not isinstance(e, WorkerStopped)), errors[0])
        costs = [future.result() for future in futures]
        return Cost(
            cpu_seconds=round(sum(c.cpu_seconds for c in costs), 3),
            peak_memory_bytes=max(c.peak_memory_bytes for c in costs),
        )


def _stops_others(future: "Future[Cost]") -> bool:
    error = future.exception()
    return error is not None and not isinstance(error, BudgetError)
