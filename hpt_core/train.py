"""The training worker: `python -m hpt_core.train SPEC.json` (config.TrainSpec)."""

import importlib.metadata
import logging
import os
import random
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_core.config import TrainSpec
from hpt_core.files import remove_leftovers, sha256_file, sha256_json, write_json
from hpt_core.models._files import weight_files
from hpt_core.seeds import derive
from hpt_core.training.preflight import check_questions, check_spec
from hpt_core.training.questions import Question, read_questions
from hpt_core.upge.estimator import Estimator
from hpt_core.verifiers.pool import VerifierPool
from hpt_core.worker import main, progress

if TYPE_CHECKING:
    from hpt_core.rollout.base import RolloutEngine
    from hpt_core.training.loop import Trainer

logger = logging.getLogger("hpt.training")


def run(spec: TrainSpec) -> None:
    """Train as `spec` says and fill `spec.output`; an interrupted run goes on from its newest checkpoint."""
    estimator = Estimator(spec.config.algorithm, max_length=spec.config.sampling.max_tokens)
    check_spec(spec)
    questions = read_questions(spec.data, need_demonstration=estimator.uses_demonstrations)
    longest = check_questions(spec, estimator, questions)
    start = time.time()
    with ExitStack() as stack:
        pool = stack.enter_context(VerifierPool(spec.verifier_workers)) if estimator.uses_rollouts else None
        trainer = _open(spec, estimator, questions, pool, longest, lambda e: stack.enter_context(closing(e)))
        trainer.run()
        _write_output(spec, trainer, questions, time.time() - start)


def _open(
    spec: TrainSpec,
    estimator: Estimator,
    questions: list[Question],
    pool: VerifierPool | None,
    longest: int,
    keep: "Callable[[RolloutEngine], Any]",
) -> "Trainer":
    """Load model and engine; `keep` sees to it that the engine is closed."""
    import torch

    from hpt_core.training.loop import Trainer
    from hpt_core.training.model import load_model, load_tokenizer

    torch.set_num_threads(spec.threads or len(os.sched_getaffinity(0)))
    report = progress("steps")
    report(0, spec.config.steps, "loading the model")
    prompt = spec.prompt.bind(load_tokenizer(spec.model))
    engine = None
    if estimator.uses_rollouts:
        seed = derive(spec.seed, "engine")
        engine = spec.config.engine.open(spec.model, longest, spec.config.dtype, seed, colocated=True)
        keep(engine)
    # After the engine, which seeds the global generators itself.
    _seed_everything(derive(spec.seed, "global"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(spec.model, device, spec.config.gradient_checkpointing)
    return Trainer(spec, _identity(spec), questions, prompt, model, estimator, engine, pool, report)


def _identity(spec: TrainSpec) -> str:
    """SHA-256 of what a run computes: a checkpoint is taken up only by a run of the same identity.

    How much memory the run may use is no part of it, so that a run that was short of it can go on with less.
    """
    facts = spec.model_dump(mode="json", include={"prompt", "seed"})
    weights = {f.name: sha256_file(f) for f in weight_files(spec.model)}
    return sha256_json({**facts, "config": spec.config.identity(), "data": sha256_file(spec.data), "weights": weights})


def _seed_everything(seed: int) -> None:
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _write_output(spec: TrainSpec, trainer: "Trainer", questions: list[Question], seconds: float) -> None:
    """Model, log and rollouts first; summary.json last."""
    from hpt_core.training.model import export_model

    spec.output.mkdir(parents=True, exist_ok=True)
    remove_leftovers(spec.output)
    export_model(trainer.model, spec.model, spec.output / "model", spec.config.dtype)
    trainer.log.write(spec.output / "log.parquet")
    rollouts = spec.output / "rollouts"
    rollouts.mkdir(exist_ok=True)
    if trainer.engine is not None:
        for step in range(1, spec.config.steps + 1):
            name = f"step-{step:05d}.parquet"
            _link(spec.work / "rollouts" / name, rollouts / name)
    write_json(spec.output / "summary.json", _summary(trainer, questions, seconds))


def _link(source: Path, target: Path) -> None:
    """A hard link where the file system has them, else a copy."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _summary(trainer: "Trainer", questions: list[Question], seconds: float) -> dict[str, Any]:
    groups: dict[str, Any] = {name: {} for name in ("verdicts", "gate", "tokens", "rows", "updates", "seconds")}
    for key, value in sorted(trainer.counts.items()):
        group, name = key.split("/", 1)
        groups[group][name] = value
    return {
        **groups,
        "steps": trainer.done,
        "questions": len(questions),
        "engine": None if trainer.engine is None else trainer.engine.version,
        "max_logprob_disagreement": None if trainer.engine is None else trainer.disagreement,
        "seconds_of_last_process": seconds,
        "packages": {name: importlib.metadata.version(name) for name in ("torch", "transformers")},
    }


if __name__ == "__main__":
    main(TrainSpec, run)
