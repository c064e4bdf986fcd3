"""One HPT step of one shape in this process, after one that is not counted: `python -m bench.speed.gpu.step SPEC`.

It is the training worker's own run (hpt_core.train) with the transformers engine, ended after its second step, so that
no checkpoint and no model is written. Verdicts are the real verifier's; bench.engines puts answers behind responses, so
that half of the questions train on their rollouts and half on their demonstrations.
"""

import contextlib
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
    """Every step that is wanted is done."""


class Measured(TrainSpec):
    """A run that ends after its second step."""

    rows: ClassVar[list[dict[str, Any]]] = []

    def after_step(self, row: Mapping[str, Any]) -> None:
        """Keep the row."""
        self.rows.append(dict(row))
        if len(self.rows) == STEPS:
            raise Enough


def measure(shape: str) -> dict[str, Any]:
    """What the step took: seconds, GiB, tokens a second, and the share of the card's peak.

    Memory is the most that trainer and engine held together: of the GPU where there is one, else resident.
    """
    import torch

    recipe = RECIPES[shape]
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    if card is None and not shape.startswith("tiny"):
        sys.exit(f"PyTorch finds no GPU for {shape}; on a CPU take the shapes tiny and tiny-lora")
    with tempfile.TemporaryDirectory(prefix="gpu-step-") as temporary:
        folder = Path(temporary)
        begun = time.perf_counter()
        write_model(SHAPES[shape], folder / "model", "cuda" if card else "cpu")
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
    # A question's prompt passes through the model once; the last token of a row predicts nothing and stays out.
    tokens = prompts + sum(signal["tokens"] for signal in row["signals"]) - rows
    generated = row["response_tokens"] * recipe.questions * recipe.rollouts
    return {
        "parameters": parameters,
        "card": card,
        "peak_flops": peak(card),
        "utilization": utilization(parameters, tokens, row["seconds_update"], card),
        "tokens_updated": tokens,
        "tokens_generated": generated,
        "tokens_per_second": row["tokens_per_second"],
        "tokens_per_second_update": tokens / row["seconds_update"],
        "tokens_per_second_rollout": generated / row["seconds_rollout"],
        "peak_memory_gib": row["peak_memory_gib"],
        "seconds": {phase: row[f"seconds_{phase}"] for phase in PHASES},
        "seconds_before": {"writing the model": written - begun, "loading and both steps": done - written},
        "first_step_seconds": {phase: Measured.rows[0][f"seconds_{phase}"] for phase in PHASES},
        "recipe": recipe._asdict(),
        "weights": "float32 masters, bfloat16 arithmetic; the engine's are bfloat16",
        **{name: row[name] for name in FACTS},
    }


def spec(recipe: Recipe, folder: Path, questions: list[sums.Sum], bos: str) -> dict[str, Any]:
    """A TrainSpec with a step more than is done: the last one would be followed by a checkpoint."""
    answers = {
        bos + sums.prompt(one): ("x", str(one.total)) if place % 2 == 0 else ("x",)
        for place, one in enumerate(questions)
    }
    config = {
        "algorithm": "hpt",
        "steps": STEPS + 1,
        "questions_per_step": recipe.questions,
        "rollouts_per_question": recipe.rollouts,
        "sampling": {"max_tokens": recipe.max_tokens},
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
    # As worker.main does: torch, which is loaded later, reads it.
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    print(f"{sys.argv[1]} begins", file=sys.stderr)
    child.answer(measure)
