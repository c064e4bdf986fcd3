"""A kind of stage: the one place where everything about it stands. tasks/ holds one a file."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import ConfigDict, Field

from hpt_core.base import NOT_IDENTITY, Frozen
from hpt_core.plugins import Plugin
from tasks.execution.artifact import Artifact, Stage
from tasks.execution.keys import Output, StageKey

if TYPE_CHECKING:
    from tasks.execution.config import PipelineConfig


class Summary(NamedTuple):
    """What a finished stage has to show."""

    line: str
    """One line for the terminal: "page: PATH"."""
    facts: Mapping[str, Any]
    """For `--json`; lists of several stages are joined."""
    report: Path | None = None
    """Folder of a report, whose leaderboard is shown."""


class Variant(Frozen):
    """One entry of a sweep: `[[train.NAME.variants]]`; any field of the stage, over the stage's own."""

    model_config = ConfigDict(extra="allow")

    name: str
    """Makes the stage `train.NAME_<name>`."""


class StageConfig(Frozen):
    """Base of the configs of stages that a table names."""

    variants: Annotated[tuple[Variant, ...], NOT_IDENTITY] = Field(default=(), exclude=True)
    """Further stages like this one, each with a name and the fields in which it differs. A config that was read has
    them as stages."""
    variants_only: Annotated[bool, NOT_IDENTITY] = Field(default=False, exclude=True)
    """Leave out the stage itself and keep its variants."""


class StageKind(Plugin, ABC, kind="stages", package="tasks"):
    """A kind of stage. Its module holds one instance."""

    table: ClassVar[tuple[Any, Any] | None] = None
    """(type, default) of the config's field of the kind's name, as pydantic.create_model takes it; None for stages that
    follow from other tables. A dictionary's keys name the stages."""
    config: ClassVar[type[Frozen] | None] = None
    """Of one stage, or of all."""
    order: ClassVar[int] = 50
    """Where a run takes up its stages where dependencies leave it open: in the order of these numbers."""
    produces: ClassVar[tuple[Output, ...]] = ()
    """What a config may refer to."""
    is_goal: ClassVar[bool] = True
    """Whether a run makes its stages though nothing depends on them."""
    is_cheap: ClassVar[bool] = False
    """Whether its stages are made where they are missing, also by a run that takes only what is ready."""
    command: ClassVar[tuple[str, str] | None] = None
    """(name, help) of the command that runs its stages with what they depend on; None for no command."""

    @property
    def name(self) -> str:
        """Name of the config's table, and first part of the stages' keys."""
        return self.reference

    @abstractmethod
    def stages(self, pipeline: "PipelineConfig") -> Iterable[Stage]:
        """The pipeline's stages of this kind."""

    def check(self, pipeline: "PipelineConfig") -> None:
        """Raise ValueError ("FIELD: CAUSE; REMEDY") where the tables do not fit each other."""

    def show(self, artifact: Artifact) -> Summary | None:
        """What an artifact of one of its stages has to show once a run is over."""
        return None

    def key(self, name: str = "") -> StageKey:
        """Key of a stage."""
        return StageKey(self.name, name)

    def of(self, pipeline: "PipelineConfig") -> Any:
        """The pipeline's table of this kind; None for a kind without one."""
        return None if self.table is None else getattr(pipeline, field_name(self.name))


class NamedStages(StageKind):
    """A kind whose table holds a config for each stage: `[train.NAME]`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.config is not None and "table" not in vars(cls):
            cls.table = (dict[str, cls.config], {})  # type: ignore[name-defined]

    @abstractmethod
    def stage(self, key: StageKey, config: Any, pipeline: "PipelineConfig") -> Stage:
        """The stage of one config."""

    def stages(self, pipeline: "PipelineConfig") -> Iterable[Stage]:
        """One a config, in the table's order."""
        return [self.stage(self.key(name), config, pipeline) for name, config in self.of(pipeline).items()]


def field_name(kind: str) -> str:
    """The Python name of a kind's field, whose alias is the kind's own name."""
    return kind if kind.isidentifier() else "stages_" + "".join(c if c.isalnum() else "_" for c in kind)
