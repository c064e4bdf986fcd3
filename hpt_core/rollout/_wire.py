"""Requests and answers of the completions API."""

import math
from dataclasses import dataclass, field
from typing import Any, get_args

from hpt_core.errors import EngineError
from hpt_core.rollout.base import Decoder, FinishReason, Request, Rollout, Sampling

STANDARD = ("temperature", "top_p", "max_tokens", "presence_penalty", "frequency_penalty", "stop")
"""Sampling options of the completions API. Servers other than vLLM may ignore the others."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Builds requests for one server and parses its answers."""

    model: str
    """The model's name on the server."""
    vllm: bool
    """Whether it is a vLLM server, which returns token ids and log-probabilities and supports `stop_repetition`."""
    version: str
    """The engine's version, for error messages."""
    tokenizer: Any
    """The tokenizer of the model folder."""
    logprobs: bool = True
    """Whether to request log-probabilities."""
    decode: Decoder = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "decode", Decoder(self.tokenizer))

    def body(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        """The body of a request. Raises EngineError if the server does not support `sampling`.

        Options without effect are sent too, because servers may default to other values, such as those of the model's
        generation_config.json.
        """
        stop_ids = sampling.stop_ids(self.tokenizer)
        self._require_support(sampling, stop_ids)
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": list(request.prompt_ids),
            "seed": request.seed,
            **sampling.numbers,
            # The only value without effect that all servers accept.
            "top_k": sampling.top_k or -1,
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if stop_ids:
            body["stop_token_ids"] = stop_ids
        if self.vllm:
            body["return_token_ids"] = True
            if self.logprobs:
                body["logprobs"] = 0
        if (rule := sampling.stop_repetition) is not None:
            body["repetition_detection"] = {
                "max_pattern_size": rule.longest,
                "min_pattern_size": rule.shortest,
                "min_count": rule.times,
            }
        return body

    def _require_support(self, sampling: Sampling, stop_ids: list[int]) -> None:
        """Only vLLM is known to honor all options. Another server might ignore one without an error."""
        unsupported = [name for name in sampling.options if name not in STANDARD]
        unsupported += ["special tokens in stop"] if stop_ids else []
        if unsupported and not self.vllm:
            raise EngineError(
                f"{self.version} is not a vLLM server and does not support {', '.join(unsupported)}",
                f"remove {', '.join(unsupported)}, or serve the model with vLLM",
            )

    def rollout(self, request: Request, sampling: Sampling, choice: dict[str, Any]) -> Rollout:
        """Parse a choice, to which the answer's `usage` has been added. Raises EngineError."""
        reason: Any = choice.get("finish_reason")
        if reason not in get_args(FinishReason):
            raise EngineError(f"{self.version} ended a request with {reason!r}", "look at the server's log")
        self._check_prompt(request, choice)
        tokens = choice.get("token_ids")
        if tokens is None:
            return self._without_tokens(sampling, choice, reason)
        self._check_length(sampling, reason, len(tokens))
        logprobs = (choice.get("logprobs") or {}).get("token_logprobs") or ()
        if len(logprobs) != len(tokens) and self.logprobs:
            logprobs = [math.nan] * len(tokens)
        # As in the vllm engine. The server decodes token by token, so the end of its own text may differ.
        text = sampling.cut(self.decode(tokens))
        return Rollout(tuple(tokens), tuple(logprobs), text, reason)

    def _without_tokens(self, sampling: Sampling, choice: dict[str, Any], reason: FinishReason) -> Rollout:
        text = sampling.cut(str(choice.get("text") or ""))
        self._check_length(sampling, reason, choice["usage"].get("completion_tokens"))
        tokens = list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids)
        if reason == "stop":
            tokens.append(self.tokenizer.eos_token_id)
        return Rollout(tuple(tokens), (math.nan,) * len(tokens), text, reason)

    def _check_prompt(self, request: Request, choice: dict[str, Any]) -> None:
        """Detect a server that reads the ids as text or adds a token: its number of prompt tokens differs."""
        sent, read = len(request.prompt_ids), choice["usage"].get("prompt_tokens")
        if read is not None and read != sent:
            raise EngineError(
                f"{self.version} counted {read} prompt tokens, but {sent} were sent",
                "use a server that takes prompts as token ids and adds nothing to them, such as vllm serve",
            )

    def _check_length(self, sampling: Sampling, reason: FinishReason, written: int | None) -> None:
        """Detect a response that the server cut at the end of its context, which servers do not report."""
        if reason == "length" and written is not None and written < sampling.max_tokens:
            raise EngineError(
                f"{self.version} cut a response after {written} of {sampling.max_tokens} tokens",
                "lower max_tokens, or serve the model with a longer context",
            )
