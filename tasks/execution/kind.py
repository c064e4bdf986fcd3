"""Base classes of kinds of stages. Each file in tasks/ defines one kind."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field

from hpt_core.base import NAME_LENGTH, NOT_IDENTITY, Frozen, Name
from hpt_core.paths import expands_paths
from hpt_core.plugins import Plugin
from tasks.execution.artifact import Artifact, Stage
from tasks.execution.keys import Output, StageKey

if TYPE_CHECKING:
    from benchmarks.catalog.records import Contribution
    from tasks.execution.catalog import Stored
    from tasks.execution.config import PipelineConfig


LABEL = "label"


def _check_label(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError(f"{value!r} has spaces at its ends, or a character that cannot be shown; write plain text")
    return value


Label = Annotated[str, Field(min_length=1, max_length=80 + NAME_LENGTH), AfterValidator(_check_label)]
"""A name for people, of up to 80 characters and the ending of a sweep."""


class Summary(NamedTuple):
    """What to print about a finished stage."""

    line: str
    """One line for the terminal: "page: PATH"."""
    facts: Mapping[str, Any]
    """Fields for `--json`; lists from several stages are concatenated."""
    report: Path | None = None
    """Folder of a report, to print its leaderboard."""


class Workload(NamedTuple):
    """Sampling and training with one model."""

    model: StageKey
    sampled: float
    """Responses that are generated."""
    trained: float = 0.0
    """Responses and demonstrations that are trained on."""
    prompts: float = 0.0
    """Prompts that are trained on; rollouts of one question share its prompt."""
    passes: float = 0.0
    """Computation of training on a token, in forward passes."""


class Variant(Frozen):
    """One entry of a sweep, `[[train.NAME.variants]]`: a name, and fields that override the stage's own."""

    model_config = ConfigDict(extra="allow")

    name: Name
    """The stage of the variant is named `NAME_<name>`."""


class StageConfig(Frozen):
    """Base of the configs of named stages."""

    _paths = expands_paths

    variants: Annotated[tuple[Variant, ...], NOT_IDENTITY] = Field(default=(), exclude=True)
    """Further stages like this one, each with a name and the fields that differ. A loaded config lists them as
    stages."""
    variants_only: Annotated[bool, NOT_IDENTITY] = Field(default=False, exclude=True)
    """Drop the stage itself and keep only its variants."""
    grid: Annotated[dict[str, Any], NOT_IDENTITY] = Field(default={}, exclude=True)
    """Replace the stage by one for each combination of these fields' values: { steps = [50, 100] }. Stages that build
    on it are multiplied too."""
    seeds: Annotated[tuple[int, ...], NOT_IDENTITY] = Field(default=(), exclude=True)
    """Replace the stage by one for each seed. Stages that build on it are multiplied too, with the same seed."""
    swept: Annotated[dict[str, str], NOT_IDENTITY] = Field(default={}, exclude_if=lambda value: not value)
    """Written by `grid` and `seeds`, for the catalog: each sweep that the stage is a member of, and its place there."""


class ModelStageConfig(StageConfig):
    """Base of the configs of named stages that produce a model."""

    label: Annotated[Label | None, NOT_IDENTITY] = Field(default=None, exclude_if=lambda value: value is None)
    """What reports and the site call the model, such as "HPT (ours)"; by default, the stage's name. The ending of a
    variant or of a sweep follows it: "HPT (ours)_seed_1". The next run shows a new label, also for earlier models of
    the stage, and makes none of them again."""


