"""Sample, verify and gate the rollouts of a step."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from hpt_core import schemas
from hpt_core.files import write_parquet
from hpt_core.prompts.base import Prompt, opening
from hpt_core.responses import collapsed
from hpt_core.rollout.base import Request, Rollout, RolloutEngine
from hpt_core.seeds import derive
from hpt_core.training.batch import Tokens
from hpt_core.training.config import Reward, TrainConfig
from hpt_core.training.distributed import World
from hpt_core.training.questions import TrainingQuestion
from hpt_core.upge.base import DEMONSTRATION, Group, Row
from hpt_core.upge.estimator import Estimator
from hpt_core.verifiers import get
from hpt_core.verifiers.base import Outcome, Verdict, Verifier
from hpt_core.verifiers.pool import CHUNK, Item, Pending, VerifierPool

logger = logging.getLogger("hpt.training")


class Judged(NamedTuple):
    """Verdict and reward of one response."""

    verdict: Verdict
    """From the question's own verifier."""
    reward: float
    """Weighted sum of all reward parts."""


@dataclass(frozen=True, slots=True)
class QuestionGroup:
    """One question with its responses, verdicts and rewards."""

    question: TrainingQuestion
    prompt_ids: tuple[int, ...]
    rollouts: tuple[Rollout, ...]
    verdicts: tuple[Verdict, ...]
    """From the question's own verifier."""
    correct: tuple[bool, ...]
    """Whether each rollout counts as correct, for the gate: by its verdict, and by `truncated` if it was cut."""
    rewards: tuple[float, ...]
    """Reward of each rollout: the weighted sum of all reward parts, and at most 0 if `truncated` says so."""
    demonstration_ids: tuple[int, ...] | None
    rows: tuple[Row, ...]
    """Rows that the estimator trains on."""

    def tokens(self, row: Row, temperature: float) -> Tokens:
        """Tokens of one of `rows`; `temperature` is the sampling temperature."""
        if row.index == DEMONSTRATION:
            assert self.demonstration_ids is not None
            return Tokens(self.prompt_ids, self.demonstration_ids)
        return self.rollout_tokens(row.index, temperature)

    def rollout_tokens(self, index: int, temperature: float) -> Tokens:
        """Tokens of a rollout, whether it is trained on or not."""
        rollout = self.rollouts[index]
        return Tokens(self.prompt_ids, rollout.token_ids, temperature, rollout.logprobs)


@dataclass(frozen=True, slots=True)
class Collected:
    """A step's groups in canonical order, and the time they took."""

    groups: tuple[QuestionGroup, ...]
    seconds_rollout: float
    seconds_verify: float
    """Verification time that did not overlap with sampling."""


