"""Requests and answers of the completions API."""

import math
from dataclasses import dataclass
from typing import Any, get_args

from hpt_core.errors import EngineError
from hpt_core.rollout.base import FinishReason, Request, Rollout, Sampling

NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Sampling options that have no effect. They are sent because servers may default to other values, such as those of
the model's generation_config.json."""


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

    def body(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        """The body of a request. Raises EngineError if the server does not support `sampling`."""
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": list(request.prompt_ids),
            "seed": request.seed,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            **NEUTRAL,
        }
        if self.vllm:
            body["return_token_ids"] = True
            if self.logprobs:
                body["logprobs"] = 0
        if (stop := sampling.stop_repetition) is not None:
            if not self.vllm:
                raise EngineError(
                    f"{self.version} is not a vLLM server and does not support stop_repetition",
                    "remove stop_repetition, or serve the model with vLLM",
                )
            body["repetition_detection"] = {
                "max_pattern_size": stop.longest,
                "min_pattern_size": stop.shortest,
                "min_count": stop.times,
            }
        return body

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
        text = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Rollout(tuple(tokens), tuple(logprobs), text, reason)

    def _without_tokens(self, sampling: Sampling, choice: dict[str, Any], reason: FinishReason) -> Rollout:
        text = str(choice.get("text") or "")
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
