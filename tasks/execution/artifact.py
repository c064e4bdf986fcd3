"""Stages as values: a stage's dependencies, its steps, and the artifacts that they produce."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from hpt_core.artifacts import Cost, FileEntry, Manifest, Slot, fingerprint, outputs_hash
from hpt_core.code import code_of_class
from hpt_core.evaluation.budget import Prices, Spent
from tasks.execution.keys import ArtifactKey, Output, StageKey

if TYPE_CHECKING:
    from tasks.execution.context import Context


@dataclass(frozen=True)
class Artifact:
    """An artifact as later stages see it: its folder in the store and the hashes of its outputs."""

    key: ArtifactKey
    kind: str
    """First folder in the store."""
    fingerprint: str
    folder: Path
    outputs: Mapping[str, str]
    """Name of an Output -> hash."""
    reused: bool = False
    provisional: bool = False
    """Does not exist yet. Its hashes are placeholders, so that later stages can be planned."""
    renewed: bool = False
    """The run was asked to produce this artifact and all that depend on it again."""
    slot: Slot | None = field(default=None, compare=False)
    """Its place in the store; None for one whose files are only here."""

    @classmethod
    def stored(cls, name: str, slot: Slot, manifest: Manifest) -> Self:
        """A finished artifact by its name, such as "train.hpt" or "evaluate.hpt/verdicts/aime24"."""
        stage, *rest = name.split("/")
        if len(rest) == 1 and rest[0] != manifest.kind:
            rest = ["", *rest]
        key = ArtifactKey(StageKey.parse(stage), *rest)
        return cls(key, manifest.kind, manifest.fingerprint, slot.folder, manifest.outputs, slot=slot)

    def hash(self, output: Output) -> str:
        """The hash of an output."""
        return f"to come: {self.fingerprint} {output.name}" if self.provisional else self.outputs[output.name]

    def path(self, output: Output) -> Path:
        """The output's file or folder. It is fetched from a store at a URL: see `file`."""
        return self.file(output.path)

    @property
    def output(self) -> Path:
        """Folder of the artifact's files. All are fetched from a store at a URL: see `file`."""
        return self.file("")

    def file(self, name: str) -> Path:
        """A file or folder of the output, fetched from a store at a URL if it is not here.

        Raises StoreError if the store does not answer, or holds another content than the manifest says.
        """
        if self.slot is not None:
            self.slot.fetch(name)
        return self.folder / "output" / name

    def where(self, name: str) -> str:
        """Where people find a file of the output: its path, or its URL if it was not fetched."""
        return str(self.folder / "output" / name) if self.slot is None else self.slot.where(name)

    @property
    def work(self) -> Path:
        """Folder of work in progress."""
        return self.folder / "work"

    def as_json(self) -> dict[str, Any]:
        """The result of a Prefect task."""
        return {
            "key": str(self.key),
            "kind": self.kind,
            "fingerprint": self.fingerprint,
            "folder": str(self.folder),
            "outputs": dict(self.outputs),
            "reused": self.reused,
        }


class Artifacts(dict[ArtifactKey, Artifact]):
    """Artifacts by key. A StageKey stands for the artifact of a stage that has only one."""

    def __getitem__(self, key: ArtifactKey | StageKey) -> Artifact:
        return super().__getitem__(ArtifactKey(key) if isinstance(key, StageKey) else key)

    def of(self, key: ArtifactKey | StageKey) -> Artifact | None:
        """The artifact, or None."""
        return self.get(ArtifactKey(key) if isinstance(key, StageKey) else key)


@dataclass(frozen=True)
class Target:
    """A wanted artifact: its key, and everything that enters its fingerprint."""

    key: ArtifactKey
    kind: str
    config: Any
    """The resolved config as JSON, without fields that do not affect the artifact."""
    versions: Mapping[str, str]
    """Component -> version, and module -> hash of a plug-in's code."""
    inputs: Mapping[str, str]
    """Role -> hash of an output."""
    provisional: bool = False
    """An input does not exist yet, so the fingerprint may still change."""
    version: str = "1"
    """Version of the kind of artifact."""
    renewed: bool = False
    """An input is renewed (see `Artifact.renewed`), so the artifact is produced again, too."""

    @property
    def fingerprint(self) -> str:
        """Identifies the artifact in the store."""
        return fingerprint(self.kind, self.version, self.config, self.versions, self.inputs)


@dataclass(frozen=True)
class Job:
    """A target that is being produced, and its slot in the store."""

    target: Target
    slot: Slot


