"""Fixed responses instead of sampled ones, for tests. Their log-probabilities are the model's own."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from hpt_core.rollout.base import EngineConfig, Request, Rollout, Sampling
from hpt_core.rollout.transformers import Transformers, TransformersEngine

logger = logging.getLogger("hpt.rollout.scripted")


class Scripted(EngineConfig):
    """Fixed responses, selected by prompt. Options that end a response apply; the log names those without effect."""

    HONORS: ClassVar[frozenset[str]] = Transformers.HONORS

    responses: dict[str, tuple[str, ...]] = {}
    """Text -> responses to prompts that contain it. The first matching text is used; the seed selects the response."""
    otherwise: str = ""
    """The response to all other prompts."""

    def open(self, model: Path, max_model_len: int, dtype: str, seed: int, **options: Any) -> "ScriptedEngine":
        """Load `model`, whose tokenizer encodes the responses; see EngineConfig.open.

        Without log-probabilities only the tokenizer is loaded."""
        return ScriptedEngine(self, model, max_model_len, dtype if options.get("logprobs", True) else None)


class ScriptedEngine(TransformersEngine):
    """A model that gives the scripted responses; see RolloutEngine."""

    def __init__(self, config: Scripted, model: Path, max_model_len: int, dtype: str | None) -> None:
        self._config = config
        self._told = {"temperature"}  # of the token that is sampled on opening
        super().__init__(model, max_model_len, dtype)
        self._told.clear()
        self.version = f"scripted ({self.version})"

    def _respond(self, request: Request, sampling: Sampling) -> Rollout:
        """The scripted response up to where `sampling` ends it, with the model's log-probabilities."""
        self._tell(sampling)
        prompt = self._tokenizer.decode(request.prompt_ids)
        known = next((r for part, r in self._config.responses.items() if part in prompt), (self._config.otherwise,))
        text = known[request.seed % len(known)]
        ids = [*self._tokenizer(text, add_special_tokens=False).input_ids, self._tokenizer.eos_token_id]
        ended = self._rule(sampling)
        tokens = ids[: next(n for n in range(1, len(ids) + 1) if ended(ids[:n]))]
        return self._rollout(tokens, self._logprobs(request.prompt_ids, tokens, sampling), sampling)

    def _logprobs(self, prompt: Sequence[int], tokens: Sequence[int], sampling: Sampling) -> list[float]:
        if self._model is None:
            return []
        import torch

        with torch.no_grad():
            logits = self._model(torch.tensor([[*prompt, *tokens]], device=self._device)).logits[0]
        scaled = logits[len(prompt) - 1 : -1].float() / (sampling.temperature or 1.0)
        found = torch.log_softmax(scaled, dim=-1).gather(1, torch.tensor(tokens, device=self._device)[:, None])
        return [float(value) for value in found[:, 0]]

    def _tell(self, sampling: Sampling) -> None:
        """Log the options that have no effect, once each."""
        ignored = {"temperature": sampling.temperature, **sampling.reshaping}
        if new := ignored.keys() - self._told:
            self._told |= new
            told = ", ".join(f"{name} {ignored[name]}" for name in sorted(new))
            logger.info("scripted responses are fixed, so these options have no effect: %s", told)
