"""Validation during training: the reward on held-out questions, and the best model so far."""

import logging
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from hpt_core.prompts.base import Prompt, opening
from hpt_core.rollout.base import Request, RolloutEngine, Sampling
from hpt_core.seeds import derive
from hpt_core.training.config import ValidationConfig
from hpt_core.training.distributed import World
from hpt_core.training.model import export_model
from hpt_core.training.questions import TrainingQuestion
from hpt_core.verifiers.pool import Item, VerifierPool

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger("hpt.training.validation")


def held_out_rewards(
    questions: Sequence[TrainingQuestion],
    config: ValidationConfig,
    ends: Sampling,
    seed: int,
    prompt: Prompt,
    engine: RolloutEngine,
    pool: VerifierPool,
    world: World,
) -> list[float]:
    """[Q] mean reward of each question. Each rank samples its own part of the questions.

    Seeds depend only on the question and the sample index, so that validations differ only by the model. Responses end
    at the token limit and the stop texts of `ends`, the rollouts' sampling.
    """
    mine = questions[world.rank :: world.size]
    asked = [(q, i) for q in mine for i in range(config.samples)]
    requests = [
        Request(tuple(prompt.encode(q.question)), derive(seed, "validation", q.question_id, i)) for q, i in asked
    ]
    sampling = Sampling(temperature=config.temperature, top_p=config.top_p, max_tokens=ends.max_tokens, stop=ends.stop)
    rollouts = engine.generate(requests, sampling)
    items = [
        Item(q.kind, q.gold, opening(prompt.render(q.question)) + r.text, q.question)
        for (q, _), r in zip(asked, rollouts, strict=True)
    ]
    verdicts = pool.verify(items)
    of_samples = [[verdict.reward for verdict in verdicts[i :: config.samples]] for i in range(config.samples)]
    parts = world.all_gather([fmean(rewards) for rewards in zip(*of_samples, strict=True)])
    return [parts[place % world.size][place // world.size] for place in range(len(questions))]


class BestModel:
    """The best model so far, kept as a Hugging Face folder under `folder`.

    Checkpoints record its step and score. A superseded folder is removed only once no checkpoint refers to it, so that
    a resumed run finds the model its checkpoint refers to.
    """

    def __init__(self, folder: Path, world: World) -> None:
        self.folder = folder
        self.world = world
        self.step: int | None = None
        self.score = float("-inf")

    def offer(self, policy: "nn.Module", source: Path, dtype: str, step: int, score: float) -> None:
        """Keep the model after `step` steps if it is better than all earlier ones."""
        if score <= self.score:
            return
        self.step, self.score = step, score
        export_model(policy, source, self._path(step), dtype, writes=self.world.is_main)
        logger.info("best so far: step %d with a reward of %.4f", step, score)

    @property
    def path(self) -> Path | None:
        """Folder of the best model; None if no model was offered."""
        return None if self.step is None else self._path(self.step)

    def state(self) -> dict[str, Any]:
        """The state to store in a checkpoint."""
        return {} if self.step is None else {"step": self.step, "score": self.score}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        if state:
            self.step, self.score = int(state["step"]), float(state["score"])

    def prune(self, also: Iterable[int | None] = ()) -> None:
        """Remove all models but the best and those of the steps `also`. The first rank calls it."""
        kept = {self._path(step) for step in (self.step, *also) if step is not None}
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path not in kept:
                shutil.rmtree(path)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:05d}"
