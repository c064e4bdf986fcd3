"""Data of the Questions page: the ids of each set of questions, and, where they may be shown, texts and responses."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.catalog.records import Records
from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables
from benchmarks.procedural import ProceduralQuestions
from benchmarks.site.facts import short_id
from benchmarks.site.typeset import pieces
from benchmarks.sources.dataset import Dataset
from benchmarks.suite import Suite, get_suite
from hpt_core.artifacts import Slot, Store
from hpt_core.errors import ConfigError, StoreError, explain
from hpt_core.verifiers.base import Outcome
from hpt_core.verifiers.grading import gold_fault

LOG = logging.getLogger("hpt.site")
BLOCK = 20
"""Questions in a file of responses."""
SAMPLES = 4
"""Samples of a question in such a file, the first ones."""
LONGEST = 6_000
"""Characters of a response in it. So a file stays under 2 MB."""


def shows_text(benchmark: str) -> bool:
    """Whether a benchmark's questions and the responses to them may be on a page. Not if it is not installed here."""
    try:
        return is_public(get_suite(benchmark))
    except ConfigError:
        return False


def is_public(suite: Suite) -> bool:
    """Whether a benchmark's texts may be public: it is not gated, and its source is generated or a dataset without
    terms to accept. Of any other source nothing is known."""
    source = suite.source
    if suite.gated:
        return False
    return isinstance(source, ProceduralQuestions) or (isinstance(source, Dataset) and not source.gated)


class QuestionSet(NamedTuple):
    """The questions that were asked of a benchmark."""

    benchmark: str
    title: str
    hash: str
    scores: list[Row]
    """The rows of SCORES with them, with the `place` of each in the table."""

    @property
    def counted(self) -> list[Row]:
        """The latest scores that say how easy a question is: the first 1, 2, 4, 8 and so on, at least half of them. So
        the file of a set rarely changes when a model is added."""
        latest = [row for row in self.scores if row["latest"]] or self.scores
        return latest[: 1 << (len(latest).bit_length() - 1)]


def question_sets(tables: Tables) -> dict[str, QuestionSet]:
    """All sets of questions, by id."""
    hashes = dict(zip(*(tables.protocols.column(name).to_pylist() for name in ("protocol", "benchmark_hash")),
                      strict=True))  # fmt: skip
    found: dict[str, QuestionSet] = {}
    columns = ["benchmark", "title", "model", "record", "protocol", "k", "questions", "latest"]
    for place, row in enumerate(tables.scores.select(columns).to_pylist()):
        hash_ = hashes[row["protocol"]]
        own = found.setdefault(short_id(hash_), QuestionSet(row["benchmark"], row["title"], hash_, []))
        own.scores.append({**row, "place": place})
    return found


def question_ids(records: Records, found: QuestionSet) -> list[str]:
    """The ids, in the order of `correct` in the models' files. Raises StoreError if the shard cannot be read."""
    score = found.scores[0]
    ids: list[str] = (
        records.questions(score["benchmark"], score["model"], score["record"]).column("question_id").to_pylist()
    )
    return ids


def set_data(records: Records, tables: Tables, found: QuestionSet) -> Row:
    """The JSON of data/questions/SET.json, with the mean share of correct samples of each question, over the counted
    scores: how easy it is. Raises StoreError."""
    latest = found.counted
    chosen = tables.scores.column("correct").take(pa.array([row["place"] for row in latest]))
    correct = np.asarray(pc.list_flatten(chosen)).reshape(len(latest), -1)  # [models, questions]
    shares = np.mean(correct / np.array([[row["k"]] for row in latest]), axis=0)
    return {
        "benchmark": found.benchmark,
        "title": found.title,
        "shows_text": shows_text(found.benchmark),
        "ids": question_ids(records, found),
        "shares": [round(float(share), 3) for share in shares],
    }


