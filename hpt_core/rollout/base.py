"""Base class of rollout engines: token ids in, token ids with their log-probabilities out."""

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from hpt_core.base import Frozen
from hpt_core.errors import ConfigError, ModelError
from hpt_core.plugins import PluginConfig

if TYPE_CHECKING:
    from torch import Tensor


FinishReason = Literal["stop", "length", "repetition"]
"""Why a response ended: EOS token or stop text, maximum number of tokens, or `stop_repetition`."""


class StopRepetition(Frozen):
    """Ends a response when its last tokens repeat the same pattern."""

    times: int = Field(8, ge=2)
    """Number of consecutive repetitions of the pattern."""
    shortest: int = Field(8, ge=1)
    """Minimum pattern length in tokens. A shorter pattern is found through its multiples."""
    longest: int = Field(64, ge=1)
    """Maximum pattern length in tokens. All lengths are checked after every sampled token."""

    @model_validator(mode="after")
    def _in_order(self) -> "StopRepetition":
        if self.shortest > self.longest:
            raise ValueError(f"shortest is {self.shortest} and longest is {self.longest}; raise longest")
        return self

    def holds(self, tokens: Sequence[int]) -> bool:
        """Whether `tokens` ends with such a repetition."""
        for length in range(self.shortest, min(self.longest, len(tokens) // self.times) + 1):
            stretch = tokens[-length:]
            if all(tokens[-length * (i + 1) : -length * i] == stretch for i in range(1, self.times)):
                return True
        return False


def _off(default: Any, **limits: Any) -> Any:
    """A field that has no effect at its default. It is left out of dumps there, so adding one changes no identity."""
    return Field(default, exclude_if=lambda value: value == default, **limits)


class Sampling(Frozen):
    """How tokens are sampled.

    Numbers have the names that vLLM and the completions API give them, and their defaults have no effect. The model's
    own generation_config.json is never used for them.
    """

    temperature: float = Field(1.0, ge=0)
    """Softmax temperature; 1.0 for training rollouts, 0.6 for evaluation (paper, section 4.1)."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus mass; 1.0 for training rollouts, 0.95 for evaluation."""
    max_tokens: int = Field(8192, ge=1)
    """Maximum number of new tokens."""
    stop_repetition: StopRepetition | None = _off(None)
    """Ends responses that repeat themselves. Without it they run to `max_tokens`, as in the paper."""
    top_k: int = _off(0, ge=0)
    """Number of most probable tokens to sample from; 0 is all."""
    min_p: float = _off(0.0, ge=0, le=1)
    """Minimum probability of a token, as a share of the most probable token's; 0 excludes none."""
    presence_penalty: float = _off(0.0, ge=-2, le=2)
    """Subtracted from the logits of tokens that the response contains."""
    frequency_penalty: float = _off(0.0, ge=-2, le=2)
    """Subtracted from a token's logit for each time that the response contains it."""
    repetition_penalty: float = _off(1.0, gt=0)
    """Divides the positive logits, and multiplies the negative ones, of tokens in the prompt or the response."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = _off(())
    """Texts that end a response. Its text ends before the first of them; its tokens include it. A special token, such
    as "<|im_end|>", may be given too."""

    @property
    def numbers(self) -> dict[str, float]:
        """The fields that are numbers, by name."""
        return {name: value for name, value in self if isinstance(value, int | float)}

    @property
    def options(self) -> dict[str, Any]:
        """The fields that differ from their defaults, by name."""
        return {name: value for name, value in self if value != type(self).model_fields[name].default}

    @property
    def reshaping(self) -> dict[str, Any]:
        """The options that make the sampled distribution another than the policy's at this temperature."""
        return {name: value for name, value in self.options.items() if name not in _NOT_RESHAPING}

    @property
    def greedy(self) -> tuple[str, ...]:
        """The options that leave only the most probable token, so that all responses to a prompt are the same."""
        return tuple(n for n, value in {"temperature": 0, "top_k": 1, "min_p": 1}.items() if getattr(self, n) == value)

    def cut(self, text: str) -> str:
        """`text` up to the first of the stop texts."""
        return text[: min((at for stop in self.stop if (at := text.find(stop)) >= 0), default=len(text))]

    def stop_ids(self, tokenizer: Any) -> list[int]:
        """Ids of the stop texts that are single added tokens. Engines look for these ids, because responses are decoded
        without special tokens."""
        added: dict[str, int] = tokenizer.get_added_vocab() if self.stop else {}
        return [added[stop] for stop in self.stop if stop in added]

    def without_effect(self) -> Iterator[str]:
        """A limit on repetitions that are longer than a response."""
        stop = self.stop_repetition
        if stop is not None and stop.times * stop.shortest > self.max_tokens:
            yield (
                f"stop_repetition needs {stop.times} times {stop.shortest} tokens, but a response has at most "
                f"{self.max_tokens}; lower stop_repetition.times or stop_repetition.shortest"
            )


ONE_TOKEN = "at temperature 0 the most probable token is always taken"
_NOT_RESHAPING = ("temperature", "max_tokens", "stop", "stop_repetition")


@dataclass(frozen=True, slots=True)
class Request:
    """One response to sample."""

    prompt_ids: tuple[int, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """One response.

    `token_ids` ends with the EOS token, or with a stop text, when `finish_reason` is "stop". `logprobs` (nats, one per
    token) come from the sampled distribution, after all options of Sampling; empty if the engine was opened without
    them. `text` leaves out special tokens and the stop text.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish_reason: FinishReason


TAGS = ("<think>", "</think>")
"""Marks of the thinking in a response. Verifiers need them, so they are kept even if they are special tokens."""


class Decoder:
    """Decodes responses without special tokens, but with the marks of the thinking."""

    def __init__(self, tokenizer: Any) -> None:
        special = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._tokenizer = tokenizer
        self._keeps = any(tag in special.values() for tag in TAGS)
        self._hidden = {number for number, token in special.items() if token not in TAGS}

    def __call__(self, tokens: Sequence[int]) -> str:
        """The text of a response."""
        if self._keeps:
            tokens = [token for token in tokens if token not in self._hidden]
        text: str = self._tokenizer.decode(
            tokens, skip_special_tokens=not self._keeps, clean_up_tokenization_spaces=False
        )
        return text


Generation = tuple[Request, Sampling]
"""A response to sample, with its sampling options."""
Stream = Generator[tuple[int, Rollout], None, None]
"""(Index of the request, response), in the order in which responses finish."""
Finished = Callable[[int, Rollout], None]
"""Called with the index of a request and its response when the response finishes."""


class RolloutEngine(ABC):
    """An engine with a loaded model. A response depends only on its own request."""

    version: str
    """Name and version, such as "vllm 0.32.0"."""
    logprobs: bool = True
    """Whether rollouts must have log-probabilities. May be changed between two calls."""

    @abstractmethod
    def stream(self, requests: Iterable[Generation]) -> Stream:
        """Generate a response for each request. Yields (index of the request, response) as responses finish.

        The engine takes from `requests` only what keeps it busy, so later requests may depend on finished responses.
        Closing the stream cancels running requests. Raises EngineError.
        """

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Callable[[int, int], None] | None = None,
        finished: Finished | None = None,
    ) -> list[Rollout]:
        """Generate one response for each request, in the order of the requests. `finished(index, rollout)` and
        `progress(done, total)` are called whenever a response finishes. Raises EngineError."""
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
        """Load the trainer's weights, by Hugging Face parameter name, and clear the prefix cache.

        Tied weights must be present under each of their names (lm_head.weight and the embedding).
        """

    @abstractmethod
    def release(self) -> None:
        """Free accelerator memory until the next `sync_weights`. Does nothing if the engine shares no memory."""

    @abstractmethod
    def close(self) -> None:
        """Free the model and end any server process."""


def require_finite_logprobs(engine: RolloutEngine, tokenizer: Any, model: Path, max_model_len: int) -> None:
    """Sample one token. Raises ModelError if its log-probability is NaN or infinite, because `engine` cannot compute
    with the weights of `model`."""
    prompt = tuple(tokenizer("1 + 1 =").input_ids)[: max(1, max_model_len - 1)] or (0,)
    (rollout,) = engine.generate([Request(prompt, seed=0)], Sampling(max_tokens=1))
    if not all(map(math.isfinite, rollout.logprobs)):
        raise non_finite(model, engine.version)


def non_finite(model: Path, version: str) -> ModelError:
    """The error for a model whose log-probabilities are NaN or infinite."""
    return ModelError(
        f"the log-probabilities of {model} are NaN or infinite in {version}",
        'try dtype = "float32" or another engine; if they are NaN there too, fetch or convert the model again',
    )


class EngineConfig(PluginConfig, kind="engines", package="hpt_core.rollout"):
    """Base of the engines' configs. Each adds its own fields and implements `open`."""

    LOCAL: ClassVar[bool] = True
    """Whether the engine computes on this machine, so that more devices sample faster. False for a client of a server.
    """
    TRAINS: ClassVar[bool] = True
    """Whether the engine accepts a trainer's weights."""
    SHARES: ClassVar[bool] = False
    """Whether an open engine can take the weights of another model, which saves its start."""
    HONORS: ClassVar[frozenset[str]] = frozenset({"temperature", "top_p", "max_tokens", "stop_repetition"})
    """Fields of Sampling that the engine honors. A config that sets another one is refused."""

    def require(self, sampling: Sampling) -> None:
        """Raise ConfigError if the engine would ignore an option of `sampling`."""
        if ignored := sorted(set(sampling.options) - self.HONORS):
            raise ConfigError(
                f"the engine {self.name!r} does not honor {', '.join(ignored)}",
                f'remove {"it" if len(ignored) == 1 else "them"}, or use engine = "vllm"',
            )

    def packages(self) -> tuple[str, ...]:
        """Packages that define the engine's version: the first installed one counts, or our own package if none is
        installed. Empty if only the server knows its version."""
        return self.name, f"{self.name}-cpu"

    def cache_gib(self, on_gpu: bool) -> float:
        """GiB of the key-value cache next to a trainer if the size is fixed, else 0."""
        return 0.0

    def check(self) -> None:
        """Raise PreflightError if the engine's packages or their system requirements are missing. Cheap."""

    def check_model(self, config: Mapping[str, Any]) -> None:
        """Raise ModelError if the engine cannot run a model with this config.json, or with this part of it. Cheap."""

    def open(self, model: Path, max_model_len: int, dtype: str, seed: int, **options: Any) -> RolloutEngine:
        """Load the model folder `model` for sequences of at most `max_model_len` tokens in `dtype`.

        `colocated=True` means that a trainer shares the device. `logprobs=False` means that rollouts need no
        log-probabilities. Raises EngineError, and ModelError for missing or non-finite weights.
        """
        raise NotImplementedError
