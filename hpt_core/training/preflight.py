"""What can be found out before anything heavy starts."""

from collections.abc import Sequence

from hpt_core.config import TrainSpec
from hpt_core.errors import ConfigError, PreflightError
from hpt_core.training.draw import cursor
from hpt_core.training.model import context_length, read_config
from hpt_core.training.questions import Question
from hpt_core.upge.estimator import Estimator

GIB = 2**30
BYTES_PER_WEIGHT = 16
"""Float32 master weight, gradient and two moments."""


def check_spec(spec: TrainSpec, estimator: Estimator) -> None:
    """What spec and model folder alone tell. Raises ConfigError, ModelError or PreflightError."""
    read_config(spec.model)
    if not spec.data.is_file():
        raise PreflightError(f"there is no file {spec.data}", "prepare the data first")
    sampling = spec.config.sampling
    if estimator.uses_rollouts and sampling.temperature == 0:
        raise ConfigError("sampling.temperature is 0 and rollouts are to be trained on", "set it above 0, 1.0 as usual")
    if estimator.uses_rollouts and sampling.top_p < 1:
        raise ConfigError(
            f"sampling.top_p is {sampling.top_p} and rollouts are to be trained on: their probabilities are over the "
            "whole vocabulary",
            "set sampling.top_p to 1",
        )


def check_questions(spec: TrainSpec, estimator: Estimator, questions: Sequence[Question]) -> int:
    """Tokens of the longest sequence that can occur. Raises PreflightError where the model's context or the machine's
    memory does not suffice, or the data do not fill a step."""
    cursor(0, len(questions), spec.config.questions_per_step)
    config = read_config(spec.model)
    longest = 0
    if estimator.uses_rollouts:
        longest = max(q.prompt_tokens for q in questions) + spec.config.sampling.max_tokens
    if estimator.uses_demonstrations:
        with_one = [q for q in questions if q.demonstration_tokens is not None]
        if not with_one:
            raise PreflightError(f"{spec.data} holds no demonstration", "prepare data with demonstrations")
        longest = max(longest, *(q.prompt_tokens + (q.demonstration_tokens or 0) for q in with_one))
    allowed = context_length(config)
    if longest > allowed:
        raise PreflightError(
            f"prompt and response take up to {longest} tokens, the model's context is {allowed}",
            "lower sampling.max_tokens, data.max_prompt_tokens or data.max_demonstration_tokens, "
            "or raise the model's max_position_embeddings",
        )
    _check_memory(spec, estimator)
    return longest


def _check_memory(spec: TrainSpec, estimator: Estimator) -> None:
    import torch

    stored = sum(f.stat().st_size for f in spec.model.iterdir() if f.suffix in (".safetensors", ".bin"))
    width = 4 if read_config(spec.model).get("dtype", read_config(spec.model).get("torch_dtype")) == "float32" else 2
    weights = stored / width
    need = weights * BYTES_PER_WEIGHT
    if estimator.uses_rollouts:
        need += weights * (4 if spec.config.dtype == "float32" else 2)
        need += GIB * (getattr(spec.config.engine, "kv_cache_gib", None) or 0)
    if torch.cuda.is_available():
        available, where = torch.cuda.mem_get_info()[0], "of the GPU's memory"
    else:
        import psutil

        available, where = psutil.virtual_memory().available, "of memory"
    if need > available:
        raise PreflightError(
            f"weights, gradients, moments and engine take {need / GIB:.1f} GiB {where}, {available / GIB:.1f} are free",
            "choose a smaller model or a larger machine",
        )