class Step(ABC):
    """Produces a stage's artifacts of one kind."""

    kind: ClassVar[str]
    """Kind of the artifacts: first folder in the store."""
    version: ClassVar[str] = "1"
    """Raise it when the same config gives a different artifact."""
    produces: ClassVar[tuple[Output, ...]] = ()
    """The outputs of an artifact that later stages can take."""
    keeps_output: ClassVar[bool] = False
    """Whether the next attempt can use the output/ of an interrupted one (rollouts, shards)."""
    heavy: ClassVar[bool] = False
    """Whether it needs a GPU, or a machine without one, for itself."""
    mends: ClassVar[bool] = False
    """Whether a damaged artifact keeps its intact files, so that only broken ones are produced again (shards)."""

    def __init__(self, stage: StageKey) -> None:
        self.stage = stage

    @abstractmethod
    def targets(self, artifacts: Artifacts, context: "Context") -> list[Target]:
        """The wanted artifacts, given the inputs. Raises HPTError if a source is missing."""

    @abstractmethod
    def make(self, jobs: Sequence[Job], artifacts: Artifacts, context: "Context") -> Cost:
        """Fill the slots' output folders, continuing an interrupted attempt from work/ if possible."""

    def outputs(self, job: Job, files: tuple[FileEntry, ...]) -> dict[str, str]:
        """Name -> hash of each output."""
        return {output.name: outputs_hash(files, output.path) for output in self.produces}

    def facts(self, job: Job) -> dict[str, Any]:
        """Small facts for the manifest."""
        return {}

    def work(self, config: Any) -> float:
        """How much work an artifact with this identity is, in any unit; times of earlier ones are scaled by it."""
        return 1.0

    def needs(self, context: "Context") -> str:
        """What the step requires, such as a download; shown by `hpt plan`."""
        return ""

    def preflight(self, artifacts: Artifacts, context: "Context") -> int:
        """Check requirements and return the bytes of disk needed. Raises HPTError if a requirement is not met."""
        return 0

    def devices(self, context: "Context") -> int | None:
        """How many devices it uses: GPUs, or 1 for a machine without any. 0 if it needs none; None if unknown."""
        return 0

    def prices(self, context: "Context") -> Prices:
        """What its resources cost."""
        return context.resources.prices

    def spent(self, facts: Mapping[str, Any], device_seconds: float) -> Spent:
        """What an artifact with these facts has taken, for its cost in money."""
        return Spent(seconds=device_seconds)

    def money(self, facts: Mapping[str, Any], device_hours: float | None, context: "Context") -> float | None:
        """Cost of an artifact with these facts; None without prices, or if the hours have one and are unknown."""
        prices = self.prices(context)
        if not prices or (prices.hour and device_hours is None):
            return None
        return self.spent(facts, (device_hours or 0.0) * 3600).cost(prices)

    def holds(self, artifact: Artifact) -> bool:
        """Whether the artifact's effects outside the store, such as a publication, still exist."""
        return True

    def superseded(self, artifact: Artifact, context: "Context") -> str:
        """Why a finished artifact must be produced again, although nothing of it is lost; "" if it need not."""
        return ""

    def target(
        self,
        config: Any,
        inputs: Mapping[str, tuple[Artifact, Output]],
        versions: Mapping[str, str] | None = None,
        key: ArtifactKey | None = None,
    ) -> Target:
        """Build a target from a config and inputs by role."""
        return Target(
            key=key or ArtifactKey(self.stage),
            kind=self.kind,
            config=config,
            versions={**(versions or {}), **code_of_class(type(self))},
            inputs={role: artifact.hash(output) for role, (artifact, output) in inputs.items()},
            provisional=any(artifact.provisional for artifact, _ in inputs.values()),
            version=self.version,
            renewed=any(artifact.renewed for artifact, _ in inputs.values()),
        )


@dataclass(frozen=True)
class Stage:
    """A node of the graph."""

    key: StageKey
    after: tuple[StageKey, ...]
    """The stages it depends on."""
    steps: tuple[Step, ...] = ()
    optional: frozenset[StageKey] = frozenset()
    """Of `after`, those that it can do without if they fail: their artifacts are then missing."""
    one_of: frozenset[StageKey] = frozenset()
    """Of `after`, those of which one is enough."""

    def lacks(self, failed: Collection[StageKey], complete: bool = False) -> StageKey | None:
        """The failed stage that keeps it from running; None if it can run without those in `failed`.

        With `complete`, it needs every stage that it comes after.
        """
        spared = frozenset[StageKey]() if complete else self.optional
        if not complete and not self.one_of.issubset(failed):
            spared |= self.one_of
        return next((key for key in self.after if key in failed and key not in spared), None)
