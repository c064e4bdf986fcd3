"""One engine for several models of one architecture, one after the other.

Opening an engine takes 10 s to minutes; loading other weights into it takes seconds.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpt_core.errors import HPTError
from hpt_core.evaluation.spec import SampleSpec
from hpt_core.files import sha256_file
from hpt_core.model_folder import other_files, read_config
from hpt_core.rollout.base import EngineConfig, Request, RolloutEngine, Sampling
from hpt_core.worker import Declined

logger = logging.getLogger("hpt.evaluation.engines")

NOT_ARCHITECTURE = frozenset({"_name_or_path", "transformers_version", "torch_dtype", "dtype"})
"""Fields of config.json that may differ between models that share an engine. The spec sets the engine's precision."""
NOT_READ = frozenset({".md", ".png", ".jpg"})
"""Suffixes of files in a model folder that no engine reads."""
PROBE_TOKENS = 16
"""Sampled tokens for each prompt with which an engine is compared with a model."""


class Kept:
    """The engine of a worker that may get several specs. Close it at the end."""

    def __init__(self) -> None:
        self._engine: RolloutEngine | None = None
        self._opened: tuple[EngineConfig, str, Mapping[str, Any]] | None = None
        self._length = 0
        self._model: Path | None = None
        """Folder of the weights. A finished model never changes, so the next slice of it needs no check."""

    def __enter__(self) -> "Kept":
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine is not None:
            self._engine.close()

    def open(
        self, spec: SampleSpec, length: int, prompts: Sequence[tuple[int, ...]], say: Callable[[str], None]
    ) -> RolloutEngine:
        """An engine with the weights of `spec.model` for sequences of `length` tokens.

        If an engine is open, it takes the weights, and its log-probabilities after `prompts` are compared with the
        model's. Raises Declined if it cannot take this model or if they disagree, and what EngineConfig.open raises.
        `say` is told what takes time.
        """
        loaded = (*self._opened[:2], self._model) if self._opened else None
        if self._engine is not None and (spec.engine, spec.dtype, spec.model) == loaded and length <= self._length:
            return self._engine
        wanted = (spec.engine, spec.dtype, _architecture(spec.model))
        if self._engine is None:
            say(f"starting {spec.engine.name}")
            self._engine = spec.engine.open(spec.model, length, spec.dtype, spec.units[0].seed, logprobs=False)
            self._opened, self._length = wanted, length
        elif not spec.engine.SHARES or wanted != self._opened or length > self._length:
            raise Declined
        else:
            say("loading weights")
            self._model = None
            try:
                _swap(self._engine, spec, prompts, self._length)
            except HPTError as error:
                # An engine of the model's own may do what a reload cannot, and says so itself if it cannot.
                logger.warning("%s gets an engine of its own: %s", spec.model, error)
                raise Declined from error
            logger.info("%s: the open engine has its weights", spec.model)
        self._model = spec.model
        return self._engine


def _architecture(folder: Path) -> Mapping[str, Any]:
    """What an engine reads of a model, except its weights: the config, the tokenizer and the end-of-sequence tokens."""
    config = {name: value for name, value in read_config(folder).items() if name not in NOT_ARCHITECTURE}
    files = [file for file in other_files(folder) if file.name != "config.json" and file.suffix not in NOT_READ]
    return {"config": config, "files": {str(file.relative_to(folder)): sha256_file(file) for file in files}}


def _swap(engine: RolloutEngine, spec: SampleSpec, prompts: Sequence[tuple[int, ...]], length: int) -> None:
    """Load the weights, and check them. Raises HPTError, also for models that the trainer refuses and engines run."""
    from hpt_core.training import sync
    from hpt_core.training.batch import Tokens
    from hpt_core.training.model import load_model
    from hpt_core.training.policy import make_policy, named_weights

    policy = make_policy(load_model(spec.model), spec.dtype)
    engine.sync_weights(named_weights(policy))
    requests = [Request(prompt, seed) for seed, prompt in enumerate(prompts)]
    with _logprobs(engine):
        rollouts = engine.generate(requests, Sampling(max_tokens=min(PROBE_TOKENS, length - max(map(len, prompts)))))
    rows = [Tokens(q.prompt_ids, r.token_ids, 1.0, r.logprobs) for q, r in zip(requests, rollouts, strict=True)]
    longest = max(len(row.prompt_ids) + len(row.response_ids) for row in rows)
    agreement = sync.measure(policy, rows, longest).agreement
    assert agreement is not None, "the engine returned no log-probabilities"
    sync.check(agreement, spec.dtype, str(spec.model))


@contextlib.contextmanager
def _logprobs(engine: RolloutEngine) -> Iterator[None]:
    before, engine.logprobs = engine.logprobs, True
    try:
        yield
    finally:
        engine.logprobs = before
