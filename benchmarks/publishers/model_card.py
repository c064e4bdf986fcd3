"""Publish one model's scores to its Hugging Face repository: a section of its card, and evaluation results for the Hub.

The rest of the card stays as it is. The model's files are not uploaded; `hpt export` makes a folder of them.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
from pydantic import Field

from benchmarks.markdown import ScoreRow, escape, overlap_note, score_table, truncated_note
from benchmarks.publishers._hub import HubConfig, Repository
from benchmarks.publishers.base import Occasion, Receipt
from benchmarks.report.schemas import Row
from benchmarks.sources.dataset import Dataset
from benchmarks.suite import get_suite, suite_names
from hpt_core.errors import PublishError, near
from hpt_core.files import sha256_json

BEGIN, END = "<!-- hpt-pipelines: scores of", "<!-- hpt-pipelines: end -->"
"""Comments around the section. The first goes on with the time."""
SECTION = re.compile(rf"{re.escape(BEGIN)} (\S+) -->.*?{re.escape(END)}", re.DOTALL)
FRONT = "---\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n\n"
"""Front matter of a card that does not exist yet."""
CARD = "README.md"


class ModelCard(HubConfig):
    """`[[publish]] name = "model_card"`."""

    model: str = Field(min_length=1)
    """The evaluated model, as in evaluate.models: "train.hpt"."""

    def models(self) -> tuple[str, ...]:
        """The model."""
        return (self.model,)

    def publish(self, report: Path, occasion: Occasion | None = None) -> Receipt:
        """Write the model's scores in one commit; a run that is not to be the board is left out.

        Raises PublishError.
        """
        occasion = occasion or Occasion()
        rows = self._rows(report)
        name = f".eval_results/{occasion.pipeline or 'hpt-pipelines'}.yaml"
        results = _results(rows, occasion.when)

        def changes(before: Repository) -> tuple[str, dict[str, bytes]]:
            card = before.read(CARD)
            text = FRONT if card is None else card.decode(errors="replace")
            section = _section(rows, occasion)
            if found := SECTION.search(text):
                if datetime.fromisoformat(found[1]) > occasion.when or _same(found[0], section):
                    return "", {}  # newer scores, or these
                text = text[: found.start()] + section + text[found.end() :]
            else:
                text = f"{text.rstrip()}\n\n{section}\n"
            files = {CARD: text.encode()}
            if results or name in before.names:
                files[name] = results.encode() or b"[]\n"
            return f"Scores of {self.model}", files

        changed = self.commit("model", changes) if occasion.board else False
        return Receipt(
            target=self.target("model"),
            files=(CARD, name) if results else (CARD,),
            board=occasion.board,
            sha256=sha256_json([[row["title"], row["avg_at_k"]] for row in rows]),
            when=occasion.when,
            changed=changed,
        )

    def _rows(self, report: Path) -> list[Row]:
        """The model's rows of the scores table, in the leaderboard's order. Raises PublishError."""
        every = pq.read_table(report / "tables" / "scores.parquet").to_pylist()
        measured = [row for row in every if row["source"] == "measured"]
        found = sorted((row for row in measured if row["model"] == self.model), key=lambda row: row["column"])
        if not found:
            known = tuple(dict.fromkeys(row["model"] for row in measured))
            raise PublishError(f"the report has no scores of {self.model!r}", near(self.model, known))
        return found


def _section(rows: Sequence[Row], occasion: Occasion) -> str:
    lines = [f"{BEGIN} {occasion.when.isoformat()} -->", "## Evaluation", ""]
    lines += score_table(
        [
            ScoreRow(
                row["title"],
                row["avg_at_k"],
                (row["interval_low"], row["interval_high"]),
                None if row["kind"] == "average" else row["k"],
                row["questions"],
                _notes(row),
            )
            for row in rows
        ]
    )
    about = f" by the pipeline {occasion.pipeline}" if occasion.pipeline else ""
    protocols = ", ".join(sorted({row["protocol"] for row in rows if row["protocol"]}))
    return "\n".join([*lines, "", f"Measured{about} with hpt-pipelines. Protocol: {escape(protocols)}.", "", END])


def _notes(row: Row) -> list[str]:
    """What a reader must know about a score."""
    notes = [] if row["limit"] is None else [f"at most {row['limit']} questions were asked"]
    notes += [*row["deviations"], *row["warnings"]]
    cut = truncated_note(row["truncated_share"], is_average=row["kind"] == "average")
    return notes + cut + overlap_note(row["overlapping_questions"])


def _same(former: str, section: str) -> bool:
    """Whether two sections differ in their times only."""
    return former.partition("-->")[2] == section.partition("-->")[2]


def _results(rows: Sequence[Row], when: datetime) -> str:
    """The scores of whole benchmarks that the Hub has registered, in the format of .eval_results; "" without any.

    A value is a share of 1, as in the Hub's documentation of GPQA.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = []
    for row in rows:
        source = get_suite(row["benchmark"]).source if row["benchmark"] in suite_names() else None
        if isinstance(source, Dataset) and source.task and row["limit"] is None and row["avg_at_k"] is not None:
            entries.append(
                EvalResultEntry(
                    dataset_id=source.hub,
                    task_id=source.task,
                    value=round(row["avg_at_k"], 4),
                    dataset_revision=source.revision,
                    date=f"{when:%Y-%m-%d}",
                    notes=f"avg@{row['k']}, protocol {row['protocol']}",
                )
            )
    # JSON is YAML too.
    return json.dumps(eval_result_entries_to_yaml(entries), indent=1) + "\n" if entries else ""
