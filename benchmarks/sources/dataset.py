"""Questions of a public dataset: from a local file if a data folder is set, else from the Hub."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from benchmarks.sources.rows import Row, gold, read_rows, text
from benchmarks.suite import Question, QuestionSource
from hpt_core import verifiers
from hpt_core.errors import DataError
from hpt_core.files import sha256_file
from hpt_core.paths import require_data_dir
from hpt_core.rows import text_of


class Asked(NamedTuple):
    """A row's question as the benchmark asks it."""

    question: str
    gold: str
    family: str = ""


Mapping = Callable[[Row], Asked]
"""Converts a row to Asked. Raises ValueError with the problem of a malformed row."""


def columns(question: str, answer: str) -> Mapping:
    """A mapping for datasets with one column for questions and one for answers."""
    return lambda row: Asked(text(row, question), gold(row, answer))


def questions_of(path: Path, mapping: Mapping, kind: str = "math") -> list[Question]:
    """The questions of a JSON, JSON lines, CSV or Parquet file, for the verifier `kind`.

    Ids are hashes of the question, so they do not depend on the order of the rows. A question that occurs several
    times counts as often; its copies are named "ID-2" and so on. Raises DataError that names file and row.
    """
    times: Counter[str] = Counter()
    questions = []
    for row in _asked(path, mapping, kind):
        digest = hashlib.sha256(row.question.encode()).hexdigest()[:16]
        times[digest] += 1
        question_id = digest if times[digest] == 1 else f"{digest}-{times[digest]}"
        questions.append(
            Question(question_id=question_id, question=row.question, gold=row.gold, kind=kind, family=row.family)
        )
    return questions


def _asked(path: Path, mapping: Mapping, kind: str) -> Iterator[Asked]:
    for where, row in read_rows(path):
        try:
            asked = Asked(*map(text_of, mapping(row)))
            verifiers.get(kind).check_gold(asked.gold, asked.question)
        except ValueError as error:
            raise DataError(f"{where} {error}", "correct the row or replace the file by a whole copy") from error
        yield asked


class Dataset(QuestionSource):
    """One file of a Hub dataset, and its local counterpart data_dir/benchmarks/NAME.json.

    The local file is a list of {prompt, answer[, source, id]}. In multiple choice, the prompt contains the options.
    """

    name: str
    """Name of the benchmark and of the local file."""
    kind: str = "math"
    """Name of the verifier. In multiple choice, the gold answer must be one of the options."""
    hub: str
    """Dataset repository on the Hub."""
    revision: str
    """Commit of the repository."""
    file: str
    """The file in the repository."""
    gated: bool = False
    """Whether the repository requires accepting its terms."""
    task: str = Field(default="", exclude=True)
    """The benchmark's task in the Hub's registry of evaluation results; "" if it is not registered there."""
    from_hub: Mapping = Field(exclude=True)
    """Mapping of the Hub file's rows."""
    from_local: Mapping = Field(default=columns("prompt", "answer"), exclude=True)
    """Mapping of the local file's rows."""

    @property
    def origin(self) -> str:
        """The Hub dataset, whose questions the local file holds too."""
        return self.hub

    def local_file(self, data_dir: Path) -> Path:
        """Path of the local file. Raises DataError if it is missing."""
        path = data_dir / "benchmarks" / f"{self.name}.json"
        if not path.is_file():
            require_data_dir(data_dir)
            raise DataError(
                f"{path} is missing",
                f"put the benchmark there as a list of {{prompt, answer}}, leave {self.name} out, or unset data_dir "
                f"and HPT_DATA to take {self.hub} from the Hub",
            )
        return path

    def needs(self, data_dir: Path | None) -> str:
        """The missing local file, or the Hub dataset; "" if nothing is missing."""
        if data_dir is None:
            terms = ", with its terms accepted and HF_TOKEN set" if self.gated else ""
            return f"network: {self.hub} from the Hub{terms}"
        path = data_dir / "benchmarks" / f"{self.name}.json"
        return "" if path.is_file() else f"a file {path}"

    def content(self, data_dir: Path | None) -> dict[str, Any]:
        """The local file's content hash, or the Hub repository, commit and file."""
        if data_dir is not None:
            return {"name": self.name, "sha256": sha256_file(self.local_file(data_dir))}
        return {"name": self.name, "hub": self.hub, "revision": self.revision, "file": self.file}

    def read(self, data_dir: Path | None) -> list[Question]:
        """All questions, in the file's order. Raises DataError that names file and row."""
        if data_dir is not None:
            return questions_of(self.local_file(data_dir), self.from_local, self.kind)
        return questions_of(self.download(), self.from_hub, self.kind)

    def download(self) -> Path:
        """Path of the Hub file in the local Hub cache. Raises DataError if it is not available."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

        what = f"{self.hub} at {self.revision[:8]}: {self.file}"
        try:
            return Path(hf_hub_download(self.hub, self.file, repo_type="dataset", revision=self.revision))
        except GatedRepoError as error:
            raise DataError(
                f"{what}: access is gated", f"accept the terms at huggingface.co/datasets/{self.hub} and set HF_TOKEN"
            ) from error
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            raise DataError(
                f"{what} cannot be downloaded ({type(error).__name__})",
                f"check the network, or set data_dir (HPT_DATA) to a folder with benchmarks/{self.name}.json",
            ) from error
