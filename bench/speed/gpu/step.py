"""Measure one step of one recipe, after a warm-up step: `python -m bench.speed.gpu.step SPEC`.

It runs the training worker (hpt_core.train), with the transformers engine if the recipe has rollouts, and stops it
after the second step, before it writes a checkpoint or a model. The real verifier grades the responses. bench.engines
appends answers to them, so half of the questions train on their rollouts and half on their demonstrations.
"""

import contextlib
import math
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from bench import child
from bench.speed import sums
from bench.speed.gpu.cards import peak, utilization
from bench.speed.gpu.shapes import RECIPES, SHAPES, Recipe, write_model
from hpt_core import train
from hpt_core.model_folder import load_tokenizer, size
from hpt_core.training.config import TrainSpec
from hpt_core.worker import ENVIRONMENT

STEPS = 2
FACTS = ("rollout_rows", "demonstration_rows", "reward", "surrogate", "gradient_norm", "mismatch_kl")
PHASES = ("rollout", "verify", "update", "sync")


class Enough(Exception):
    """Stops the run after the last measured step."""


class Measured(TrainSpec):
    """A run that stops after its second step."""

    rows: ClassVar[list[dict[str, Any]]] = []

    def after_step(self, row: Mapping[str, Any]) -> None:
        """Keep the row of the training log."""
        self.rows.append(dict(row))
        if len(self.rows) == STEPS:
            raise Enough


def measure(name: str) -> dict[str, Any]:
    """Seconds, peak memory, tokens per second and model FLOPs utilization of the step.

    Peak memory covers trainer and engine together: GPU memory if there is a GPU, else resident memory.
    """
    import torch

    if name not in RECIPES:
        sys.exit(f"there is no recipe {name}; choose from {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    if card is None and not recipe.shape.startswith("tiny"):
        sys.exit(f"PyTorch finds no GPU for {name}; on a CPU use the recipes tiny, tiny-lora and tiny-sft")
    with tempfile.TemporaryDirectory(prefix="gpu-step-") as temporary:
        folder = Path(temporary)
        begun = time.perf_counter()
        write_model(SHAPES[recipe.shape], folder / "model", "cuda" if card else "cpu")
        written = time.perf_counter()
        tokenizer = load_tokenizer(folder / "model")
        data = folder / "prepared.parquet"
        questions = sums.write(data, tokenizer, recipe.questions, recipe.demonstration)
        if card:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        with contextlib.suppress(Enough):
            train.run(Measured.model_validate(spec(recipe, folder, questions, tokenizer.bos_token)))
        done = time.perf_counter()
        parameters = size(folder / "model").parameters
    prompts = sum(len(tokenizer(sums.prompt(one)).input_ids) for one in questions)
    row = Measured.rows[-1]
    rows = row["rollout_rows"] + row["demonstration_rows"]
    # A question's prompt passes through the model once. The last token of a row predicts nothing and does not count.
    tokens = prompts + sum(signal["tokens"] for signal in row["signals"]) - rows
    generated = row["generated_tokens"]
    return {
        "parameters": parameters,
        "card": card,
        "peak_flops": peak(card),
        "utilization": utilization(parameters, tokens, row["seconds_update"], card),
        "tokens_updated": tokens,
        "tokens_generated": generated,
        "tokens_per_second": row["tokens_per_second"],
        "tokens_per_second_update": tokens / row["seconds_update"],
        "tokens_per_second_rollout": generated / row["seconds_rollout"] if generated else None,
        "peak_memory_gib": row["peak_memory_gib"],
        "seconds": {phase: row[f"seconds_{phase}"] for phase in PHASES},
        "seconds_before": {"writing the model": written - begun, "loading and both steps": done - written},
        "first_step_seconds": {phase: Measured.rows[0][f"seconds_{phase}"] for phase in PHASES},
        "recipe": recipe._asdict(),
        "weights": "float32 masters, bfloat16 arithmetic; the engine's are bfloat16",
        **{fact: row[fact] if math.isfinite(row[fact]) else None for fact in FACTS},
    }


def spec(recipe: Recipe, folder: Path, questions: list[sums.Sum], bos: str) -> dict[str, Any]:
    """A TrainSpec with one step more than the run does, because a checkpoint follows the last step."""
    answers = {
        bos + sums.prompt(one): ("x", str(one.total)) if place % 2 == 0 else ("x",)
        for place, one in enumerate(questions)
    }
    config = {
        "steps": STEPS + 1,
        "questions_per_step": recipe.questions,
        **({"algorithm": "hpt", "rollouts_per_question": recipe.rollouts} if recipe.rollouts else {"algorithm": "sft"}),
        "sampling": {"max_tokens": recipe.max_tokens},
        "truncated": "grade",  # every response has this length
        "engine": {"name": "bench.engines:Answering", "engine": "transformers", "answers": answers},
        "dtype": "bfloat16",
        "micro_batch_tokens": recipe.micro_batch_tokens,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "lora": recipe.lora,
        "checkpoint_every": STEPS + 1,
    }
    return {
        "config": config,
        "prompt": sums.PROMPT,
        "model": str(folder / "model"),
        "data": str(folder / "prepared.parquet"),
        "seed": 0,
        "work": str(folder / "work"),
        "output": str(folder / "output"),
    }


if __name__ == "__main__":
    # As in worker.main. torch reads these variables when it is imported later.
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    print(f"{sys.argv[1]} starts", file=sys.stderr)
    child.answer(measure)
