"""The contract of a rollout engine: token ids in, token ids with their log-probabilities out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import Field

from hpt_core.base import Frozen

if TYPE_CHECKING:
    from torch import Tensor


class Sampling(Frozen):
    """How tokens are drawn."""

    temperature: float = Field(1.0, ge=0)
    """Softmax temperature; 1.0 for training rollouts, 0.6 for evaluation (paper, section 4.1)."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus mass; 1.0 for training rollouts, 0.95 for evaluation."""
    max_tokens: int = Field(8192, ge=1)
    """New tokens at most."""


@dataclass(frozen=True, slots=True)
class Request:
    """One response to draw."""

    prompt_ids: tuple[int, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """One drawn response.

    `token_ids` ends with the EOS token when `finish_reason` is "stop". `logprobs` (nats, one per token) are those of
    the distribution that was sampled from, after temperature and top_p. `text` leaves special tokens out.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish_reason: Literal["stop", "length"]


Finished = Callable[[int, Rollout], None]
"""Called with a request's index and its response, in the order in which they finish."""


class RolloutEngine(Protocol):
    """An engine with a model loaded. Results keep the order of the requests and depend on no other request."""

    version: str
    """Name and version, such as "vllm 0.32.0"."""

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Callable[[int, int], None] | None = None,
        finished: Finished | None = None,
    ) -> list[Rollout]:
        """Draw one response for each request. As they finish, `finished(index, rollout)` is called for each and
        `progress(done, total)` now and then. Raises EngineError."""
        ...

    def sync_weights(self, weights: Iterable[tuple[str, "Tensor"]]) -> None:
        """Take over the trainer's weights, by Hugging Face parameter name, and forget every cached prefix.

        Tied weights must all be present under each of their names (lm_head.weight beside the embedding).
        """
        ...

    def release(self) -> None:
        """Hand accelerator memory back until the next `sync_weights`; does nothing where memory is not contended."""
        ...

    def close(self) -> None:
        """Free the model and whatever processes serve it."""
        ...


class EngineConfig(Frozen):
    """Base of the engines' configs; each engine module's `Config` adds its own fields and opens the engine."""

    CAPACITY: ClassVar[frozenset[str]] = frozenset()
    """Fields that say how much of a machine is used: no part of a fingerprint or of a checkpoint's identity."""

    def identity(self) -> dict[str, Any]:
        """What of the config decides the results: all but CAPACITY."""
        return self.model_dump(mode="json", exclude=set(self.CAPACITY))

    def open(self, model: Path, max_model_len: int, dtype: str, seed: int, **options: Any) -> RolloutEngine:
        """Load the model folder `model` for sequences of at most `max_model_len` tokens in `dtype`.

        `colocated=True` says that a trainer shares the device. Raises EngineError.
        """
        raise NotImplementedError
