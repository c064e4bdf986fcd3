"""Many workers on one store and one Prefect server, beyond what a machine can run: a discrete-event simulation.

What a stage asks of the store and of Prefect, and how fast Prefect answers, is measured (`python -m bench.scale
stages`, `... prefect`). Amazon's documents give the store's limits. Everything else is an assumption, which `settings`
names:

- A worker takes one pipeline after the other, and runs its stages in order.
- A stage is requests before its work, the work itself, and requests after it. A worker waits for each request.
- The store answers each request after a latency, and at most so many per second and prefix. All manifests share one
  prefix, which is the worst case.
- Prefect's server is one queue with the measured rate. Each worker is a Prefect worker of its own with one run, so the
  run's heartbeat, the worker's heartbeat and its polls for work go there, too.
"""

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from bench import machine, options, records
from bench.records import Record

OUT = records.latest("simulation")
S3 = {"get": 5500.0, "put": 3500.0}
"""Requests per second and prefix: GET and HEAD; PUT, LIST and DELETE (Amazon S3 user guide, "performance")."""
LATENCY_S = 0.03
"""Seconds of a request to S3."""
TICK_S = 30.0
PER_TICK = 5.0
"""Requests of a worker to Prefect every 30 s, whatever its stage does: the run's heartbeat and the worker's, and a poll
every 10 s (Prefect's defaults)."""
BUSY = 0.8
"""Share of a server's capacity from which it is called saturated."""
READS = ("get", "head")
WRITES = ("put", "list", "delete")


@dataclass
class Server:
    """A queue that answers at most `rate` requests per second, each after `latency` seconds."""

    rate: float
    latency: float = 0.0
    free: float = 0.0
    asked: int = 0
    waited: float = 0.0

    def ask(self, now: float, count: float) -> float:
        """When `count` requests that are made at `now`, one after the other, are answered."""
        begins = max(now, self.free)
        self.waited += begins - now
        self.asked += round(count)
        self.free = begins + count / self.rate
        return max(self.free, now + count * self.latency)


@dataclass
class World:
    """The servers of a simulation."""

    prefect: Server
    reads: Server
    writes: Server
    finished: int = 0
    work: float = 0.0
    over: list[float] = field(default_factory=list)
    """Seconds of orchestration of each stage."""


def simulate(
    stages: int, workers: int, seconds: float, store: dict[str, float], asked: float, rate: float, seed: int = 0
) -> dict[str, Any]:
    """Run the stages. `seconds` is a stage's mean work, `store` and `asked` are its requests, `rate` is Prefect's."""
    world = World(Server(rate), Server(S3["get"], LATENCY_S), Server(S3["put"], LATENCY_S))
    random_ = random.Random(seed)
    reads, writes = (sum(store[name] for name in names) for names in (READS, WRITES))
    left = stages
    events: list[tuple[float, int, Iterator[float]]] = []

    def worker(begin: float) -> Iterator[float]:
        nonlocal left
        now = begin
        while left > 0:
            left -= 1
            started = now
            # Half of the requests come before the work, half after it.
            for half in range(2):
                now = yield world.prefect.ask(now, asked / 2)
                now = yield world.reads.ask(now, reads / 2)
                now = yield world.writes.ask(now, writes / 2)
                if half == 0:
                    work = seconds * random_.uniform(0.5, 1.5)
                    ends = now + work
                    while now + TICK_S < ends:
                        now = yield now + TICK_S
                        world.prefect.ask(now, PER_TICK)
                    now = yield ends
            world.over.append(now - started - work)
            world.finished += 1
            world.work += work

    # Workers start within a minute, as a pool does.
    for number in range(workers):
        begin = random_.uniform(0, 60)
        process = worker(begin)
        heapq.heappush(events, (begin, number, process))
    waiting = dict.fromkeys(range(workers), True)
    end = 0.0
    while events:
        now, number, process = heapq.heappop(events)
        try:
            at = next(process) if waiting.pop(number, False) else process.send(now)
        except StopIteration:
            end = max(end, now)
            continue
        heapq.heappush(events, (at, number, process))
    over = sorted(world.over)
    return {
        "stages": stages,
        "workers": workers,
        "work_s": seconds,
        "hours": end / 3600,
        "efficiency": world.work / (workers * end),
        "orchestration_s": over[len(over) // 2],
        "prefect": world.prefect.asked / rate / end,
        "store": max(world.reads.asked / S3["get"], world.writes.asked / S3["put"]) / end,
    }


def gives_way(store: dict[str, float], asked: float, rate: float, seconds: float) -> dict[str, float]:
    """Workers at which each part is saturated, with stages of this mean work."""
    reads, writes = (sum(store[name] for name in names) for names in (READS, WRITES))
    per_second = {
        "prefect": (asked + seconds / TICK_S * PER_TICK) / rate,
        "store, reads": reads / S3["get"],
        "store, writes": writes / S3["put"],
    }
    return {name: BUSY * seconds / share for name, share in per_second.items()}


def main(
    stages: Annotated[int, typer.Option(help="stages")] = 10_000,
    workers: Annotated[int, typer.Option(help="workers")] = 1000,
    out: options.Out = OUT,
) -> None:
    """Simulate many workers on one S3 store, with the committed figures of stages and of Prefect (seconds)."""
    of_stage, of_prefect = (records.read(records.RESULTS / f"{name}.json").summary for name in ("stages", "prefect"))
    store, asked = of_stage["store"], of_stage["prefect"] + of_stage["events"]
    rows = []
    for database, found in of_prefect.items():
        for seconds in (10.0, 60.0, 600.0, 3600.0):
            measured = simulate(stages, workers, seconds, store, asked, found["per_second"])
            limits = gives_way(store, asked, found["per_second"], seconds)
            rows.append({"database": database, **measured, "limits": limits})
            print(rows[-1])
    facts = {
        "stages": stages,
        "workers": workers,
        "s3": S3,
        "latency_s": LATENCY_S,
        "per_worker_per_s": PER_TICK / TICK_S,
        "saturated": BUSY,
        "store": store,
        "prefect": asked,
    }
    summary = {"rows": len(rows)}
    records.finish(out, Record("simulation", machine.describe(), facts, summary, rows), table)


def table(record: Record) -> str:
    """One line per database and length of stages."""
    rows = [
        (
            row["database"],
            f"{row['work_s']:g} s",
            f"{row['hours']:.2f} h",
            records.share(row["efficiency"]),
            f"{row['orchestration_s']:.1f} s",
            records.share(row["prefect"]),
            records.share(row["store"]),
            f"{first} at {_round(row['limits'][first])}",
        )
        for row in record.rows
        for first in (min(row["limits"], key=row["limits"].__getitem__),)
    ]
    columns = (
        *("database", "work of a stage", "all stages", "time at work", "orchestration of a stage"),
        *("Prefect's load", "store's load", "gives way first, at workers"),
    )
    return records.markdown(columns, rows)


def _round(workers: float) -> str:
    digits = max(0, len(str(int(workers))) - 2)
    return f"{round(workers, -digits):,.0f}"
