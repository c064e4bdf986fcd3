"""What an artifact cost, over all attempts to produce it."""

import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from hpt_core.artifacts import Cost, Slot
from tasks.execution import energy, environment
from tasks.execution.artifact import Job, Step
from tasks.execution.context import Context

LOG = logging.getLogger("hpt.cost")


class Meter:
    """Measures an attempt of a step, and adds those before it, also of runs that were killed.

    Each attempt is a line of attempts.jsonl in the slot's folder: its start, and once it ends, what it used. What an
    attempt of several artifacts used is divided among them.
    """

    def __init__(self, step: Step, jobs: Sequence[Job], context: Context) -> None:
        self.start = datetime.now(UTC)
        self._step, self._jobs, self._context = step, jobs, context
        self._devices = step.devices(context)
        self._energy = energy.used_kwh(environment.visible_devices()) if self._devices else None
        for job in jobs:
            _close(job.slot)
            _append(job.slot, {"start": self.start.isoformat(), "devices": self._devices, "parts": len(jobs)})

    def end(self, used: Cost) -> None:
        """Record the end of the attempt, whether it succeeded or failed."""
        self.stop = datetime.now(UTC)
        line: dict[str, Any] = {"end": self.stop.isoformat(), "cpu_seconds": used.cpu_seconds}
        line["peak_memory_bytes"] = used.peak_memory_bytes
        now = None if self._energy is None else energy.used_kwh(environment.visible_devices())
        # The counter starts again with the driver.
        if now is not None and self._energy is not None and now >= self._energy:
            line["energy_kwh"] = now - self._energy
        for job in self._jobs:
            _append(job.slot, line)

    def total(self, job: Job, facts: Mapping[str, Any]) -> Cost:
        """What the artifact with these facts cost."""
        cost = _total(_read(job.slot))
        money = self._step.money(facts, cost.device_hours, self._context)
        return cost.model_copy(update={"money": None if money is None else round(money, 6)})


def _total(lines: list[dict[str, Any]]) -> Cost:
    seconds = cpu_seconds = device_seconds = used = 0.0
    peak = attempts = 0
    known, measured = True, False
    for begun, ended in pairwise(lines):
        if "start" not in begun or "end" not in ended:
            continue
        took = (datetime.fromisoformat(ended["end"]) - datetime.fromisoformat(begun["start"])).total_seconds()
        attempts, seconds = attempts + 1, seconds + took / begun["parts"]
        cpu_seconds += ended.get("cpu_seconds", 0.0) / begun["parts"]
        peak = max(peak, ended.get("peak_memory_bytes", 0))
        known = known and begun["devices"] is not None
        device_seconds += (begun["devices"] or 0) * took / begun["parts"]
        measured = measured or "energy_kwh" in ended
        used += ended.get("energy_kwh", 0.0) / begun["parts"]
    return Cost(
        seconds=round(seconds, 3),
        cpu_seconds=round(cpu_seconds, 3),
        peak_memory_bytes=peak,
        attempts=attempts,
        device_hours=round(device_seconds / 3600, 6) if known else None,
        energy_kwh=round(used, 6) if measured else None,
    )


def _close(slot: Slot) -> None:
    """End an attempt that was killed, when it wrote its last file."""
    lines = _read(slot)
    if lines and "start" in lines[-1]:
        last = max(datetime.fromisoformat(lines[-1]["start"]), slot.last_write())
        _append(slot, {"end": last.isoformat()})


def _append(slot: Slot, line: dict[str, Any]) -> None:
    """Add a line. A failure is only logged, so that it does not hide the error of the stage."""
    try:
        slot.folder.mkdir(parents=True, exist_ok=True)
        with slot.attempts_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        LOG.warning("the cost of %s will be incomplete: %s", slot.folder, error.strerror or error)


def _read(slot: Slot) -> list[dict[str, Any]]:
    """Starts and ends in turn. A line that was cut off when its process was killed is left out."""
    found: list[dict[str, Any]] = []
    with contextlib.suppress(OSError):
        for text in slot.attempts_file.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(text))
    return found
