"""The workload of every contestant: questions and prompts of the eight real benchmarks, and the specs of our sampling
and grading workers."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.suite import Question, get_suite, questions_table
from hpt_core.files import write_parquet, write_text
from hpt_core.model_folder import load_tokenizer
from hpt_core.prompts._bound import with_instruction
from hpt_core.prompts.base import BOXED_INSTRUCTION
from hpt_core.prompts.chat import ChatTemplate
from hpt_core.verifiers._extract import last_boxed
from hpt_core.verifiers.options import options as options_of

BENCHMARKS = ("aime24", "aime25", "amc23", "math500", "minerva", "olympiadbench", "arc_challenge", "gpqa_diamond")
"""The real benchmarks in the local data."""


class Decoding(NamedTuple):
    """How every contestant samples."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0


class Asked(NamedTuple):
    """A question of a benchmark with its prompt."""

    benchmark: str
    question: Question
    content: str
    """The user's turn of the chat: the question and its instruction."""
    prompt: str
    """The rendered chat."""
    prompt_ids: list[int]


def load(data: Path, limit: int) -> dict[str, list[Question]]:
    """At most `limit` questions of each benchmark, the same as `evaluate.limit` takes."""
    return {name: get_suite(name).load(data, limit) for name in BENCHMARKS}


def ask(questions: dict[str, list[Question]], model: Path) -> list[Asked]:
    """The questions with prompts in the model's chat format."""
    prompt = ChatTemplate().bind(load_tokenizer(model))
    asked = []
    for name, ones in questions.items():
        own = get_suite(name).instruction
        for one in ones:
            content = with_instruction(one.question, BOXED_INSTRUCTION, own)
            rendered, ids = prompt.render(one.question, own), prompt.encode(one.question, own)
            asked.append(Asked(name, one, content, rendered, ids))
    return asked


def write_questions(folder: Path, questions: dict[str, list[Question]]) -> None:
    """Write folder/NAME/questions.parquet for every benchmark."""
    for name, ones in questions.items():
        write_parquet(folder / name / "questions.parquet", questions_table(ones))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write JSON lines in ASCII, because some texts contain characters that readers take for line ends."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def sample_spec(
    questions: Path, output: Path, model: Path, engine: dict[str, Any], decoding: Decoding, dtype: str
) -> dict[str, Any]:
    """A SampleSpec for every benchmark in the folder `questions`: one response per question, written to `output`."""
    units = [
        {
            "benchmark": name,
            "questions": str(questions / name / "questions.parquet"),
            "prompt": {"name": "chat"},
            "seed": 0,
            "instruction": get_suite(name).instruction,
            "sampling": decoding._asdict(),
            "k": 1,
            "output": str(output / name),
            "work": str(output / "work" / name),
        }
        for name in BENCHMARKS
    ]
    return {"model": str(model.resolve()), "engine": engine, "dtype": dtype, "units": units}


def grade_spec(questions: Path, output: Path, workers: int) -> dict[str, Any]:
    """A GradeSpec for the samples of `sample_spec`."""
    units = [
        {
            "benchmark": name,
            "questions": str(questions / name / "questions.parquet"),
            "samples": str(output / name / "samples"),
            "k": 1,
            "output": str(output / name / "verdicts.parquet"),
        }
        for name in BENCHMARKS
    ]
    return {"workers": workers, "units": units}


def options(question: str) -> list[str]:
    """Texts of the options at the end of a multiple-choice question."""
    texts: list[str] = []
    below: list[str] = []
    labels = list(options_of(question))
    for line in reversed(question.rstrip("\n").split("\n")):
        if not labels:
            break
        below.insert(0, line)
        if line.startswith((f"{labels[-1]}) ", f"{labels[-1]}. ")):
            texts.insert(0, "\n".join(below)[3:])
            below, labels = [], labels[:-1]
    return texts


def bare(gold: str) -> str:
    """A gold answer without the box or the dollar signs that some data sets put around it."""
    inside = last_boxed(gold)
    text = gold.strip() if inside is None else inside
    whole = re.fullmatch(r"\$([^$]*)\$", text)
    return whole.group(1).strip() if whole else text
