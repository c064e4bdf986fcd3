"""The computation of a pipeline's stages, by arithmetic: tokens, floating-point operations and GPU-hours. Nothing is
run, so it serves for pipelines that this machine cannot run."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from flows.run import Run
from hpt_core.errors import ModelError
from hpt_core.training.config import TrainConfig
from tasks import evaluate, train
from tasks.execution.keys import StageKey
from tasks.model import model_size


class Assumptions(NamedTuple):
    """What the config does not say."""

    parameters: float | None
    """Parameters of the model; None uses what is known of it."""
    response_tokens: float
    """Mean tokens of a response, and of a demonstration."""
    prompt_tokens: float
    """Mean tokens of a prompt."""
    peak_tflops: float
    """Peak rate of a GPU in the compute precision, 10^12 operations per second."""
    training: float
    """Share of the peak rate that training reaches, with what gradient checkpointing computes twice."""
    decoding: float
    """Share of the peak rate that sampling reaches; it is limited by memory, not by computation."""


class StageCompute(NamedTuple):
    """One stage."""

    stage: StageKey
    generated_tokens: float
    trained_tokens: float
    gpu_hours: float


def of_pipeline(run: Run, assumed: Assumptions) -> Iterator[StageCompute]:
    """Every stage that trains or samples, in the pipeline's order. Raises ModelError if a model's size is not known."""
    for key in run.graph:
        if key.kind == train.KIND.name:
            config = run.config.config_of(key)
            yield _training(key, config, _parameters(run, key, assumed), assumed)
        for step in run.graph[key].steps:
            if isinstance(step, evaluate.SampleStep):
                asked = sum(
                    m.settings.k * min(m.suite.rows, step.protocol.config.limit or m.suite.rows)
                    for m in step.protocol.measurements
                )
                yield _stage(key, asked, 0.0, 0.0, _parameters(run, step.model, assumed), assumed)


def total(stages: Sequence[StageCompute]) -> StageCompute:
    """All of them."""
    columns = ([stage.generated_tokens, stage.trained_tokens, stage.gpu_hours] for stage in stages)
    generated, trained, hours = (math.fsum(column) for column in zip(*columns, strict=True))
    return StageCompute(StageKey("total"), generated, trained, hours)


def _parameters(run: Run, model: StageKey, assumed: Assumptions) -> float:
    root = run.config.root(model)
    found = assumed.parameters or model_size(root, run.config.config_of(root), run.plan.artifacts).parameters
    if not found:
        raise ModelError(f"the size of {root} is not known before it is fetched", "give it: --parameters 7.6e9")
    return found


def _training(key: StageKey, config: TrainConfig, parameters: float, assumed: Assumptions) -> StageCompute:
    """An upper bound: with a gate that depends on the success rate, every question trains on its rollouts."""
    questions = config.steps * config.questions_per_step
    rollouts = questions * config.rollouts_per_question if config.uses_rollouts else 0
    is_gated = config.algorithm.gate.needs_success_rate
    demonstrations = questions if config.uses_demonstrations and not is_gated else 0
    validated = 0
    if (validation := config.validation) is not None:
        validated = validation.questions * validation.samples * math.ceil(config.steps / validation.every)
    trained = (rollouts + demonstrations) * assumed.response_tokens
    # Rollouts of one question share its prompt. A backward pass costs twice a forward one.
    passes = 4.0 if config.gradient_checkpointing else 3.0
    if rollouts and not config.makes_one_update:
        passes += 1.0  # the log-probabilities before the first update
    operations = 2 * parameters * passes * (trained + questions * assumed.prompt_tokens)
    return _stage(key, rollouts + validated, trained, operations, parameters, assumed)


def _stage(
    key: StageKey, responses: float, trained: float, training: float, parameters: float, assumed: Assumptions
) -> StageCompute:
    generated = responses * assumed.response_tokens
    sampling = 2 * parameters * responses * (assumed.response_tokens + assumed.prompt_tokens)
    seconds = (training / assumed.training + sampling / assumed.decoding) / (assumed.peak_tflops * 1e12)
    return StageCompute(key, generated, trained, seconds / 3600)
