"""The training loop: choose questions, sample, verify, gate, update, validate, log, checkpoint."""

import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from hpt_core.errors import TrainingError
from hpt_core.rollout.base import RolloutEngine
from hpt_core.training import sync
from hpt_core.training.batch import Tokens
from hpt_core.training.checkpoint import Checkpointer
from hpt_core.training.collect import (
    Collected,
    Collector,
    QuestionGroup,
    signals,
    warn_if_alike,
    warn_if_truncated,
    write_rollouts,
)
from hpt_core.training.config import TrainSpec
from hpt_core.training.log import TrainingLog
from hpt_core.training.log_row import describe, log_row
from hpt_core.training.model import export_model
from hpt_core.training.optimizer import learning_rate, make_optimizer
from hpt_core.training.policy import named_weights
from hpt_core.training.questions import TrainingQuestion
from hpt_core.training.schedule import cursor, questions_of_step
from hpt_core.training.update import Updater
from hpt_core.training.updated import Updated
from hpt_core.training.validation import BestModel, held_out_rewards
from hpt_core.upge.base import DEMONSTRATION
from hpt_core.worker import Progress

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger("hpt.training")

REPORT_SECONDS = 5.0
"""Minimum time between two progress reports within a step."""


class Trainer:
    """One training run. It resumes from the newest checkpoint in `spec.work`."""

    def __init__(
        self,
        spec: TrainSpec,
        identity: str,
        questions: list[TrainingQuestion],
        held_out: list[TrainingQuestion],
        policy: "nn.Module",
        collector: Collector,
        engine: RolloutEngine | None,
        progress: Progress,
    ) -> None:
        """`identity` identifies what the run computes. A checkpoint with a different identity is refused."""
        self.spec = spec
        self.config = spec.config
        self.seed = spec.seed
        self.identity = identity
        self.questions = questions
        self.held_out = held_out
        self.policy = policy
        self.collector = collector
        self.estimator = collector.estimator
        self.world = collector.world
        self.engine = engine
        self.progress = progress
        self.optimizer = make_optimizer(policy, self.config.optimizer)
        dumps = spec.work / "non_finite"
        self.updater = Updater(policy, self.optimizer, self.estimator, self.config, dumps, self.world)
        self.checkpointer = Checkpointer(
            spec.work / "checkpoints", self.config.keep_checkpoints, self.world, self._asynchronous()
        )
        self.best = BestModel(spec.work / "best", self.world)
        self.counts: Counter[str] = Counter()
        """Sums over the run's steps, keyed by "group/name"."""
        self.told: set[str] = set()
        """What the responses of some step had in common. Each is warned of once."""
        self.disagreement = 0.0
        """Largest log-probability difference between engine and trainer so far, in nats."""
        self.stopped = False
        """Whether validation has ended the run."""
        self.done = self._resume()
        self.log = TrainingLog(spec.work / "log.parquet", self.done)

    def run(self) -> None:
        """Run the remaining steps."""
        steps = self.config.steps
        self.progress(self.done, steps, "resumed" if self.done else "")
        with contextlib.closing(self.spec.open_trackers(self.done)) as trackers:
            while self.done < steps and not self.stopped:
                step = self.done + 1
                row = self._step(step)
                if self.world.is_main:
                    self.log.append(row)
                    trackers.log(row)
                    self.spec.after_step(row)
                self.done = step
                self.stopped = self._is_enough(row["validation_reward"])
                self._export(step)
                self.checkpointer.poll()
                if step % self.config.checkpoint_every == 0 or step == steps or self.stopped:
                    self._save()
                self.progress(step, steps, describe(row))
        self.checkpointer.finish()
        self._tell_end()

    def _step(self, step: int) -> dict[str, Any]:
        start = time.perf_counter()
        indices = questions_of_step(step - 1, len(self.questions), self.config.questions_per_step, self.seed)
        synced = self._sync() if self.estimator.uses_rollouts else 0.0
        collected = self.collector.collect([self.questions[i] for i in indices], step, self._within(step))
        self._release()
        if self.estimator.uses_rollouts and self.world.is_main:
            warn_if_alike(step, collected.groups, self.told)
            warn_if_truncated(step, collected.groups, self.told)
            write_rollouts(rollouts_file(self.spec.work, step), step, collected.groups)
            self._prune_rollouts(step)
        updating = time.perf_counter()
        pairs = [(row, group) for group in collected.groups for row in group.rows]
        rows = [row for row, _ in pairs]
        tokens = [group.tokens(row, self.config.sampling.temperature) for row, group in pairs]
        rate = learning_rate(self.config.optimizer, step - 1, self.config.steps)
        with deterministic():
            updates = self.updater.run(rows, tokens, rate, step, self._probes(collected.groups))
        agreement = self.updater.agreement
        self.disagreement = max(self.disagreement, agreement.largest if agreement else 0.0)
        end = time.perf_counter()
        seconds = {
            "rollout": collected.seconds_rollout,
            "verify": collected.seconds_verify,
            "update": end - updating,
            "sync": synced,
        }
        row = log_row(step, self.estimator.signals, collected, updates, rate, seconds, end - start)
        row["mismatch_kl"] = agreement.kl if agreement else math.nan
        row["device_seconds"] = (end - start) * self.world.size
        rewards = self._validate(step)
        row["validation_rewards"] = rewards
        row["validation_reward"] = fmean(rewards) if rewards else math.nan
        self._count(collected, updates, seconds)
        return row

    def _prune_rollouts(self, done: int) -> None:
        """Remove the rollouts that the config does not keep."""
        for step in range(1, done + 1):
            if not self.config.keep_rollouts.keeps(step, done):
                rollouts_file(self.spec.work, step).unlink(missing_ok=True)

    def _sync(self) -> float:
        if self.engine is None:
            return 0.0
        start = time.perf_counter()
        self.engine.sync_weights(named_weights(self.policy))
        return time.perf_counter() - start

    def _release(self) -> None:
        if self.engine is not None:
            self.engine.release()

    def _probes(self, groups: tuple[QuestionGroup, ...]) -> list[Tokens]:
        """Rollouts on which engine and trainer are compared if the step trains on no rollout."""
        rollouts = [(group, i) for group in groups for i in range(len(group.rollouts))]
        chosen = [rollouts[i] for i in sync.probes(len(rollouts))] if rollouts else []
        return [group.rollout_tokens(i, self.config.sampling.temperature) for group, i in chosen]

    def _validate(self, step: int) -> list[float]:
        """[Q] rewards of the held-out questions; empty at steps without validation."""
        config, pool = self.config.validation, self.collector.pool
        if config is None or (step % config.every and step < self.config.steps):
            return []
        assert self.engine is not None
        assert pool is not None
        start = time.perf_counter()
        self._sync()
        rewards = held_out_rewards(
            self.held_out, config, self.config.sampling, self.seed, self.collector.prompt, self.engine, pool, self.world
        )  # fmt: skip
        self._release()
        if config.keep == "best":
            self.best.offer(self.policy, self.spec.model, self.config.dtype, step, fmean(rewards))
        self.counts["seconds/validation"] += time.perf_counter() - start  # type: ignore[assignment]
        return rewards

    def _is_enough(self, reward: float) -> bool:
        """Whether a validation's reward (NaN without one) ends the run."""
        config = self.config.validation
        return config is not None and config.stop_at is not None and reward >= config.stop_at

    def _tell_end(self) -> None:
        config = self.config.validation
        if config is None or config.stop_at is None or not self.world.is_main:
            return
        if self.stopped:
            logger.info("stopped after step %d: the validation's reward has reached %g", self.done, config.stop_at)
        else:
            logger.warning("no validation's reward has reached %g in %d steps", config.stop_at, self.done)

    def _export(self, step: int) -> None:
        every, folder = self.config.export_every, self.config.export_to
        if every is None or folder is None or step % every or step == self.config.steps:
            return
        if self.world.is_main:
            folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"step-{step:05d}"
        export_model(self.policy, self.spec.model, path, self.config.dtype, writes=self.world.is_main)

    def _within(self, step: int) -> Any:
        """A callback that reports the progress of a long step's rollouts."""
        last = time.monotonic()

        def report(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last >= REPORT_SECONDS:
                last = time.monotonic()
                self.progress(step - 1, self.config.steps, f"step {step}: {done}/{total} rollouts")

        return report

    def _count(self, collected: Collected, updates: list[Updated], seconds: dict[str, float]) -> None:
        for group in collected.groups:
            self.counts.update(f"verdicts/{verdict.outcome.value}" for verdict in group.verdicts)
            self.counts.update([f"gate/{'+'.join(signals(group)) or 'none'}"])
            self.counts["tokens/generated"] += sum(len(rollout.token_ids) for rollout in group.rollouts)
            self.counts["rows/rollouts"] += sum(row.index != DEMONSTRATION for row in group.rows)
            self.counts["rows/demonstrations"] += sum(row.index == DEMONSTRATION for row in group.rows)
        self.counts["tokens/trained"] += sum(update.tokens for update in updates)
        self.counts["updates/done"] += len(updates)
        self.counts["updates/skipped"] += sum(update.skipped for update in updates)
        for phase, value in seconds.items():
            self.counts[f"seconds/{phase}"] += value  # type: ignore[assignment]

    def _settings(self) -> dict[str, Any]:
        """Settings that may change when a run resumes, and that change its rounding."""
        import torch

        return {
            "threads": torch.get_num_threads(),
            "micro_batch_tokens": self.config.micro_batch_tokens,
            "packed": self.updater.packed,
        }

    def _asynchronous(self) -> bool:
        import torch

        chosen = self.config.checkpoint_async
        return torch.cuda.is_available() if chosen is None else chosen

    def _save(self) -> None:
        state = {
            "identity": self.identity,
            **self._settings(),
            "cursor": cursor(self.done, len(self.questions), self.config.questions_per_step),
            "counts": dict(self.counts),
            "disagreement": self.disagreement,
            "best": self.best.state(),
            "stopped": self.stopped,
        }
        self.checkpointer.save(self.done, self.policy, self.optimizer, state)
        if self.world.is_main:
            # A resumed run may continue from any of the checkpoints, and needs the best model that it refers to.
            self.best.prune(saved["best"].get("step") for saved in self.checkpointer.states())

    def _resume(self) -> int:
        found = self.checkpointer.load(self.policy, self.optimizer)
        if found is None:
            return 0
        done, state = found
        expected = list(cursor(done, len(self.questions), self.config.questions_per_step))
        if state["identity"] != self.identity or state["cursor"] != expected:
            raise TrainingError(
                f"the checkpoint in {self.checkpointer.folder} belongs to a different run",
                f"delete {self.spec.work} or choose another work folder",
            )
        for name, value in self._settings().items():
            if state[name] != value:
                logger.warning(
                    "earlier steps ran with %s = %s; this process has %s, so rounding may differ from that of an "
                    "uninterrupted run",
                    name,
                    state[name],
                    value,
                )
        self.counts.update(state["counts"])
        self.disagreement = state["disagreement"]
        self.best.restore(state["best"])
        self.stopped = state.get("stopped", False)
        logger.info("resuming after step %d", done)
        return done


def rollouts_file(folder: Path, step: int) -> Path:
    """File of a step's rollouts in work/ or output/."""
    return folder / "rollouts" / f"step-{step:05d}.parquet"


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """On CPUs, raise an error for nondeterministic operations. On GPUs, some have no deterministic version."""
    import torch

    if torch.cuda.is_available():
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