class StageKind(Plugin, ABC, kind="stages", package="tasks"):
    """A kind of stage. Its module holds one instance."""

    table: ClassVar[tuple[Any, Any] | None] = None
    """(type, default) of the pipeline config's field for this kind, as pydantic.create_model takes them. The keys of a
    dictionary name the stages. None for kinds whose stages follow from other tables."""
    config: ClassVar[type[Frozen] | None] = None
    """Type of the config of one stage, or of the whole kind."""
    order: ClassVar[int] = 50
    """Where dependencies leave the order open, kinds with lower numbers run first."""
    produces: ClassVar[tuple[Output, ...]] = ()
    """The outputs that a config may refer to."""
    is_goal: ClassVar[bool] = True
    """Whether a run includes its stages even if nothing depends on them."""
    is_cheap: ClassVar[bool] = False
    """Whether a run with `only_ready` may run its stages as dependencies."""
    command: ClassVar[tuple[str, str] | None] = None
    """(name, help) of the command that runs its stages and their dependencies; None for no command."""
    then: ClassVar[tuple[str, str] | None] = None
    """(kind, help) of what the command without names of stages does afterwards, if the config has stages of that
    kind."""
    replaces_board: ClassVar[bool] = False
    """Whether the command means the published board, whatever `--set` changed."""
    boards: ClassVar[tuple[str, ...]] = ()
    """Kinds of its artifacts that a pipeline's leaderboard consists of: `hpt gc` keeps the current ones."""
    forever: ClassVar[tuple[str, ...]] = ()
    """Kinds of its artifacts that are small, and of which `hpt gc` removes nothing."""
    shows_measured: ClassVar[bool] = False
    """Whether its stages show what has been measured. The deployment of the leaderboard runs the last such kind that
    the config has, with the measurements that are ready."""

    @property
    def name(self) -> str:
        """Name of the config's table, and first part of the stages' keys."""
        return self.reference

    @abstractmethod
    def stages(self, pipeline: "PipelineConfig") -> Iterable[Stage]:
        """The pipeline's stages of this kind."""

    def check(self, pipeline: "PipelineConfig") -> None:
        """Raise ValueError ("FIELD: CAUSE; REMEDY") if this kind's table is inconsistent with other tables."""

    def without_effect(self, pipeline: "PipelineConfig") -> Iterator[str]:
        """Settings that change nothing because of other tables: "FIELD CAUSE; REMEDY".

        `Frozen.without_effect` has those that a table shows by itself.
        """
        yield from ()

    def catalog(self, stored: "Stored") -> "Contribution":
        """What a finished artifact adds to the catalog (benchmarks/catalog/), beside its row of STAGES.

        A row of "stages" has columns to set in that row. Raises HPTError if the artifact's files cannot be read.
        """
        from benchmarks.catalog.records import Contribution

        return Contribution({})

    def show(self, artifact: Artifact) -> Summary | None:
        """What to print about an artifact after a run."""
        return None

    def workloads(self, stage: Stage, pipeline: "PipelineConfig") -> "Iterator[Workload]":
        """What a stage samples and trains, as far as its config says; nothing if it does neither."""
        yield from ()

    def key(self, name: str = "") -> StageKey:
        """Key of a stage."""
        return StageKey(self.name, name)

    def of(self, pipeline: "PipelineConfig") -> Any:
        """The pipeline's table of this kind; None for a kind without one."""
        return None if self.table is None else getattr(pipeline, field_name(self.name))


class NamedStages(StageKind):
    """A kind whose table has one config per stage: `[train.NAME]`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.config is not None and "table" not in vars(cls):
            cls.table = (dict[Name, cls.config], {})  # type: ignore[name-defined]

    @abstractmethod
    def stage(self, key: StageKey, config: Any, pipeline: "PipelineConfig") -> Stage:
        """The stage of one config."""

    def stages(self, pipeline: "PipelineConfig") -> Iterable[Stage]:
        """One stage per config, in the table's order."""
        return [self.stage(self.key(name), config, pipeline) for name, config in self.of(pipeline).items()]


def field_name(kind: str) -> str:
    """Python name of a kind's field. The field's alias is the kind's name."""
    return kind if kind.isidentifier() else "stages_" + "".join(c if c.isalnum() else "_" for c in kind)
