"""Rollout engines that wrap ours, to fix the length or the answers of responses or to time them.

A spec names them by import path.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr

from hpt_core.rollout.base import EngineConfig, Generation, Request, RolloutEngine, Stream
from hpt_core.rollout.vllm import VLLM, VLLMEngine

if TYPE_CHECKING:
    from torch import Tensor


class Endless(VLLM):
    """vLLM that ignores the end-of-text token, so every response has exactly `max_tokens` tokens."""

    def open(self, model: Path, max_model_len: int, dtype: str, seed: int, **options: Any) -> VLLMEngine:
        """Load `model`; see EngineConfig.open."""
        return EndlessEngine(self, model, max_model_len, dtype, seed, **options)


class EndlessEngine(VLLMEngine):
    """See Endless."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._engine = _WithoutEnd(self._engine)


class _WithoutEnd:
    """vLLM's engine with `ignore_eos` set on every request."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def add_request(self, request_id: str, prompt: Any, params: Any) -> None:
        params.ignore_eos = True
        self._engine.add_request(request_id, prompt, params)


class Around(RolloutEngine):
    """An engine that passes every call on to another engine. Derived classes override what they change."""

    def __init__(self, engine: RolloutEngine) -> None:
        self.engine = engine
        self.version = engine.version

    def stream(self, requests: Iterable[Generation]) -> Stream:
        """See RolloutEngine."""
        yield from self.engine.stream(requests)

    def sync_weights(self, weights: "Iterable[tuple[str, Tensor]]") -> None:
        """See RolloutEngine."""
        self.engine.sync_weights(weights)

    def release(self) -> None:
        """See RolloutEngine."""
        self.engine.release()

    def close(self) -> None:
        """See RolloutEngine."""
        self.engine.close()


class Answering(EngineConfig):
    """An engine that decides which responses are correct: it appends an answer to the text of each response.

    Verifiers read that text. The tokens stay as they were sampled.
    """

    engine: EngineConfig
    """The engine that samples."""
    answers: dict[str, tuple[str, ...]]
    """Part of a prompt -> the answers to append to its responses, in turn."""

    def cache_gib(self, on_gpu: bool) -> float:
        """See EngineConfig.cache_gib."""
        return self.engine.cache_gib(on_gpu)

    def open(self, model: Path, max_model_len: int, dtype: str, seed: int, **options: Any) -> "AnsweringEngine":
        """Load `model`; see EngineConfig.open."""
        from hpt_core.model_folder import load_tokenizer

        engine = self.engine.open(model, max_model_len, dtype, seed, **options)
        return AnsweringEngine(engine, load_tokenizer(model), self.answers)


class AnsweringEngine(Around):
    """See Answering."""

    def __init__(self, engine: RolloutEngine, tokenizer: Any, answers: dict[str, tuple[str, ...]]) -> None:
        super().__init__(engine)
        self._tokenizer = tokenizer
        self._answers = answers

    def stream(self, requests: Iterable[Generation]) -> Stream:
        """See RolloutEngine. Raises KeyError for a prompt without answers."""
        put: list[str] = []
        asked: Counter[str] = Counter()

        def noted() -> Iterator[Generation]:
            for request, sampling in requests:
                part = self._part(request)
                put.append(self._answers[part][asked[part] % len(self._answers[part])])
                asked[part] += 1
                yield request, sampling

        for index, rollout in self.engine.stream(noted()):
            yield index, replace(rollout, text=f"{rollout.text}\n\n\\boxed{{{put[index]}}}")

    def _part(self, request: Request) -> str:
        prompt = self._tokenizer.decode(request.prompt_ids)
        found = next((part for part in self._answers if part in prompt), None)
        if found is None:
            raise KeyError(f"no answers to {prompt!r}")
        return found


class Watched(EngineConfig):
    """An engine that times its start, its work and its end."""

    engine: EngineConfig
    """The engine that samples."""
    _times: dict[str, float] = PrivateAttr(default_factory=dict)

    @property
    def times(self) -> dict[str, float]:
        """Seconds of the engine's "starting", "generation" and "closing", and "cpu": the CPU seconds of all threads of
        this process during generation."""
        return self._times

    def open(self, model: Path, max_model_len: int, dtype: str, seed: int, **options: Any) -> "WatchedEngine":
        """Load `model`; see EngineConfig.open."""
        begun = time.perf_counter()
        engine = self.engine.open(model, max_model_len, dtype, seed, **options)
        self._times["starting"] = time.perf_counter() - begun
        return WatchedEngine(engine, self._times)


class WatchedEngine(Around):
    """See Watched."""

    def __init__(self, engine: RolloutEngine, times: dict[str, float]) -> None:
        super().__init__(engine)
        self._times = times
        self._opened, self._used = time.perf_counter(), time.process_time()

    def close(self) -> None:
        """See RolloutEngine."""
        closing = time.perf_counter()
        self._times["generation"] = closing - self._opened
        self._times["cpu"] = time.process_time() - self._used
        self.engine.close()
        self._times["closing"] = time.perf_counter() - closing
