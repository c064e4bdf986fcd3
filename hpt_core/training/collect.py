"""A step's groups: rollouts drawn, verified and gated."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from hpt_core import schemas
from hpt_core.config import TrainConfig
from hpt_core.files import write_parquet
from hpt_core.prompts.base import Prompt
from hpt_core.rollout.base import Request, Rollout, RolloutEngine
from hpt_core.seeds import derive
from hpt_core.training.batch import Tokens
from hpt_core.training.questions import Question
from hpt_core.upge.base import DEMONSTRATION, Group, Row
from hpt_core.upge.estimator import Estimator
from hpt_core.verifiers.base import Verdict
from hpt_core.verifiers.pool import VerifierPool


@dataclass(frozen=True, slots=True)
class Drawn:
    """One question with everything a step knows of it."""

    question: Question
    prompt_ids: tuple[int, ...]
    rollouts: tuple[Rollout, ...]
    verdicts: tuple[Verdict, ...]
    demonstration_ids: tuple[int, ...] | None
    rows: tuple[Row, ...]
    """What the estimator makes of the group."""

    def tokens(self, row: Row, temperature: float) -> Tokens:
        """Tokens of one of `rows`; `temperature` is the sampler's."""
        if row.index == DEMONSTRATION:
            assert self.demonstration_ids is not None
            return Tokens(self.prompt_ids, self.demonstration_ids)
        return Tokens(self.prompt_ids, self.rollouts[row.index].token_ids, temperature)


@dataclass(frozen=True, slots=True)
class Collected:
    """A step's groups in canonical order, and what they cost."""

    drawn: tuple[Drawn, ...]
    seconds_rollout: float
    seconds_verify: float


def collect(
    questions: Sequence[Question],
    step: int,
    config: TrainConfig,
    seed: int,
    prompt: Prompt,
    estimator: Estimator,
    engine: RolloutEngine | None,
    pool: VerifierPool | None,
    progress: Callable[[int, int], None] | None = None,
) -> Collected:
    """Draw and verify `rollouts_per_question` rollouts of each question, and ask the estimator for its rows.

    Without an engine, for algorithms that use no rollouts, the groups hold demonstrations alone.
    """
    prompts = [tuple(prompt.encode(q.question)) for q in questions]
    n = config.rollouts_per_question if engine is not None else 0
    start = time.perf_counter()
    rollouts: list[Rollout] = []
    if engine is not None:
        requests = [
            Request(ids, derive(seed, "rollout", step, q.question_id, i))
            for q, ids in zip(questions, prompts, strict=True)
            for i in range(n)
        ]
        rollouts = engine.generate(requests, config.sampling, progress)
    drawn_at = time.perf_counter()
    verdicts: list[Verdict] = []
    if pool is not None:
        asked = [q for q in questions for _ in range(n)]
        verdicts = pool.verify([(q.kind, q.gold, r.text) for q, r in zip(asked, rollouts, strict=True)])
    verified_at = time.perf_counter()
    groups = []
    for i, (question, ids) in enumerate(zip(questions, prompts, strict=True)):
        mine, found = tuple(rollouts[i * n : (i + 1) * n]), tuple(verdicts[i * n : (i + 1) * n])
        demonstration = None
        if question.demonstration is not None and estimator.uses_demonstrations:
            demonstration = tuple(prompt.encode_demonstration(question.question, question.demonstration))
        group = Group(
            question.question_id,
            tuple(v.reward for v in found),
            tuple(len(r.token_ids) for r in mine),
            None if demonstration is None else len(demonstration),
        )
        groups.append(Drawn(question, ids, mine, found, demonstration, tuple(estimator.rows(group))))
    return Collected(tuple(groups), drawn_at - start, verified_at - drawn_at)


def signals(drawn: Drawn) -> list[str]:
    """Names of the signals that the gate chose for a question, sorted."""
    return sorted({signal.name for row in drawn.rows for signal in row.signals})


def write_rollouts(path: Path, step: int, drawn: Sequence[Drawn]) -> None:
    """Keep a step's rollouts with their verdicts (schemas.ROLLOUTS)."""
    rows = []
    for group in drawn:
        rewards = [v.reward for v in group.verdicts]
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
                    "reward": verdict.reward,
                    "success_rate": sum(rewards) / len(rewards),
                    "signals": signals(group),
                    "extracted": verdict.extracted,
                }
            )
    write_parquet(path, pa.Table.from_pylist(rows, schema=schemas.ROLLOUTS))
