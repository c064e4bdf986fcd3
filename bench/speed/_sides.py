"""The two sides of bench.speed.step: their specs, and how their processes start."""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from bench._peers.environments import variables
from bench._peers.stepper import Side
from hpt_core import schemas, worker
from hpt_core.files import write_json, write_parquet
from hpt_core.model_folder import load_tokenizer
from hpt_core.prompts.chat import ChatTemplate

QUESTIONS = (
    ("A baker makes 14 trays of rolls with 12 on each. She sells 95 rolls in the morning and half of what is left "
     "in the afternoon, and gives 7 to a neighbor. How many rolls does she have left, rounded down?", "29"),
    ("A train covers 180 km in 2.5 hours and then slows down by 12 km/h for the next 95 minutes. How many whole "
     "kilometres has it covered altogether?", "275"),
    ("Maya saves 15 dollars a week for 12 weeks, spends a third of it on a present and 18 dollars on books, and then "
     "doubles what is left by working in the holidays. How many dollars does she have?", "204"),
    ("A garden is 18 m long and 11 m wide. A path 1 m wide runs all around it on the outside. How many square metres "
     "does the path cover?", "62"),
    ("Three pumps fill a tank in 6 hours. After 2 hours one of them fails. How many hours does filling the tank take "
     "altogether?", "8"),
    ("A school has 23 classes of 27 pupils. On Monday 48 pupils are ill, and a quarter of the others are on an "
     "excursion. How many whole pupils are in school, rounded up?", "430"),
    ("A shop buys 40 lamps at 17 dollars each, sells 28 of them at 31 dollars and the rest at 12 dollars. How many "
     "dollars is its profit?", "332"),
    ("Tom reads 24 pages a day from Monday to Friday and 41 pages on each day of the weekend. After how many full "
     "weeks has he finished a book of 1,010 pages?", "5"),
)  # fmt: skip
"""(question, answer)."""


class Settings(NamedTuple):
    """Settings of both sides."""

    model: Path
    pairs: int
    threads: int
    tokens: int
    """New tokens of every response."""
    rollouts: int
    """Rollouts per question."""
    trl_micro_batch: int
    """Sequences in one forward pass of TRL."""
    micro_batch_tokens: int
    """Tokens in one forward pass of ours."""
    learning_rate: float
    gradient_checkpointing: bool
    same_environment: bool
    """Whether TRL's process also starts with our workers' environment variables."""

    def facts(self) -> dict[str, Any]:
        """The settings as JSON, with the model's name instead of its path."""
        return {**self._asdict(), "model": self.model.name, "questions": len(QUESTIONS)}


def starters(settings: Settings, folder: Path, trl: Path) -> dict[str, Callable[[], Side]]:
    """Side -> a function that starts its process. `trl` is the interpreter of TRL's environment."""
    threads = {"OMP_NUM_THREADS": str(settings.threads), "MKL_NUM_THREADS": str(settings.threads)}
    prompt = ChatTemplate().bind(load_tokenizer(settings.model))
    prompt_ids = [prompt.encode(question) for question, _ in QUESTIONS]
    prompts = {"prompts": [prompt.render(question) for question, _ in QUESTIONS], "prompt_ids": prompt_ids}
    _prepare(folder, prompt_ids)
    runs = itertools.count(1)

    def start(name: str, python: str, module: str, spec: dict[str, Any]) -> Side:
        run = folder / f"{name}-{next(runs)}"
        write_json(run / "spec.json", {**spec, "output": str(run / "output"), "work": str(run / "work")})
        own = worker.ENVIRONMENT if name == "ours" or settings.same_environment else {}
        environment = {**variables(), **own, **threads}
        return Side(name, [python, "-m", module, str(run / "spec.json")], run / "log", environment)

    def ours() -> Side:
        return start("ours", sys.executable, "bench.speed._step_ours", _our_spec(settings, folder))

    def theirs() -> Side:
        return start("trl", str(trl), "bench._peers.adapters.trl_step", {**_trl_spec(settings), **prompts})

    return {"ours": ours, "trl": theirs}


def _prepare(folder: Path, prompt_ids: list[list[int]]) -> None:
    rows = [
        {
            "question_id": f"q{i}",
            "question": question,
            "gold": gold,
            "kind": "math",
            "family": "",
            "prompt_tokens": len(prompt_ids[i]),
        }
        for i, (question, gold) in enumerate(QUESTIONS)
    ]
    write_parquet(folder / "prepared.parquet", pa.Table.from_pylist(rows, schema=schemas.PREPARED))


def _our_spec(settings: Settings, folder: Path) -> dict[str, Any]:
    """A TrainSpec. It has one step more than requested, because a checkpoint follows the last step."""
    # Half of every group's responses are correct, so every sequence has a gradient.
    answers = {question: (f"{gold}1", gold) for question, gold in QUESTIONS}
    engine = {"name": "bench.engines:Answering", "engine": "bench.engines:Endless", "answers": answers}
    config = {
        "algorithm": "grpo",
        "steps": settings.pairs + 2,
        "questions_per_step": len(QUESTIONS),
        "rollouts_per_question": settings.rollouts,
        "sampling": {"temperature": 1.0, "top_p": 1.0, "max_tokens": settings.tokens},
        "truncated": "grade",  # every response has this length, and TRL grades it
        "engine": engine,
        "optimizer": {"learning_rate": settings.learning_rate},
        "dtype": "float32",
        "micro_batch_tokens": settings.micro_batch_tokens,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "checkpoint_every": settings.pairs + 2,
    }
    return {
        "config": config,
        "prompt": {"name": "chat"},
        "model": str(settings.model.resolve()),
        "data": str(folder / "prepared.parquet"),
        "seed": 0,
        "threads": settings.threads,
    }


def _trl_spec(settings: Settings) -> dict[str, Any]:
    return {
        "model": str(settings.model.resolve()),
        "rollouts": settings.rollouts,
        "tokens": settings.tokens,
        "micro_batch": settings.trl_micro_batch,
        "learning_rate": settings.learning_rate,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "steps": settings.pairs + 2,
        "threads": settings.threads,
        "seed": 0,
    }
