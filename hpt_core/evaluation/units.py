"""One model on one benchmark: prompts, required samples and their files."""

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from hpt_core.errors import PreflightError
from hpt_core.evaluation.journal import Journal, new_session
from hpt_core.evaluation.shards import Shard, is_whole, plan, read_questions
from hpt_core.evaluation.spec import SampleSpec, SampleUnit
from hpt_core.prompts.base import opening
from hpt_core.rollout.base import Request, Sampling
from hpt_core.schemas import SAMPLES
from hpt_core.seeds import derive

logger = logging.getLogger("hpt.evaluation.sample")


class SampleId(NamedTuple):
    """Identifies a sample within a unit."""

    question_id: str
    sample_index: int
    seed: int


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """A unit with its prompts and shards."""

    unit: SampleUnit
    question_ids: tuple[str, ...]
    prompts: tuple[tuple[int, ...], ...]
    """Token ids of each question's prompt."""
    example: str
    """Text of the first prompt."""
    shards: tuple[Shard, ...]

    @property
    def samples(self) -> int:
        """Samples of the whole unit."""
        return len(self.question_ids) * self.unit.k

    @property
    def longest(self) -> int:
        """Length of the longest prompt, in tokens."""
        return max(map(len, self.prompts))

    @property
    def longest_sequence(self) -> int:
        """Maximum tokens of a prompt and its response."""
        return max(len(ids) + self.sampling(question).max_tokens for question, ids in enumerate(self.prompts))

    @property
    def opening(self) -> str:
        """The end of the prompts that opens the thinking, "" if they open none. Stored responses begin with it."""
        return opening(self.example)

    def sampling(self, question: int) -> Sampling:
        """How responses to a question are sampled: with a limit on the total, a long prompt leaves fewer tokens."""
        sampling, total = self.unit.sampling, self.unit.max_total_tokens
        if total is None or (room := total - len(self.prompts[question])) >= sampling.max_tokens:
            return sampling
        return sampling.model_copy(update={"max_tokens": room})

    @property
    def greedy(self) -> bool:
        """Whether temperature is 0. All samples of a question are then equal, so one is generated for all of them."""
        return self.unit.sampling.temperature == 0

    def path(self, shard: Shard) -> Path:
        """Path of the shard's file."""
        return self.unit.output / "samples" / shard.file_name

    @property
    def journal(self) -> Path:
        """Folder of the samples that are not in a shard yet."""
        return self.unit.work / "journal"

    def key(self, question: int, sample_index: int) -> SampleId:
        """The key of a sample of question number `question`."""
        question_id, unit = self.question_ids[question], self.unit
        if unit.seeds == "counted":
            return SampleId(question_id, sample_index, unit.seed + sample_index)
        return SampleId(
            question_id, sample_index, derive(unit.seed, "evaluation", unit.benchmark, question_id, sample_index)
        )

    def keys(self, shard: Shard) -> list[SampleId]:
        """Keys of the shard's rows, in order."""
        return [self.key(q, i) for q in range(shard.start, shard.stop) for i in range(self.unit.k)]

    def request(self, question: int, sample_index: int) -> Request:
        """The engine request for a sample."""
        return Request(self.prompts[question], self.key(question, sample_index).seed)

    def whole_shards(self) -> list[Shard]:
        """Shards that exist. Removes files that are damaged, half-written or belong to another plan."""
        for path in (self.unit.output / "samples").glob(".*.tmp"):
            path.unlink(missing_ok=True)
        whole = {self.path(shard) for shard in self.shards if is_whole(self.path(shard), self.keys(shard))}
        for path in sorted((self.unit.output / "samples").glob("part-*.parquet")):
            if path not in whole:
                logger.warning("%s is damaged or has other bounds; it will be written again", path)
                self._keep(path)
                path.unlink(missing_ok=True)
        return [shard for shard in self.shards if self.path(shard) in whole]

    def _keep(self, path: Path) -> None:
        """Move the usable samples of a readable shard with other bounds into a journal."""
        try:
            rows = pq.read_table(path, schema=SAMPLES).to_pylist()
        except (OSError, ValueError, pa.ArrowException):
            return
        number = {question_id: n for n, question_id in enumerate(self.question_ids)}
        with contextlib.closing(Journal(self.journal, new_session(), engine="")) as kept:
            for row in rows:
                question, index = number.get(row["question_id"]), row["sample_index"]
                if question is not None and index < self.unit.k and self.key(question, index).seed == row["seed"]:
                    kept.append(row, 0.0, 0)


def make_plan(spec: SampleSpec, unit: SampleUnit, tokenizer: Any) -> UnitPlan:
    """Read the unit's questions and encode their prompts. Raises DataError, ModelError if the prompt does not fit the
    tokenizer, and PreflightError without questions."""
    prompt = unit.prompt.bind(tokenizer)
    table = read_questions(unit.questions)
    if table.num_rows == 0:
        raise PreflightError(f"benchmark {unit.benchmark} has no questions", f"check {unit.questions}")
    questions = table.column("question").to_pylist()
    if unit.sampling.temperature == 0 and unit.k > 1:
        logger.warning("%s: at temperature 0 the %d samples of a question are equal", unit.benchmark, unit.k)
    return UnitPlan(
        unit=unit,
        question_ids=tuple(table.column("question_id").to_pylist()),
        prompts=tuple(tuple(prompt.encode(question, unit.instruction)) for question in questions),
        example=prompt.render(questions[0], unit.instruction),
        shards=tuple(plan(len(questions), unit.k, spec.shard_samples)),
    )


def check_context(context: int, plans: list[UnitPlan]) -> None:
    """Raise PreflightError if a prompt and its response may exceed a context of `context` tokens, or if a prompt takes
    up the benchmark's limit on both together."""
    for p in plans:
        name, wanted, total = p.unit.benchmark, p.unit.sampling.max_tokens, p.unit.max_total_tokens
        question_id = p.question_ids[[len(ids) for ids in p.prompts].index(p.longest)]
        longest = f"{name}: the longest prompt ({p.longest} tokens, question {question_id})"
        if total is not None and p.longest >= total:
            raise PreflightError(
                f"{longest} leaves no room for a response within max_total_tokens {total}",
                "raise evaluate.max_total_tokens, or leave the benchmark out",
            )
        if p.longest_sequence <= context:
            continue
        if total is not None and total <= p.longest + wanted:
            raise PreflightError(
                f"{longest} and its response may take max_total_tokens {total}; the model's context has {context}",
                f"raise the model's max_position_embeddings, or set evaluate.max_total_tokens to {context}",
            )
        room = context - p.longest
        remedy = f"set evaluate.max_tokens to {room} or less, or " if room > 0 else "leave the benchmark out, or "
        raise PreflightError(
            f"{longest} and max_tokens {wanted} make {p.longest + wanted} tokens; the model's context has {context}",
            f"{remedy}raise the model's max_position_embeddings",
        )
