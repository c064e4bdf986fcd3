"""The computation of a pipeline's stages, by arithmetic: tokens, floating-point operations and GPU-hours. Nothing is
run, so it serves for pipelines that this machine cannot run."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from flows.run import Run
from hpt_core.errors import ModelError
from tasks.execution.keys import StageKey
from tasks.execution.kind import Workload
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
    for key, stage in run.graph.items():
        for workload in run.config.kind_of(key).workloads(stage, run.config):
            yield _stage(key, workload, _parameters(run, workload.model, assumed), assumed)


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


def _stage(key: StageKey, work: Workload, parameters: float, assumed: Assumptions) -> StageCompute:
    generated, trained = work.sampled * assumed.response_tokens, work.trained * assumed.response_tokens
    training = 2 * parameters * work.passes * (trained + work.prompts * assumed.prompt_tokens)
    sampling = 2 * parameters * work.sampled * (assumed.response_tokens + assumed.prompt_tokens)
    seconds = (training / assumed.training + sampling / assumed.decoding) / (assumed.peak_tflops * 1e12)
    return StageCompute(key, generated, trained, seconds / 3600)
