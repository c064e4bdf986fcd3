"""The training worker: `python -m hpt_core.train SPEC.json` (config.TrainSpec)."""

import importlib.metadata
import logging
import os
import random
import shutil
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_core.files import remove_leftovers, replacing_folder, sha256_file, sha256_json, write_json
from hpt_core.model_folder import content_hashes, load_tokenizer, require_complete
from hpt_core.seeds import derive
from hpt_core.training.config import TrainSpec
from hpt_core.training.distributed import joined
from hpt_core.training.preflight import check_questions, check_spec
from hpt_core.training.questions import TrainingQuestion, hold_out, read_questions
from hpt_core.upge.estimator import Estimator
from hpt_core.verifiers.pool import VerifierPool
from hpt_core.worker import main, progress

if TYPE_CHECKING:
    from hpt_core.prompts.base import Prompt
    from hpt_core.rollout.base import RolloutEngine
    from hpt_core.training.distributed import World
    from hpt_core.training.loop import Trainer

logger = logging.getLogger("hpt.training")


def run(spec: TrainSpec) -> None:
    """Train according to `spec` and write `spec.output`. An interrupted run resumes from its newest checkpoint.

    Under torchrun every rank runs this, and the first rank writes.
    """
    config = spec.config
    estimator = Estimator(config.algorithm, config.sampling.max_tokens, config.importance_cap)
    check_spec(spec)
    prompt = spec.prompt.bind(load_tokenizer(spec.model))
    questions = read_questions(spec.data, need_demonstration=estimator.uses_demonstrations)
    held_out: list[TrainingQuestion] = []
    if config.validation is not None:
        questions, held_out = hold_out(questions, config.validation.questions)
    start = time.time()
    with joined() as world, ExitStack() as stack:
        longest = check_questions(spec, estimator, questions, held_out, world)
        pool = stack.enter_context(VerifierPool(spec.verifier_workers)) if config.uses_engine else None
        engine = _open_engine(spec, longest, world)
        if engine is not None:
            stack.enter_context(closing(engine))
        trainer = _open(spec, prompt, estimator, questions, held_out, pool, engine, world)
        trainer.run()
        _write_output(spec, trainer, time.time() - start)


def _open_engine(spec: TrainSpec, longest: int, world: "World") -> "RolloutEngine | None":
    """Open the engine; None if nothing is sampled. The engine seeds the global random generators."""
    import torch

    torch.set_num_threads(spec.threads or max(1, len(os.sched_getaffinity(0)) // world.local_size))
    progress("steps")(0, spec.config.steps, "loading the model")
    if not spec.config.uses_engine:
        return None
    seed = derive(spec.seed, "engine")
    engine = spec.config.engine.open(spec.model, longest, spec.config.dtype, seed, colocated=True)
    # Make room for the trainer, which loads next. The first weight sync wakes the engine.
    engine.release()
    return engine


def _open(
    spec: TrainSpec,
    prompt: "Prompt",
    estimator: Estimator,
    questions: list[TrainingQuestion],
    held_out: list[TrainingQuestion],
    pool: VerifierPool | None,
    engine: "RolloutEngine | None",
    world: "World",
) -> "Trainer":
    import torch

    from hpt_core.training.collect import Collector
    from hpt_core.training.distributed import shard
    from hpt_core.training.loop import Trainer
    from hpt_core.training.lora import add_adapters
    from hpt_core.training.model import check_export, load_model
    from hpt_core.training.policy import make_policy, require_finite_logprobs

    config = spec.config
    _seed_everything(derive(spec.seed, "global"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # With several ranks the whole model may not fit one GPU, so each loads it on the CPU and moves only its shards.
    model = load_model(spec.model, device if world.size == 1 else "cpu", config.gradient_checkpointing)
    if config.lora is not None:
        model = add_adapters(model, config.lora)
    policy = make_policy(model, config.dtype, estimator.uses_values)
    if world.is_main:
        check_export(policy, spec.model, config.dtype)
    policy = shard(policy, world, config.dtype).to(device)
    require_finite_logprobs(policy, spec.model, prompt.encode(questions[0].question))
    collector = Collector(config, spec.seed, prompt, estimator, engine, pool, world)
    # Only the first rank hashes the files, because all ranks read the same ones.
    (identity,) = world.all_gather([_identity(spec) if world.is_main else ""])[0]
    return Trainer(spec, identity, questions, held_out, policy, collector, engine, progress("steps"))


def _identity(spec: TrainSpec) -> str:
    """SHA-256 of what the run computes. A run resumes only from a checkpoint with the same identity.

    Memory settings are left out, so that a run that ran out of memory can resume with other settings.
    """
    facts = spec.model_dump(mode="json", include={"prompt", "seed"})
    model = content_hashes(spec.model, require_complete(spec.model))
    return sha256_json({**facts, "config": spec.config.identity(), "data": sha256_file(spec.data), "model": model})


def _seed_everything(seed: int) -> None:
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _write_output(spec: TrainSpec, trainer: "Trainer", seconds: float) -> None:
    """Write the model, log and rollouts, and summary.json last."""
    from hpt_core.training.loop import rollouts_file
    from hpt_core.training.model import export_model

    first = trainer.world.is_main
    if first:
        spec.output.mkdir(parents=True, exist_ok=True)
        remove_leftovers(spec.output)
    best = trainer.best.path
    if best is None:
        export_model(trainer.policy, spec.model, spec.output / "model", spec.config.dtype, writes=first)
    if not first:
        return
    if best is not None:
        with replacing_folder(spec.output / "model") as beside:
            for file in best.iterdir():
                _link(file, beside / file.name)
    trainer.log.write(spec.output / "log.parquet")
    shutil.rmtree(spec.output / "rollouts", ignore_errors=True)
    (spec.output / "rollouts").mkdir()
    if trainer.estimator.uses_rollouts:
        for step in range(1, trainer.done + 1):
            if spec.config.keep_rollouts.keeps(step, trainer.done):
                _link(rollouts_file(spec.work, step), rollouts_file(spec.output, step))
    write_json(spec.output / "summary.json", _summary(trainer, seconds))


def _link(source: Path, target: Path) -> None:
    """Create a hard link, or a copy if the file system does not support links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _summary(trainer: "Trainer", seconds: float) -> dict[str, Any]:
    groups: dict[str, Any] = {name: {} for name in ("verdicts", "gate", "tokens", "rows", "updates", "seconds")}
    for key, value in sorted(trainer.counts.items()):
        group, name = key.split("/", 1)
        groups[group][name] = value
    return {
        **groups,
        "steps": trainer.done,
        "questions": len(trainer.questions),
        "held_out": len(trainer.held_out),
        "best": trainer.best.state() or None,
        "ranks": trainer.world.size,
        "engine": None if trainer.engine is None else trainer.engine.version,
        "max_logprob_disagreement": trainer.disagreement if trainer.estimator.uses_rollouts else None,
        "seconds_of_last_process": seconds,
        "packages": {name: importlib.metadata.version(name) for name in ("torch", "transformers")},
    }


if __name__ == "__main__":
    main(TrainSpec, run)
