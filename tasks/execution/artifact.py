"""Stages as values: what a stage takes, the steps it consists of, and the artifacts that these make."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hpt_core.artifacts import Cost, FileEntry, Slot, fingerprint, outputs_hash
from hpt_core.code import code_of_class
from tasks.execution.keys import ArtifactKey, Output, StageKey

if TYPE_CHECKING:
    from tasks.execution.context import Context


@dataclass(frozen=True)
class Artifact:
    """An output as later stages take it: where it lies and the hashes of what it holds. Small, and plain JSON."""

    key: ArtifactKey
    kind: str
    """First folder in the store."""
    fingerprint: str
    folder: Path
    outputs: Mapping[str, str]
    """Name of an Output -> hash."""
    reused: bool = False
    provisional: bool = False
    """Not made yet: hashes stand for outputs to come, so that a plan can show what follows."""

    def hash(self, output: Output) -> str:
        """Hash of one of its outputs."""
        return f"to come: {self.fingerprint} {output.name}" if self.provisional else self.outputs[output.name]

    def path(self, output: Output) -> Path:
        """The output's file or folder."""
        return self.output / output.path

    @property
    def output(self) -> Path:
        """Folder of the artifact's files."""
        return self.folder / "output"

    @property
    def work(self) -> Path:
        """Folder of the work in progress, while it is made."""
        return self.folder / "work"

    def as_json(self) -> dict[str, Any]:
        """The small result of a Prefect task."""
        return {
            "key": str(self.key),
            "kind": self.kind,
            "fingerprint": self.fingerprint,
            "folder": str(self.folder),
            "outputs": dict(self.outputs),
            "reused": self.reused,
        }


class Artifacts(dict[ArtifactKey, Artifact]):
    """Artifacts by key. A stage's key stands for the one artifact of a stage that makes no more."""

    def __getitem__(self, key: ArtifactKey | StageKey) -> Artifact:
        return super().__getitem__(ArtifactKey(key) if isinstance(key, StageKey) else key)

    def of(self, key: ArtifactKey | StageKey) -> Artifact | None:
        """The artifact, or None where it is not there."""
        return self.get(ArtifactKey(key) if isinstance(key, StageKey) else key)


@dataclass(frozen=True)
class Target:
    """An artifact to be: all that its fingerprint is taken of, and how its step knows it."""

    key: ArtifactKey
    kind: str
    config: Any
    """The resolved config, as JSON, without what does not change the artifact."""
    versions: Mapping[str, str]
    """Component -> version, and module -> hash of a plug-in's code."""
    inputs: Mapping[str, str]
    """Role -> hash of an output."""
    provisional: bool = False
    """Some input is not made yet, so that the fingerprint may still change."""
    version: str = "1"
    """Of the kind of artifact."""

    @property
    def fingerprint(self) -> str:
        """What the artifact is found by."""
        return fingerprint(self.kind, self.version, self.config, self.versions, self.inputs)


@dataclass(frozen=True)
class Job:
    """A target that is being made, and its place in the store."""

    target: Target
    slot: Slot


class Step(ABC):
    """Makes the artifacts of one kind for a stage."""

    kind: ClassVar[str]
    """Kind of the artifacts: first folder in the store."""
    version: ClassVar[str] = "1"
    """Raised when the same config would no longer give the same artifact."""
    produces: ClassVar[tuple[Output, ...]] = ()
    """What later stages take of an artifact."""
    keeps_output: ClassVar[bool] = False
    """Whether what an unfinished attempt left in output/ is of use to the next (rollouts, shards)."""
    mends: ClassVar[bool] = False
    """Whether the whole files of a damaged output can stay while the broken ones are made again (shards)."""

    def __init__(self, stage: StageKey) -> None:
        self.stage = stage

    @abstractmethod
    def targets(self, artifacts: Artifacts, context: "Context") -> list[Target]:
        """What is to be there, given the inputs. Raises HPTError where a source is missing."""

    @abstractmethod
    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: "Context") -> Cost:
        """Fill the slots' output folders. An attempt that was cut short is gone on with where work/ allows."""

    def outputs(self, job: Job, files: tuple[FileEntry, ...]) -> dict[str, str]:
        """Name -> hash of each Output."""
        return {output.name: outputs_hash(files, output.path) for output in self.produces}

    def facts(self, job: Job) -> dict[str, Any]:
        """Small results to show."""
        return {}

    def needs(self, context: "Context") -> str:
        """What making it needs that is not at hand, for `hpt plan`."""
        return ""

    def preflight(self, artifacts: Artifacts, context: "Context") -> int:
        """Bytes of disk that making it takes. Raises HPTError where something else that it needs is missing."""
        return 0

    def holds(self, artifact: Artifact) -> bool:
        """Whether what the artifact did outside of the store still stands."""
        return True

    def target(
        self,
        config: Any,
        inputs: Mapping[str, tuple[Artifact, Output]],
        versions: Mapping[str, str] | None = None,
        key: ArtifactKey | None = None,
    ) -> Target:
        """The target of a config and of inputs by role."""
        return Target(
            key=key or ArtifactKey(self.stage),
            kind=self.kind,
            config=config,
            versions={**(versions or {}), **code_of_class(type(self))},
            inputs={role: artifact.hash(output) for role, (artifact, output) in inputs.items()},
            provisional=any(artifact.provisional for artifact, _ in inputs.values()),
            version=self.version,
        )


@dataclass(frozen=True)
class Stage:
    """A node of the graph."""

    key: StageKey
    after: tuple[StageKey, ...]
    """The stages whose artifacts it takes."""
    steps: tuple[Step, ...] = field(default=())
