"""transformers, one response at a time: slow and simple, for checking another engine or debugging without vLLM."""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hpt_core.errors import EngineError, explain
from hpt_core.model_folder import load_tokenizer, read_object
from hpt_core.rollout.base import (
    Decoder,
    EngineConfig,
    FinishReason,
    Generation,
    Request,
    Rollout,
    RolloutEngine,
    Sampling,
    Stream,
    non_finite,
    require_finite_logprobs,
)
from hpt_core.weights import require_weights

if TYPE_CHECKING:
    from torch import Tensor


class Transformers(EngineConfig):
    """Sampling with transformers, token by token."""

    HONORS: ClassVar[frozenset[str]] = EngineConfig.HONORS | {
        *("top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "stop"),
    }

    def open(self, model: Path, max_model_len: int, dtype: str, seed: int, **options: Any) -> "TransformersEngine":
        """Load `model`; see EngineConfig.open."""
        return TransformersEngine(model, max_model_len, dtype)


class TransformersEngine(RolloutEngine):
    """A transformers model and its tokenizer; see RolloutEngine."""

    def __init__(self, model: Path, max_model_len: int, dtype: str | None) -> None:
        """`dtype` None loads the tokenizer and no model."""
        self.version = f"transformers {version('transformers')}"
        self.max_model_len = max_model_len
        self._folder = model
        self._tokenizer = load_tokenizer(model)
        self._stops = self._stop_tokens()
        self._decode = Decoder(self._tokenizer)
        self._model: Any = None
        if dtype is not None:
            self._load(model, dtype)
            require_finite_logprobs(self, self._tokenizer, model, max_model_len)

    def _load(self, model: Path, dtype: str) -> None:
        import torch
        import transformers

        require_weights(model)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        with _loading(model):
            loaded = transformers.AutoModelForCausalLM.from_pretrained(
                model,
                dtype=getattr(torch, dtype),
                attn_implementation="sdpa",
                local_files_only=True,
                trust_remote_code=False,
                generation_config=transformers.GenerationConfig(),  # the folder's own may be invalid
            )
        self._model = loaded.to(self._device).eval()

    def stream(self, requests: Iterable[Generation]) -> Stream:
        """Generate responses one after the other; see RolloutEngine."""
        for index, (request, sampling) in enumerate(requests):
            yield index, self._respond(request, sampling)

    def sync_weights(self, weights: Iterable[tuple[str, "Tensor"]]) -> None:
        """Load the trainer's weights; see RolloutEngine."""
        try:
            self._model.load_state_dict(dict(weights))
        except RuntimeError as error:
            raise EngineError(f"the weights do not fit the engine's model: {error}", "sync every weight") from error

    def release(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Free the model."""
        self._model = None

    def _respond(self, request: Request, sampling: Sampling) -> Rollout:
        import torch

        generator = torch.Generator(self._device).manual_seed(request.seed)
        ids = torch.tensor([request.prompt_ids], device=self._device)
        room = self.max_model_len - len(request.prompt_ids)
        ended = self._rule(sampling)
        tokens: list[int] = []
        logprobs: list[float] = []
        cache = None
        with torch.no_grad():
            while len(tokens) < room and not ended(tokens):
                output = self._model(input_ids=ids, past_key_values=cache, use_cache=True)
                cache = output.past_key_values
                distribution = distribution_of(output.logits[0, -1].float(), sampling, request.prompt_ids, tokens)
                if distribution.isnan().any():
                    raise non_finite(self._folder, self.version)
                token = int(torch.multinomial(distribution.exp(), 1, generator=generator))
                tokens.append(token)
                logprobs.append(float(distribution[token]))
                ids = torch.tensor([[token]], device=self._device)
        return self._rollout(tokens, logprobs, sampling)

    def _rule(self, sampling: Sampling) -> Callable[[Sequence[int]], FinishReason | None]:
        """A function that says why a response with the given tokens ends; None if it continues."""
        stops = {*self._stops, *sampling.stop_ids(self._tokenizer)}
        # Of a character, a token may hold one of four bytes.
        tail = 4 * max(map(len, sampling.stop), default=0) + 4

        def ended(tokens: Sequence[int]) -> FinishReason | None:
            if tokens and tokens[-1] in stops:
                return "stop"
            if sampling.stop and (text := self._decode(tokens[-tail:])) != sampling.cut(text):
                return "stop"
            if len(tokens) >= sampling.max_tokens:
                return "length"
            return "repetition" if sampling.stop_repetition and sampling.stop_repetition.holds(tokens) else None

        return ended

    def _rollout(self, tokens: list[int], logprobs: list[float], sampling: Sampling) -> Rollout:
        reason = self._rule(sampling)(tokens) or "length"
        return Rollout(tuple(tokens), tuple(logprobs), sampling.cut(self._decode(tokens)), reason)

    def _stop_tokens(self) -> set[int]:
        file = self._folder / "generation_config.json"
        own = read_object(file).get("eos_token_id") if file.is_file() else None
        configured = self._configured_stop() if own is None else own
        stops = configured if isinstance(configured, list) else [configured]
        return {int(token) for token in [*stops, self._tokenizer.eos_token_id] if token is not None}

    def _configured_stop(self) -> Any:
        from transformers import AutoConfig

        with _loading(self._folder):
            return AutoConfig.from_pretrained(self._folder, local_files_only=True, trust_remote_code=False).eos_token_id


@contextlib.contextmanager
def _loading(model: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a quantized model raises whatever its library raises
        raise EngineError(f"transformers cannot load {model}: {explain(error)}", "check the model folder") from error


def distribution_of(
    logits: "Tensor", sampling: Sampling, prompt: Sequence[int] = (), response: Sequence[int] = ()
) -> "Tensor":
    """Log-probabilities [V] to sample from, given logits [V] after `prompt` and `response`: after all options of
    Sampling, in vLLM's order; -inf for excluded tokens.

    At temperature 0 the token with the largest logit has probability 1.
    """
    import torch

    logits = _penalized(logits, sampling, prompt, response)
    if sampling.temperature == 0:
        certain = torch.full_like(logits, -torch.inf)
        certain[logits.argmax()] = 0.0
        return certain
    logprobs = torch.log_softmax(logits / sampling.temperature, dim=-1)
    if sampling.min_p > 0:
        least = logprobs.max() + math.log(sampling.min_p)
        logprobs = torch.log_softmax(logprobs.masked_fill(logprobs < least, -torch.inf), dim=-1)
    if 0 < sampling.top_k < len(logprobs):
        least = logprobs.topk(sampling.top_k).values[-1]
        logprobs = torch.log_softmax(logprobs.masked_fill(logprobs < least, -torch.inf), dim=-1)
    if sampling.top_p < 1:
        ordered, order = logprobs.sort(descending=True)
        before = ordered.exp().cumsum(-1) - ordered.exp()
        cut = order[before >= sampling.top_p]
        logprobs = torch.log_softmax(logprobs.index_fill(0, cut, -torch.inf), dim=-1)
    return logprobs


def _penalized(logits: "Tensor", sampling: Sampling, prompt: Sequence[int], response: Sequence[int]) -> "Tensor":
    """The logits [V] after the repetition, frequency and presence penalties."""
    import torch

    if sampling.repetition_penalty != 1:
        seen = torch.zeros_like(logits, dtype=torch.bool)
        seen[[*prompt, *response]] = True
        factor = sampling.repetition_penalty
        logits = torch.where(seen, torch.where(logits > 0, logits / factor, logits * factor), logits)
    if sampling.frequency_penalty or sampling.presence_penalty:
        counts = torch.bincount(torch.tensor(response, dtype=torch.long, device=logits.device), minlength=len(logits))
        logits = logits - sampling.frequency_penalty * counts - sampling.presence_penalty * (counts > 0)
    return logits
