"""`python -m hpt_core.evaluation.sample SPEC.json`: generate every missing sample of every benchmark with one engine.

All benchmarks share one queue (order.py), so the engine's batch stays full until the last one. A finished sample is
appended to its benchmark's journal at once, so a crash loses only the samples in flight. When a benchmark is complete,
its samples become shards: Parquet files, each written whole or not at all. A sample's seed depends on the run's seed,
the benchmark, the question and the sample index; a shard's bounds depend on its unit. So in float32 on a CPU, an
interrupted or sliced run ends with the same bytes as an uninterrupted one. On GPUs, batch composition changes bf16
results unless the engine's `batch_invariant` is set. Engine version, speed and a prompt example are written to
sampling.json beside the samples' folder, never into the samples.
"""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hpt_core.errors import DataError
from hpt_core.evaluation import estimate
from hpt_core.evaluation.assemble import assemble
from hpt_core.evaluation.budget import Budget, Spent, used_up
from hpt_core.evaluation.engines import Kept
from hpt_core.evaluation.journal import Journal, Row, new_session, read
from hpt_core.evaluation.order import Ask, Lengths, Missing, Queue
from hpt_core.evaluation.own_sampling import with_own_sampling
from hpt_core.evaluation.spec import SampleSpec
from hpt_core.evaluation.spending import spent_on
from hpt_core.evaluation.units import UnitPlan, check_context, make_plan
from hpt_core.model_folder import context_length, import_without_torch, load_tokenizer, read_config
from hpt_core.rollout.base import EngineConfig, Generation, Rollout, RolloutEngine
from hpt_core.worker import emit, main

logger = logging.getLogger("hpt.evaluation.sample")

WINDOW_S = 60.0
"""Seconds over which throughput is averaged."""
PROBES = 4
"""Prompts with which an engine that takes other weights is checked."""
PROGRESS_EVERY_S = 0.1
"""Minimum seconds between two progress reports."""


JOIN_WAIT_S = 60.0
"""Seconds to wait until samples written on other machines become visible here."""


@dataclass
class Found:
    """The samples of a unit that exist, and those that this process must generate."""

    plan: UnitPlan
    missing: list[Missing] = field(default_factory=list)
    lengths: Lengths = field(init=False)
    mine: int = 0
    """Samples that this process is responsible for."""
    present: int = 0
    """How many of them exist."""

    def __post_init__(self) -> None:
        self.lengths = Lengths(self.plan.unit.sampling.max_tokens)


class ProgressCallback(Protocol):
    """Called with progress. `left` is the estimated remaining time in seconds, None if unknown."""

    def __call__(self, done: int, total: int, text: str = "", left: float | None = None) -> None: ...


def report_event(done: int, total: int, text: str = "", left: float | None = None) -> None:
    """Report progress as an event of this worker program."""
    emit("progress", done=done, total=total, unit="samples", text=text, **({} if left is None else {"left": left}))


def run(spec: SampleSpec, report: ProgressCallback = report_event, kept: Kept | None = None) -> None:
    """Generate the missing samples, with the engine in `kept` or one that is closed again.

    Raises ConfigError, DataError, ModelError and PreflightError before sampling starts, BudgetError and EngineError
    during sampling; finished samples are kept. Raises Declined if `kept` has an engine that does not fit."""
    context = context_length(read_config(spec.model))
    spec = with_own_sampling(spec)
    for unit in spec.units:
        spec.engine.require(unit.sampling)
    tokenizer = load_tokenizer(spec.model)
    plans = [make_plan(spec, unit, tokenizer) for unit in spec.units]
    check_context(context, plans)
    units = _joined(spec, plans) if spec.joins else [_look(spec, plan) for plan in plans]
    total, present = sum(u.mine for u in units), sum(u.present for u in units)
    logger.info("%d of %d samples are there already", present, total)
    if present == total:
        report(present, total)
    else:
        budget = spec.budget
        if spec.slice is None and budget.limited:
            budget = budget.left(spent_on(spec.units))
        length = max(plan.longest_sequence for plan in plans)
        prompts = [plan.prompts[0] for plan in plans[:PROBES]]
        with contextlib.ExitStack() as stack:
            engines = kept or stack.enter_context(Kept())
            engine = engines.open(spec, length, prompts, lambda text: report(present, total, text))
            _Sampler(budget, units, engine, report).run(present, total)
    if spec.slice is not None:
        return
    for plan in plans:
        if spec.pilot is None:
            assemble(spec, plan)
        else:
            estimate.write(plan, list(_questions(spec, plan)), spent_on(spec.units))


def _joined(spec: SampleSpec, plans: list[UnitPlan]) -> list[Found]:
    """The samples of all slices. A shared file system may show other machines' last writes late, so this waits for
    missing samples, then raises DataError."""
    waited = 0.0
    while True:
        units = [_look(spec, plan) for plan in plans]
        missing = sum(u.mine - u.present for u in units)
        if not missing:
            return units
        if waited >= JOIN_WAIT_S:
            raise DataError(f"all slices have finished but {missing} samples are missing", "run again")
        time.sleep(5.0)
        waited += 5.0


def _look(spec: SampleSpec, plan: UnitPlan) -> Found:
    """The samples of a unit in shards and journals."""
    found = Found(plan)
    there = {(q, i) for s in plan.whole_shards() for q in range(s.start, s.stop) for i in range(plan.unit.k)}
    number = {question_id: n for n, question_id in enumerate(plan.question_ids)}
    for entry in read(plan.journal):
        question, index = number.get(entry.row["question_id"], -1), entry.row["sample_index"]
        if question < 0 or plan.key(question, index).seed != entry.row["seed"] or (question, index) in there:
            continue
        there.add((question, index))
        found.lengths.add(entry.row["tokens"])
    for question in _questions(spec, plan):
        indices = tuple(i for i in range(plan.unit.k) if (question, i) not in there)
        found.mine += plan.unit.k
        found.present += plan.unit.k - len(indices)
        if indices:
            found.missing.append((question, indices))
    return found


