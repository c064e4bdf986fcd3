"""What a stage consists of: parts, each of which makes one or several outputs of a kind."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_core.artifacts import Cost, FileEntry, Kind, Slot, fingerprint

if TYPE_CHECKING:
    from tasks.context import Context


@dataclass(frozen=True)
class Made:
    """An output as later stages take it: where it lies and the hashes of what it holds. Small, and plain JSON."""

    key: str
    kind: Kind
    fingerprint: str
    folder: str
    outputs: Mapping[str, str]
    reused: bool = False
    provisional: bool = False
    """Not made yet: hashes stand for outputs to come, so that a plan can show what follows."""

    def hash(self, name: str) -> str:
        """Hash of the output called `name`."""
        return f"to come: {self.fingerprint} {name}" if self.provisional else self.outputs[name]

    @property
    def output(self) -> Path:
        """Folder of the output's files."""
        return Path(self.folder) / "output"

    @property
    def work(self) -> Path:
        """Folder of the work in progress, while it is made."""
        return Path(self.folder) / "work"

    def as_json(self) -> dict[str, Any]:
        """The small result of a Prefect task."""
        return {
            "key": self.key,
            "kind": self.kind,
            "fingerprint": self.fingerprint,
            "folder": self.folder,
            "outputs": dict(self.outputs),
            "reused": self.reused,
        }


Mades = Mapping[str, Made]
"""Outputs by key."""


@dataclass(frozen=True)
class Unit:
    """One output to be: all that its fingerprint is taken of."""

    key: str
    """"model.base", "train.hpt", "samples/train.hpt/aime24"."""
    kind: Kind
    config: Any
    """The resolved config, as JSON, without what does not change the output."""
    versions: Mapping[str, str]
    inputs: Mapping[str, str]
    """Role -> output hash."""
    provisional: bool = False
    """Some input is not made yet, so that the fingerprint may still change."""

    @property
    def fingerprint(self) -> str:
        """What the output is found by."""
        return fingerprint(self.kind, self.config, self.versions, self.inputs)


@dataclass(frozen=True)
class Making:
    """An output that is being made."""

    unit: Unit
    slot: Slot


class Part(ABC):
    """Makes the outputs of one kind for a stage."""

    keeps_output = False
    """Whether what an unfinished attempt left in output/ is of use to the next (rollouts, shards)."""
    mends = False
    """Whether the whole files of a damaged output can stay while the broken ones are made again (shards)."""

    @abstractmethod
    def units(self, made: Mades, context: "Context") -> list[Unit]:
        """What is to be there, given the inputs. Raises HPTError where a source is missing."""

    @abstractmethod
    def make(self, jobs: Sequence[Making], made: Mades, context: "Context") -> Cost:
        """Fill the slots' output folders. An attempt that was cut short is gone on with where work/ allows."""

    @abstractmethod
    def outputs(self, job: Making, files: tuple[FileEntry, ...]) -> dict[str, str]:
        """Name -> hash of what later stages take."""

    def facts(self, job: Making) -> dict[str, Any]:
        """Small results to show."""
        return {}

    def needs(self, context: "Context") -> str:
        """What making it needs that is not at hand, for `hpt plan`."""
        return ""

    def holds(self, made: Made) -> bool:
        """Whether what the output did outside of the store still stands."""
        return True


@dataclass(frozen=True)
class Stage:
    """A node of the graph."""

    key: str
    after: tuple[str, ...]
    """Keys of the stages whose outputs it takes."""
    parts: tuple[Part, ...] = field(default=())
