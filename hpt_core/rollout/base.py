"""The contract of a rollout engine: token ids in, token ids with their log-probabilities out."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from hpt_core.base import Frozen
from hpt_core.plugins import PluginConfig

if TYPE_CHECKING:
    from torch import Tensor


FinishReason = Literal["stop", "length", "repetition"]
"""Why a response ended: its EOS token, the limit of new tokens, or `stop_repetition`."""


class StopRepetition(Frozen):
    """Ends a response once its last tokens are the same stretch over and over."""

    times: int = Field(8, ge=2)
    """Times that the stretch stands there, one after the other."""
    shortest: int = Field(8, ge=1)
    """Tokens of the shortest stretch; a shorter one counts as one of its multiples."""
    longest: int = Field(64, ge=1)
    """Tokens of the longest stretch that is looked for; every token that is sampled is checked against all of them."""

    @model_validator(mode="after")
    def _in_order(self) -> "StopRepetition":
        if self.shortest > self.longest:
            raise ValueError(f"shortest is {self.shortest} and longest {self.longest}; raise longest")
        return self

    def holds(self, tokens: Sequence[int]) -> bool:
        """Whether `tokens` end in such a repetition."""
        for length in range(self.shortest, min(self.longest, len(tokens) // self.times) + 1):
            stretch = tokens[-length:]
            if all(tokens[-length * (i + 1) : -length * i] == stretch for i in range(1, self.times)):
                return True
        return False


class Sampling(Frozen):
    """How tokens are sampled."""

    temperature: float = Field(1.0, ge=0)
    """Softmax temperature; 1.0 for training rollouts, 0.6 for evaluation (paper, section 4.1)."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus mass; 1.0 for training rollouts, 0.95 for evaluation."""
    max_tokens: int = Field(8192, ge=1)
    """New tokens at most."""
    stop_repetition: StopRepetition | None = Field(None, exclude_if=lambda value: value is None)
    """Ends responses that repeat themselves without end; None lets them run to `max_tokens`, as the paper does."""


@dataclass(frozen=True, slots=True)
class Request:
    """One response to sample."""

    prompt_ids: tuple[int, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """One response.

    `token_ids` ends with the EOS token when `finish_reason` is "stop". `logprobs` (nats, one per token) are those of
    the distribution that was sampled from, after temperature and top_p; empty where the engine was opened without them.
    `text` leaves special tokens out.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish_reason: FinishReason


Generation = tuple[Request, Sampling]
"""A response to sample, and how."""
Stream = Generator[tuple[int, Rollout], None, None]
"""(Place among the samples, the response), as responses finish."""
Finished = Callable[[int, Rollout], None]
"""Called with a request's index and its response, in the order in which they finish."""


class RolloutEngine(ABC):
    """An engine with a model loaded. A response depends on its own request alone."""

    version: str
    """Name and version, such as "vllm 0.32.0"."""

    @abstractmethod
    def stream(self, requests: Iterable[Generation]) -> Stream:
        """Generation a response for each of `requests` and yield (its place among them, the response) as they finish.

        No more is taken from `requests` than keeps the engine busy, so that what comes next may depend on what has
        finished. Closing the stream gives up what is under way. Raises EngineError.
        """

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Callable[[int, int], None] | None = None,
        finished: Finished | None = None,
    ) -> list[Rollout]:
        """One response for each request, in the requests' order. As they finish, `finished(index, rollout)` and
        `progress(done, total)` are called. Raises EngineError."""
        rollouts: dict[int, Rollout] = {}
        with contextlib.closing(self.stream((request, sampling) for request in requests)) as stream:
            for index, rollout in stream:
                rollouts[index] = rollout
                if finished is not None:
                    finished(index, rollout)
                if progress is not None:
                    progress(len(rollouts), len(requests))
        return [rollouts[index] for index in range(len(requests))]

    @abstractmethod
    def sync_weights(self, weights: Iterable[tuple[str, "Tensor"]]) -> None:
        """Take over the trainer's weights, by Hugging Face parameter name, and forget every cached prefix.

        Tied weights must all be present under each of their names (lm_head.weight beside the embedding).
        """

    @abstractmethod
    def release(self) -> None:
        """Hand accelerator memory back until the next `sync_weights`; does nothing where memory is not contended."""

    @abstractmethod
    def close(self) -> None:
        """Free the model and whatever processes serve it."""


class EngineConfig(PluginConfig, kind="engines", package="hpt_core.rollout"):
    """Base of the engines' configs; each adds its own fields and opens the engine."""

    LOCAL: ClassVar[bool] = True
    """Whether it computes where it is opened, so that more devices sample more: not so where it only asks a server."""
    TRAINS: ClassVar[bool] = True
    """Whether it takes over a trainer's weights."""

    def packages(self) -> tuple[str, ...]:
        """Distributions whose version is the engine's: the first that is installed, our own where none is. Empty where
        the version is known only once a server answers."""
        return self.name, f"{self.name}-cpu"

    def cache_gib(self, on_gpu: bool) -> float:
        """GiB of its key-value cache beside a trainer, as far as they are fixed; 0 where it takes what is left."""
        return 0.0

    def check(self) -> None:
        """Raise PreflightError where the engine's packages, or what they need of the system, are missing. Cheap."""

    def open(self, model: Path, max_model_len: int, dtype: str, seed: int, **options: Any) -> RolloutEngine:
        """Load the model folder `model` for sequences of at most `max_model_len` tokens in `dtype`.

        `colocated=True` says that a trainer shares the device, `logprobs=False` that rollouts may come without them.
        Raises EngineError.
        """
        raise NotImplementedError