def _questions(spec: SampleSpec, plan: UnitPlan) -> Iterator[int]:
    """Numbers of the questions that this process is responsible for."""
    every: Sequence[int] = range(len(plan.question_ids))
    if spec.pilot is not None:
        taken = min(spec.pilot, len(every))
        every = [len(every) * i // taken for i in range(taken)]
    return iter(every if spec.slice is None else every[spec.slice.index :: spec.slice.count])


class _Sampler:
    """Generates the missing samples and writes them to journals."""

    def __init__(self, budget: Budget, units: list[Found], engine: RolloutEngine, report: ProgressCallback) -> None:
        self._budget, self._units, self._engine, self._show = budget, units, engine, report
        asked = [[(q, i[:1] if u.plan.greedy else i) for q, i in u.missing] for u in units]
        self._missing = [dict(u.missing) for u in units]
        self._queue = Queue(asked, [u.lengths for u in units])
        self._asks: dict[int, Ask] = {}
        """Samples in flight, by their position in the stream of requests."""
        self._reached: str | None = None
        """The budget limit that stopped sampling."""
        self._tokens = self._prompt_tokens = 0
        self._started = self._reported = time.monotonic()
        self._window = deque([(self._started, 0)])

    def run(self, present: int, total: int) -> None:
        """Generate until nothing is missing. Raises BudgetError once the budget is used up."""
        session = new_session()
        done = present
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(contextlib.closing(self._engine.stream(self._requests())))
            journals: dict[int, Journal] = {}
            for place, rollout in stream:
                ask = self._asks.pop(place)
                if ask.unit not in journals:
                    journal = Journal(self._units[ask.unit].plan.journal, session, self._engine.version)
                    journals[ask.unit] = stack.enter_context(contextlib.closing(journal))
                self._take(ask, rollout)
                rows = self._rows(ask, rollout)
                for row in rows:
                    journals[ask.unit].append(row, time.monotonic() - self._started, self._tokens)
                done += len(rows)
                self._report(done, total, ask)
        logger.info("%s: %d tokens in %.1f s", self._engine.version, self._tokens, time.monotonic() - self._started)
        if self._reached is not None:
            raise used_up(self._reached)

    def _requests(self) -> Iterator[Generation]:
        """Requests for the missing samples. Stops when the samples in flight are expected to use up the budget."""
        for place, ask in enumerate(self._queue):
            if self._budget.limited and (name := self._budget.reached(self._expected())):
                self._reached = name
                return
            plan = self._units[ask.unit].plan
            self._asks[place] = ask
            yield plan.request(ask.question, ask.sample_index), plan.sampling(ask.question)

    def _take(self, ask: Ask, rollout: Rollout) -> None:
        self._queue.finished(ask, len(rollout.token_ids))
        self._tokens += len(rollout.token_ids)
        self._prompt_tokens += len(self._units[ask.unit].plan.prompts[ask.question])

    def _rows(self, ask: Ask, rollout: Rollout) -> list[Row]:
        """The journal rows of a response. At temperature 0 it stands for every missing index of its question."""
        plan = self._units[ask.unit].plan
        indices = self._missing[ask.unit][ask.question] if plan.greedy else (ask.sample_index,)
        return [
            {
                "benchmark": plan.unit.benchmark,
                **plan.key(ask.question, index)._asdict(),
                "response": plan.opening + rollout.text,
                "tokens": len(rollout.token_ids),
                "prompt_tokens": len(plan.prompts[ask.question]),
                "finish_reason": rollout.finish_reason,
            }
            for index in indices
        ]

    def _expected(self) -> Spent:
        """Expected spending once all samples in flight have finished."""
        asks = self._asks.values()
        tokens = sum(self._units[ask.unit].lengths.mean for ask in asks)
        prompts = sum(len(self._units[ask.unit].plan.prompts[ask.question]) for ask in asks)
        elapsed = time.monotonic() - self._started
        return Spent(round(self._tokens + tokens), self._prompt_tokens + prompts, elapsed)

    def _report(self, done: int, total: int, ask: Ask) -> None:
        now = time.monotonic()
        if now - self._reported < PROGRESS_EVERY_S and done < total:
            return
        self._reported = now
        self._window.append((now, self._tokens))
        while len(self._window) > 2 and now - self._window[1][0] > WINDOW_S:
            self._window.popleft()
        start, tokens = self._window[0]
        speed = (self._tokens - tokens) / (now - start) if now > start else 0.0
        text = f"{self._units[ask.unit].plan.unit.benchmark}, {speed:,.0f} tokens/s"
        left = round(self._queue.tokens_left / speed, 1) if speed and done < total else None
        self._show(done, total, text, left)


def needs_only_tokenizer(engine: EngineConfig) -> bool:
    """Whether the engine reads nothing of a model but its tokenizer in the process that samples.

    Not said by the engines themselves, because their code counts in the identity of samples.
    """
    from hpt_core.rollout.endpoint import Endpoint
    from hpt_core.rollout.scripted import Scripted

    # An endpoint without an address serves the model itself, and checks its weights before.
    return type(engine) is Scripted or (type(engine) is Endpoint and engine.url is not None)


def _main(spec: SampleSpec, kept: Kept) -> None:
    if needs_only_tokenizer(spec.engine):
        import_without_torch(*(unit.prompt for unit in spec.units))
    run(spec, kept=kept)


if __name__ == "__main__":
    with Kept() as one:
        main(SampleSpec, lambda spec: _main(spec, one))