@dataclass(frozen=True)
class Collector:
    """Samples, verifies and gates the groups of a training run."""

    config: TrainConfig
    seed: int
    prompt: Prompt
    estimator: Estimator
    engine: RolloutEngine | None
    """None for algorithms without rollouts, whose groups hold only demonstrations."""
    pool: VerifierPool | None
    world: World

    def collect(
        self, questions: Sequence[TrainingQuestion], step: int, progress: Callable[[int, int], None] | None = None
    ) -> Collected:
        """All groups of a step. Each rank samples its own share of the questions, then receives all groups."""
        mine = self._sample(questions[self.world.rank :: self.world.size], step, progress)
        shares = self.world.all_gather([mine])
        # Questions were distributed round-robin above.
        found = [shares[i % len(shares)][0].groups[i // len(shares)] for i in range(len(questions))]
        slowest = max((share for (share,) in shares), key=lambda s: s.seconds_rollout + s.seconds_verify)
        return Collected(tuple(found), slowest.seconds_rollout, slowest.seconds_verify)

    def _sample(
        self, questions: Sequence[TrainingQuestion], step: int, progress: Callable[[int, int], None] | None
    ) -> Collected:
        prompts = [tuple(self.prompt.encode(q.question)) for q in questions]
        n = self.config.rollouts_per_question if self.estimator.uses_rollouts else 0
        start = time.perf_counter()
        rollouts: list[Rollout] = []
        openings = [opening(self.prompt.render(q.question)) for q in questions for _ in range(n)]
        verifying = Verifying(self.pool, [q for q in questions for _ in range(n)], self.config.rewards, openings)
        if n and self.engine is not None:
            requests = [
                Request(ids, derive(self.seed, "rollout", step, q.question_id, i))
                for q, ids in zip(questions, prompts, strict=True)
                for i in range(n)
            ]
            rollouts = self.engine.generate(requests, self.config.sampling, progress, verifying.add)
            rollouts = [replace(r, text=begun + r.text) for begun, r in zip(openings, rollouts, strict=True)]
        sampled_at = time.perf_counter()
        judged = verifying.result()
        shown = self._demonstration_rewards(questions) if n else {}
        verified_at = time.perf_counter()
        groups = [
            self._group(
                question,
                ids,
                tuple(rollouts[i * n : (i + 1) * n]),
                judged[i * n : (i + 1) * n],
                shown.get(question.question_id, 1.0),
            )
            for i, (question, ids) in enumerate(zip(questions, prompts, strict=True))
        ]
        return Collected(tuple(groups), sampled_at - start, verified_at - sampled_at)

    def _group(
        self,
        question: TrainingQuestion,
        prompt_ids: tuple[int, ...],
        rollouts: tuple[Rollout, ...],
        judged: Sequence[Judged],
        demonstration_reward: float,
    ) -> QuestionGroup:
        demonstration = None
        if question.demonstration is not None and self.estimator.uses_demonstrations:
            demonstration = tuple(self.prompt.encode_demonstration(question.question, question.demonstration))
        cut = tuple(rollout.finish_reason == "length" for rollout in rollouts)
        fails = cut if self.config.truncated == "no_reward" else (False,) * len(cut)
        correct = tuple(j.verdict.correct and not failed for j, failed in zip(judged, fails, strict=True))
        rewards = tuple(min(j.reward, 0.0) if failed else j.reward for j, failed in zip(judged, fails, strict=True))
        group = Group(
            question.question_id,
            rewards,
            tuple(len(r.token_ids) for r in rollouts),
            None if demonstration is None else len(demonstration),
            correct,
            demonstration_reward,
        )
        rows = tuple(
            row
            for row in self.estimator.rows(group)
            if row.index == DEMONSTRATION or not cut[row.index] or self.config.truncated != "mask"
        )
        verdicts = tuple(j.verdict for j in judged)
        return QuestionGroup(question, prompt_ids, rollouts, verdicts, correct, rewards, demonstration, rows)

    def _demonstration_rewards(self, questions: Sequence[TrainingQuestion]) -> dict[str, float]:
        """Reward of each question's demonstration. Verifiers judge it as they judge a rollout; unless it is "graded",
        the question's own one takes it as correct. Empty if all are 1."""
        by_definition = self.config.demonstration_reward == "one"
        if self.pool is None or not self.estimator.uses_demonstrations:
            return {}
        if by_definition and self.config.rewards == (Reward(),):
            return {}
        shown = [(q, q.demonstration) for q in questions if q.demonstration is not None]
        verifying = Verifying(self.pool, [q for q, _ in shown], self.config.rewards, by_definition=by_definition)
        for index, (_, text) in enumerate(shown):
            verifying.add_text(index, text)
        return {q.question_id: judged.reward for (q, _), judged in zip(shown, verifying.result(), strict=True)}


class Verifying:
    """Grades rollouts in other processes as they finish, while sampling continues."""

    def __init__(
        self,
        pool: VerifierPool | None,
        asked: Sequence[TrainingQuestion],
        rewards: Sequence[Reward] = (Reward(),),
        openings: Sequence[str] = (),
        by_definition: bool = False,
    ) -> None:
        """`asked` holds the question of each expected response, and `openings` what its prompt already says of the
        response (prompts.base.opening). With `by_definition` all responses count as correct."""
        self._pool = pool
        self._asked = asked
        self._rewards = rewards
        self._openings = openings
        self._by_definition = by_definition
        # The question's own verdict (None) is always needed, because gates use it.
        self._verifiers = list(dict.fromkeys([None, *(reward.verifier for reward in rewards)]))
        self._waiting: list[tuple[int, str]] = []
        self._pending: list[tuple[list[int], Pending]] = []

    def add(self, index: int, rollout: Rollout) -> None:
        """Add a finished rollout."""
        self.add_text(index, (self._openings[index] if self._openings else "") + rollout.text)

    def add_text(self, index: int, text: str) -> None:
        """Add a response."""
        self._waiting.append((index, text))
        if len(self._waiting) >= CHUNK:
            self._submit()

    def result(self) -> list[Judged]:
        """One item per response, in the order of `asked`."""
        self._submit()
        found: dict[int, Judged] = {}
        for indices, pending in self._pending:
            verdicts = iter(pending.result())
            for index in indices:
                found[index] = self._judged(index, {verifier: next(verdicts) for verifier in self._verifiers})
        return [found[i] for i in range(len(found))]

    def _judged(self, index: int, verdicts: dict[Verifier | None, Verdict]) -> Judged:
        own = verdicts[None]
        if self._by_definition:
            own = own._replace(outcome=Outcome.CORRECT, reward=get(self._asked[index].kind).reward_range[1])
            verdicts = verdicts | {None: own}
        return Judged(own, sum(reward.weight * verdicts[reward.verifier].reward for reward in self._rewards))

    def _submit(self) -> None:
        if self._waiting and self._pool is not None:
            asked = [(self._asked[i], text) for i, text in self._waiting]
            items = [Item(v or q.kind, q.gold, text, q.question) for q, text in asked for v in self._verifiers]
            self._pending.append(([i for i, _ in self._waiting], self._pool.submit(items)))
            self._waiting = []


def signals(group: QuestionGroup) -> list[str]:
    """Names of the signals that the gate chose for a question, sorted."""
    return sorted({signal.name for row in group.rows for signal in row.signals})


def warn_if_alike(step: int, groups: Sequence[QuestionGroup], told: set[str]) -> None:
    """Warn if all responses of a step are empty, cut or identical, once for each; `told` holds what was said."""
    rollouts = [(group.question.question_id, rollout) for group in groups for rollout in group.rollouts]
    asked, texts = [question for question, _ in rollouts], [rollout.text for _, rollout in rollouts]
    for alike in collapsed(asked, texts, [rollout.finish_reason for _, rollout in rollouts]):
        if alike not in told:
            told.add(alike)
            logger.warning(
                "step %d: all %d responses are %s; check the model, its prompt (`hpt prompt`) and sampling.max_tokens",
                step, len(rollouts), alike,
            )  # fmt: skip


def warn_if_truncated(step: int, groups: Sequence[QuestionGroup], told: set[str]) -> None:
    """Warn, once, if more than half of a step's rollouts were cut at the token limit."""
    reasons = [rollout.finish_reason for group in groups for rollout in group.rollouts]
    cut = reasons.count("length")
    if 2 * cut > len(reasons) and "truncated" not in told:
        told.add("truncated")
        logger.warning(
            "step %d: %d of %d rollouts were cut at sampling.max_tokens; raise it, or look whether the model stops",
            step, cut, len(reasons),
        )  # fmt: skip


def write_rollouts(path: Path, step: int, groups: Sequence[QuestionGroup]) -> None:
    """Write a step's rollouts with their verdicts (schemas.ROLLOUTS)."""
    rows = []
    for group in groups:
        correct = group.correct
        for i, (rollout, verdict) in enumerate(zip(group.rollouts, group.verdicts, strict=True)):
            rows.append(
                {
                    "step": step,
                    "question_id": group.question.question_id,
                    "sample_index": i,
                    "response": rollout.text,
                    "token_ids": rollout.token_ids,
                    "rollout_logprobs": rollout.logprobs,
                    "finish_reason": rollout.finish_reason,
                    "outcome": verdict.outcome.value,
                    "reward": group.rewards[i],
                    "success_rate": sum(correct) / len(correct),
                    "signals": signals(group),
                    "extracted": verdict.extracted,
                }
            )
    write_parquet(path, pa.Table.from_pylist(rows, schema=schemas.ROLLOUTS))
