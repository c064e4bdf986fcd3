"""What is checked before anything heavy starts: the store, disk, memory, context length. The workers check again what
only they can know, such as the longest prompt."""

from pathlib import Path
from typing import Any

import psutil

from flows.config import PipelineConfig
from flows.graph import Plan
from hpt_core.errors import PreflightError, StoreError
from hpt_core.model_folder import read_object, size
from hpt_core.trackers import check_all
from hpt_core.training.config import TrainConfig
from hpt_core.training.preflight import bytes_per_weight
from tasks import environment, process
from tasks.context import Context
from tasks.evaluate import VERDICTS

GIB = 2**30
SPARE_BYTES = GIB // 2
"""Disk that must be free beside what the stages are estimated to write."""
ENGINE_CACHE_BYTES = GIB
"""Key-value cache of the engine on a CPU, where the config leaves it open."""


def preflight(config: PipelineConfig, plan: Plan, context: Context) -> None:
    """Raise the first problem: PreflightError, or what a source said (ConfigError, DataError, ModelError)."""
    context.store.check_writable()
    for error in plan.problems.values():
        raise error
    todo = [key for key in plan.graph if plan.standing(key) != "done"]
    if any(key.startswith("train.") for key in todo):
        check_all(config.trackers)
        process.launcher(environment.training_processes(context.processes), context.launcher)
    disk = SPARE_BYTES if todo else 0
    for key in todo:
        kind, _, name = key.partition(".")
        if kind == "train":
            if config.train[name].uses_engine:
                config.train[name].engine.check()
            facts = model_facts(config, key, plan)
            if config.train[name].uses_rollouts:
                _check_context(f"train.{name}.sampling.max_tokens", config.train[name].sampling.max_tokens, facts)
            parameters = facts.get("parameters")
            if parameters:
                # How many machines a launcher of one's own takes is not known here.
                if context.launcher is None:
                    processes = environment.training_processes(context.processes)
                    check_memory(key, parameters, config.train[name], processes)
                disk += parameters * (12 * (config.train[name].keep_checkpoints + 1) + 4)
        elif kind == "evaluate" and config.evaluate:
            config.evaluate.engine.check()
            reference = next(r for r in config.evaluate.models if r.split(".", 1)[1] == name)
            facts = model_facts(config, reference, plan)
            for stage in plan.graph[key].parts[:1]:
                for m in stage.protocol.measurements:  # type: ignore[attr-defined]
                    _check_context(f"new tokens of {m.benchmark}", m.sampling.max_tokens, facts)
    free = context.store.free_bytes()
    if disk > free:
        raise PreflightError(
            f"the stages need about {disk / GIB:.1f} GiB of disk and {context.store.root} has {free / GIB:.1f} free",
            "free some, or give another store with --store",
        )


def require_sampled(plan: Plan) -> None:
    """Raise StoreError where anything but verdicts would have to be made."""
    for error in plan.problems.values():
        raise error
    missing = [u.unit.key for u in plan.units if u.unit.kind != VERDICTS and u.check.standing != "done"]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise StoreError(f"nothing to grade, not made yet: {', '.join(missing[:3])}{more}", "run `hpt evaluate` first")


def model_facts(config: PipelineConfig, reference: str, plan: Plan) -> dict[str, Any]:
    """`context` (tokens) and `parameters` of the model that a stage starts from, as far as they are known by now."""
    reference = config.root(reference)
    model = config.model[reference.removeprefix("model.")]
    facts: dict[str, Any] = {"model": reference}
    made = plan.made.get(reference)
    folder = made.output / "model" if made and not made.provisional else getattr(model.source, "path", None)
    if folder is not None and (Path(folder) / "config.json").is_file():
        found = read_object(Path(folder) / "config.json")
        facts["context"] = found.get("max_position_embeddings")
        facts["parameters"] = size(Path(folder)).parameters
    elif hasattr(model.source, "max_positions"):
        facts["context"] = model.source.max_positions
    if model.max_position_embeddings:
        facts["context"] = model.max_position_embeddings
    return facts


def _check_context(what: str, tokens: int, facts: dict[str, Any]) -> None:
    context = facts.get("context")
    if context and tokens >= context:
        raise PreflightError(
            f"{what} = {tokens} leaves no room for a prompt in the {context} tokens of context of {facts['model']}",
            "lower it, or raise the model's max_position_embeddings",
        )


def check_memory(stage: str, parameters: int, train: TrainConfig, processes: int = 1) -> None:
    """Trainer and engine share a device. Several processes share out the trainer's weights, gradients and moments; each
    has an engine of its own."""
    trainer = parameters * bytes_per_weight(train)
    engine = parameters * (4 if train.dtype == "float32" else 2) if train.uses_engine else 0
    gpus = environment.gpu_memory_bytes()
    if gpus is None:
        return
    if gpus:
        need, total, where = trainer // processes + engine, gpus[0], "the first GPU"
    else:
        engine += ENGINE_CACHE_BYTES if train.uses_engine else 0
        need, total, where = trainer + engine * processes, psutil.virtual_memory().total, "this machine"
    if need > total:
        raise PreflightError(
            f"{stage} needs about {need / GIB:.1f} GiB of memory and {where} has {total / GIB:.1f} GiB",
            "take a smaller model, a larger machine, lora, optimizer.eight_bit or, on GPUs, more of them",
        )