class Responses:
    """Reads what models answered from the artifacts of a store."""

    def __init__(self, store: Store, records: Records, tables: Tables) -> None:
        self._store = store
        self._records = records
        self._places: dict[str, tuple[str, str]] = {}
        """Hash of an output -> kind and fingerprint of its artifact."""
        self._inputs: dict[str, Mapping[str, str]] = {}
        columns = ["record", "kind", "fingerprint", "inputs", "outputs"]
        for row in tables.stages.select(columns).to_pylist():
            for output in row["outputs"] or ():
                self._places[output["hash"]] = row["kind"], row["fingerprint"]
            self._inputs[row["record"]] = {each["role"]: each["hash"] for each in row["inputs"] or ()}
        names = ("record", "benchmark", "model", "questions")
        columns_ = zip(*(tables.scores.column(name).to_pylist() for name in names), strict=True)
        self._scores = {record: (benchmark, model, count) for record, benchmark, model, count in columns_}

    def blocks(self) -> Iterator[tuple[str, str, int]]:
        """(record, benchmark, block) of every block of questions whose texts may be shown and which the store has."""
        for record, (benchmark, _, count) in self._scores.items():
            if shows_text(benchmark) and self._slots(record):
                yield from ((record, benchmark, number) for number in range((count + BLOCK - 1) // BLOCK))

    def benchmark(self, record: str) -> str:
        """The benchmark of a score; "" if there is no such score."""
        found: str = self._scores.get(record, ("", "", 0))[0]
        return found

    def answered(self, record: str, number: int) -> list[Row] | None:
        """The questions of a block, in their order, with the first samples of each.

        None if the texts may not be shown, or the store no longer has them. Raises StoreError.
        """
        benchmark, model, count = self._scores.get(record, ("", "", 0))
        if not benchmark or not shows_text(benchmark) or not 0 <= number * BLOCK < count:
            return None
        shard = self._records.questions(benchmark, model, record).slice(number * BLOCK, BLOCK)
        found = []
        for slot, name in zip(self._slots(record), ("samples", "asked.parquet", "verdicts.parquet"), strict=False):
            slot.fetch(name)
            found.append(slot.output / name)
        if not found or not all(path.exists() for path in found):
            return None
        return _joined(shard.select(["question_id", "correct", "k"]).to_pylist(), *found)

    def _slots(self, record: str) -> tuple[Slot, ...]:
        """The artifacts with samples, questions and verdicts of a score; nothing if the store lacks one."""
        inputs = self._inputs.get(record, {})
        places = [self._places.get(inputs.get(role, "")) for role in ("samples", "questions")]
        places.append(("verdicts", record.partition("-")[0]))
        slots = tuple(self._store.slot(*place) for place in places if place)
        return slots if len(slots) == len(places) and all(slot.manifest_file.is_file() for slot in slots) else ()


def response_path(record: str, number: int) -> str:
    """The file with the responses to the questions of one block."""
    return f"data/responses/{record}/{number}.json"


def _joined(scored: list[Row], samples: Path, asked: Path, verdicts: Path) -> list[Row]:
    chosen = [("question_id", "in", [row["question_id"] for row in scored])]
    first = [*chosen, ("sample_index", "<", SAMPLES)]
    try:
        questions = {row["question_id"]: row for row in pq.read_table(asked, filters=chosen).to_pylist()}
        graded = pq.read_table(verdicts, filters=first).to_pylist()
        rows = pq.read_table(samples, filters=first).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"cannot read {samples.parent}: {str(error).splitlines()[0]}", "evaluate again") from error
    outcomes = {(row["question_id"], row["sample_index"]): row for row in graded}
    answers: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["sample_index"]):
        verdict = outcomes.get((row["question_id"], row["sample_index"])) or {}
        answers.setdefault(row["question_id"], []).append(
            {
                **{name: row[name] for name in ("response", "tokens", "finish_reason")},
                **{name: verdict.get(name) for name in ("outcome", "extracted")},
            }
        )
    if missing := [row["question_id"] for row in scored if row["question_id"] not in questions]:
        raise StoreError(f"{asked} lacks question {missing[0]}, which was graded", "evaluate again")
    return [
        {
            "id": row["question_id"],
            "question": questions[row["question_id"]]["question"],
            "gold": questions[row["question_id"]]["gold"],
            "fault": _fault(questions[row["question_id"]], answers.get(row["question_id"], [])),
            "correct": row["correct"],
            "k": row["k"],
            "samples": answers.get(row["question_id"], []),
        }
        for row in scored
    ]


def _fault(question: Row, samples: list[Row]) -> str:
    """Why the gold answer cannot be read; "" if none of the samples has this outcome, or the verifier does not work
    here."""
    if all(sample["outcome"] != Outcome.GOLD_ERROR for sample in samples):
        return ""
    try:
        return gold_fault(question["kind"], question["gold"], question["question"])
    except Exception as error:  # also a fault in somebody else's verifier
        LOG.warning("the site does not say why a gold answer cannot be read: %s", explain(error))
        return ""


def shown(answered: list[Row]) -> Row:
    """The JSON of data/responses/RECORD/NUMBER.json: question id -> text, gold answer and samples, cut for a page."""
    return {each["id"]: _shown(each) for each in answered}


def _shown(asked: Row) -> Row:
    """A question as the page shows it: texts in pieces, and cut."""
    samples = [
        {
            **sample,
            "response": pieces(sample["response"][:LONGEST]),
            "left_out": max(0, len(sample["response"]) - LONGEST),
            "extracted": sample["extracted"] and sample["extracted"][:LONGEST],
        }
        for sample in asked["samples"]
    ]
    told = {name: asked[name] for name in ("gold", "fault")}
    return {"question": pieces(asked["question"][:LONGEST]), **told, "samples": samples}
