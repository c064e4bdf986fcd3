"""Checks that run before the model is loaded."""

from collections.abc import Sequence

from hpt_core.errors import PreflightError
from hpt_core.model_folder import context_length, read_config, size
from hpt_core.trackers import check_all
from hpt_core.training.config import TrainSpec
from hpt_core.training.distributed import World
from hpt_core.training.lora import require_peft
from hpt_core.training.memory import WEIGHT, memory_of_rank, require_bytes
from hpt_core.training.model import require_trainable
from hpt_core.training.optimizer import require_eight_bit
from hpt_core.training.questions import TrainingQuestion
from hpt_core.training.schedule import cursor
from hpt_core.upge.estimator import Estimator


def check_spec(spec: TrainSpec) -> None:
    """Check the model folder, the data file and the packages. Raises ModelError, ConfigError or PreflightError."""
    config = read_config(spec.model)
    require_trainable(config)
    if spec.config.uses_engine:
        spec.config.engine.check_model(config)
    if spec.config.lora is not None:
        require_peft()
    if spec.config.optimizer.eight_bit:
        require_eight_bit()
    check_all(spec.trackers)
    if not spec.data.is_file():
        raise PreflightError(f"{spec.data} does not exist", "prepare the data first")


def check_questions(
    spec: TrainSpec,
    estimator: Estimator,
    training: Sequence[TrainingQuestion],
    held_out: Sequence[TrainingQuestion],
    world: World,
) -> int:
    """Returns the length of the longest possible sequence, in tokens. Raises PreflightError if the model's context, the
    machine's memory or the number of questions does not suffice."""
    if world.size > 1 and spec.config.optimizer.eight_bit:
        raise PreflightError(
            f"optimizer.eight_bit works only in a single process; this run has {world.size}",
            "set resources.processes = 1, or optimizer.eight_bit = false, since sharding already saves memory",
        )
    cursor(0, len(training), spec.config.questions_per_step)
    questions = [*training, *held_out]
    config = read_config(spec.model)
    longest = 0
    if spec.config.uses_engine:
        longest = max(q.prompt_tokens for q in questions) + spec.config.sampling.max_tokens
    if estimator.uses_demonstrations:
        longest = max(longest, *(q.prompt_tokens + (q.demonstration_tokens or 0) for q in questions))
    allowed = context_length(config)
    if longest > allowed:
        raise PreflightError(
            f"prompt and response take up to {longest} tokens; the model's context is {allowed}",
            "lower sampling.max_tokens, data.max_prompt_tokens or data.max_demonstration_tokens, "
            "or raise the model's max_position_embeddings",
        )
    _check_memory(spec, world)
    return longest


def _check_memory(spec: TrainSpec, world: World) -> None:
    """Compare the memory that one rank needs with its share of the machine."""
    import psutil
    import torch

    weights = size(spec.model).parameters
    on_gpu = torch.cuda.is_available()
    need = memory_of_rank(spec.config, weights, world.size, on_gpu)
    host = psutil.virtual_memory().available / world.local_size
    share = "its share of the free memory is"
    # With several ranks, each loads the whole model into main memory before it keeps its shard.
    require_bytes(weights * WEIGHT if world.size > 1 else 0, host, "each rank's copy of the weights takes", share)
    available, where = (torch.cuda.mem_get_info()[0], "the GPU's free memory is") if on_gpu else (host, share)
    require_bytes(need, available, "the weights, gradients, moments and engine of a rank take", where)
