"""Weighted averages of models: `[average.NAME]` (model soups, Wortsman 2022, arXiv 2203.05482).

    theta = sum_i w_i theta_i,  sum_i w_i = 1

The models must share an architecture, a tokenizer and a root model, because averaging works only for weights in the
same loss basin. Sums are computed in float32 and cast to the first model's dtype. Tensors that are not floating-point
are copied from the first model. `python -m tasks.average SPEC` is the worker.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator
from safetensors import safe_open

from hpt_core import worker
from hpt_core.artifacts import Cost
from hpt_core.base import Frozen
from hpt_core.errors import ModelError
from hpt_core.files import replacing_folder
from hpt_core.model_folder import other_files, place, tokenizer_id, weight_files
from hpt_core.models.materialize import ModelConfig
from tasks.execution.artifact import Artifacts, Job, Stage, Step, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import MODEL, Reference, StageKey
from tasks.execution.kind import ModelStageConfig, NamedStages
from tasks.model import model_size

if TYPE_CHECKING:
    from torch import Tensor


class Config(ModelStageConfig):
    """The average of several models: `[average.NAME]`."""

    models: tuple[Annotated[StageKey, Reference(MODEL)], ...] = Field(min_length=2)
    """The models: `train.NAME`, `model.NAME` or any other stage that produces one. Globs such as `train.hpt*` work."""
    weights: tuple[float, ...] = ()
    """Weight of each model, in the same order; the sum must be 1. By default, all are equal."""

    @model_validator(mode="after")
    def _weights_fit(self) -> "Config":
        if self.weights and len(self.weights) != len(self.models):
            raise ValueError(f"{len(self.models)} models have {len(self.weights)} weights; give one weight per model")
        if self.weights and not math.isclose(sum(self.weights), 1.0, abs_tol=1e-6):
            raise ValueError(f"the weights sum to {sum(self.weights):g}; they must sum to 1")
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """Weight of each model."""
        return self.weights or (1 / len(self.models),) * len(self.models)


class Spec(Frozen):
    """The worker's spec; the worker writes `output`/model/."""

    models: tuple[Path, ...]
    weights: tuple[float, ...]
    output: Path


class AverageStep(Step):
    """One model folder."""

    kind = "average"
    produces = (MODEL,)

    def __init__(self, stage: StageKey, config: Config, root: tuple[StageKey, ModelConfig]) -> None:
        super().__init__(stage)
        self.config = config
        self.root = root

    def targets(self, artifacts: Artifacts, context: Context) -> list[Target]:
        """One target, which depends on the models and their weights."""
        models = {f"model {i}": (artifacts[key], MODEL) for i, key in enumerate(self.config.models)}
        return [self.target({"weights": list(self.config.shares)}, models)]

    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: Context) -> Cost:
        """Run the worker."""
        (job,) = jobs
        models = tuple(artifacts[key].path(MODEL) for key in self.config.models)
        spec = Spec(models=models, weights=self.config.shares, output=job.slot.output)
        return context.worker(self.stage, "tasks.average", spec, [job.slot])

    def facts(self, job: Job) -> dict[str, Any]:
        """Weight of each model."""
        return {str(key): weight for key, weight in zip(self.config.models, self.config.shares, strict=True)}

    def preflight(self, artifacts: Artifacts, context: Context) -> int:
        """Bytes of the weights in float32, the largest possible dtype."""
        return 4 * (model_size(*self.root, artifacts).parameters or 0)


class Averages(NamedStages):
    """Weighted averages of models."""

    config = Config
    produces = (MODEL,)
    command = ("average", "Average models")

    def stage(self, key: StageKey, config: Config, pipeline: PipelineConfig) -> Stage:
        """`average.NAME`."""
        root = pipeline.root(key)
        return Stage(key, config.models, (AverageStep(key, config, (root, pipeline.config_of(root))),))

    def check(self, pipeline: PipelineConfig) -> None:
        """All models of an average must have the same root model."""
        for name, config in self.of(pipeline).items():
            roots = {str(model): str(pipeline.root(model)) for model in config.models}
            if len(set(roots.values())) > 1:
                (first, root), *others = roots.items()
                other = next(model for model, found in others if found != root)
                raise ValueError(
                    f"average.{name}.models: {first} starts from {root} but {other} from {roots[other]}; average only "
                    "models with the same root"
                )


KIND = Averages()


def run(spec: Spec) -> None:
    """Write output/model/ atomically. Raises ModelError if the models are incompatible."""
    progress = worker.progress("tensors")
    first, *others = spec.models
    for folder in others:
        if tokenizer_id(folder) != tokenizer_id(first):
            raise ModelError(f"the tokenizers of {folder} and {first} differ", "average models with the same tokenizer")
    tensors = [_tensors(folder) for folder in spec.models]
    _require_same(spec.models, tensors)
    with replacing_folder(spec.output / "model") as beside:
        from huggingface_hub import save_torch_state_dict

        found: dict[str, Tensor] = {}
        for name in tensors[0]:
            found[name] = average([_read(files[name], name) for files in tensors], spec.weights)
            progress(len(found), len(tensors[0]), "")
        save_torch_state_dict(found, beside, metadata={"format": "pt"})
        place(other_files(first), first, beside)


def average(tensors: "Sequence[Tensor]", weights: Sequence[float]) -> "Tensor":
    """Weighted sum of same-shaped tensors, computed in float32 and returned in the first tensor's dtype.

    Returns the first tensor if it is not floating-point. Tensors with weight 0 are skipped, so weights of (1, 0) return
    the first tensor's exact bits.
    """
    import torch

    first = tensors[0]
    if not first.is_floating_point():
        return first
    total = torch.zeros_like(first, dtype=torch.float32)
    for tensor, weight in zip(tensors, weights, strict=True):
        if weight:
            total += weight * tensor.to(torch.float32)
    return total.to(first.dtype)


def _tensors(folder: Path) -> dict[str, Path]:
    """Name -> file of every tensor. Raises ModelError if a weight file is not safetensors."""
    found: dict[str, Path] = {}
    for path in weight_files(folder):
        if path.suffix == ".json":
            continue
        if path.suffix != ".safetensors":
            raise ModelError(f"{path} is not a safetensors file", "convert the model to safetensors")
        with safe_open(path, framework="pt") as file:
            found |= dict.fromkeys(file.keys(), path)
    return found


def _require_same(folders: Sequence[Path], tensors: Sequence[dict[str, Path]]) -> None:
    shapes = [dict(_shapes(found)) for found in tensors]
    for folder, other in zip(folders[1:], shapes[1:], strict=True):
        for name in sorted({*shapes[0], *other}):
            if shapes[0].get(name) != other.get(name):
                raise ModelError(
                    f"{name} is {other.get(name, 'missing')} in {folder} and {shapes[0].get(name, 'missing')} in "
                    f"{folders[0]}",
                    "average models with the same architecture",
                )


def _shapes(tensors: dict[str, Path]) -> Iterator[tuple[str, list[int]]]:
    for path in dict.fromkeys(tensors.values()):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (not a mapping)
                yield name, file.get_slice(name).get_shape()


def _read(path: Path, name: str) -> "Tensor":
    with safe_open(path, framework="pt") as file:
        tensor: Tensor = file.get_tensor(name)
    return tensor


if __name__ == "__main__":
    worker.main(Spec, run)
