"""Fixed responses instead of sampled ones, for tests. Their log-probabilities are the model's own."""

from pathlib import Path
from typing import Any

from hpt_core.rollout.base import EngineConfig, Request, Rollout, Sampling
from hpt_core.rollout.transformers import TransformersEngine


class Scripted(EngineConfig):
    """Fixed responses, selected by prompt."""

    responses: dict[str, tuple[str, ...]] = {}
    """Text -> responses to prompts that contain it. The first matching text is used; the seed selects the response."""
    otherwise: str = ""
    """The response to all other prompts."""

    def open(self, model: Path, max_model_len: int, dtype: str, seed: int, **options: Any) -> "ScriptedEngine":
        """Load `model`, whose tokenizer encodes the responses; see EngineConfig.open."""
        return ScriptedEngine(self, model, max_model_len, dtype)


class ScriptedEngine(TransformersEngine):
    """A model that gives the scripted responses; see RolloutEngine."""

    def __init__(self, config: Scripted, model: Path, max_model_len: int, dtype: str) -> None:
        self._config = config
        super().__init__(model, max_model_len, dtype)
        self.version = f"scripted ({self.version})"

    def _respond(self, request: Request, sampling: Sampling) -> Rollout:
        """The scripted response, cut at `max_tokens`, with the model's log-probabilities."""
        import torch

        prompt = self._tokenizer.decode(request.prompt_ids)
        known = next((r for part, r in self._config.responses.items() if part in prompt), (self._config.otherwise,))
        text = known[request.seed % len(known)]
        ids = [*self._tokenizer(text, add_special_tokens=False).input_ids, self._tokenizer.eos_token_id]
        tokens = ids[: sampling.max_tokens]
        with torch.no_grad():
            logits = self._model(torch.tensor([[*request.prompt_ids, *tokens]], device=self._device)).logits[0]
        scaled = logits[len(request.prompt_ids) - 1 : -1].float() / (sampling.temperature or 1.0)
        logprobs = torch.log_softmax(scaled, dim=-1).gather(1, torch.tensor(tokens, device=self._device)[:, None])
        return self._rollout(tokens, logprobs[:, 0].tolist(), sampling)
