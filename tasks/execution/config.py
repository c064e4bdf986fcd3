"""The pipeline's config: a name, a seed, a store, and a table for each kind of stage."""

import inspect
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, GetJsonSchemaHandler, ValidatorFunctionWrapHandler, create_model, model_validator
from pydantic_core import CoreSchema

from hpt_core.base import Frozen, Table, named_fields
from hpt_core.errors import near
from hpt_core.prompts.base import PromptConfig
from hpt_core.trackers.base import TrackerConfig
from tasks.execution import variants
from tasks.execution.keys import MODEL, Output, Reference, StageKey, item_marks
from tasks.execution.kind import StageKind, field_name


class ResourcesConfig(Frozen):
    """What the machine lends to the run; never part of a fingerprint."""

    parallel_stages: int = Field(1, ge=1)
    """Heavy stages that run at the same time."""
    workers: int = Field(2, ge=1)
    """Verifier processes of a stage."""
    threads: int | None = Field(None, ge=1)
    """Torch threads of a training process; None shares out every core that the stage may use."""
    processes: int | None = Field(None, ge=1)
    """Training processes on this machine; None is one for each GPU that is visible, and one where there is none."""
    launcher: str | None = Field(None, min_length=1)
    """Command that starts the training processes, in place of torchrun on this machine: `-m MODULE SPEC` is put behind
    it. Words are split as a shell does; $NAME is the environment's."""
    slices: int | None = Field(None, ge=1)
    """Parts that a model's questions are sampled in, side by side. None is one for each GPU that is visible, and one
    where there is none; on a Ray cluster one for each of its GPUs, or nodes."""
    ray: str | None = Field(None, min_length=1)
    """Address of a Ray cluster that samples the slices, such as "10.0.0.1:6379" or "auto"; this machine where None. Its
    nodes have this package, and see the store at the same path."""
    stage_timeout_s: float | None = Field(None, gt=0)
    """Seconds after which a stage's worker is ended and the stage fails."""


class PipelineConfig(Frozen):
    """A whole pipeline; the parameter of the pipeline flow. Every kind of stage adds the field of its name."""

    known_kinds: ClassVar[list[StageKind]] = []
    """The kinds of stages in the order in which a run takes them up; filled in for the type with all tables."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """Names the run in the page and in Prefect."""
    seed: int = 0
    """The seed every other seed is derived from."""
    store: str = "runs"
    """Folder of the stages' outputs."""
    data_dir: Path | None = None
    """Folder with local copies of benchmarks and training data; the environment's HPT_DATA where None, and Hub
    sources where that is unset too."""
    prompt: PromptConfig = Field(default="chat", validate_default=True)
    """How questions are put: the same for data preparation, rollouts and evaluation."""
    trackers: tuple[TrackerConfig, ...] = Field(
        default_factory=lambda: ("tensorboard",) if find_spec("tensorboard") else (), validate_default=True
    )
    """Where training logs are mirrored to while a stage runs; never part of a fingerprint. TensorBoard, in the stage's
    folder, where it is installed."""
    resources: ResourcesConfig = ResourcesConfig()
    """What the machine lends to the run."""

    @model_validator(mode="wrap")
    @classmethod
    def _with_tables(cls, data: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if cls is PipelineConfig and isinstance(data, dict):
            return pipeline_type(data).model_validate(data)
        return handler(variants.expand(data, cls.known_kinds) if isinstance(data, dict) else data)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(pipeline_type({}).__pydantic_core_schema__ if cls is PipelineConfig else schema)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        known = {key: kind for kind in self.known_kinds for key in self._keys(kind)}
        for key in known:
            for field, reference, output in references(self.config_of(key), str(key)):
                _require(field, reference, output, known)
        for kind in self.known_kinds:
            if not isinstance(kind.of(self), dict):
                for field, reference, output in references(kind.of(self), kind.name):
                    _require(field, reference, output, known)
        names = [key for key, kind in known.items() if MODEL in kind.produces]
        for key in names:
            if other := next((k for k in names if k.name == key.name and k != key), None):
                raise ValueError(f"{key.name!r} names {key} and {other}; rename one")
            self._no_cycle(key, [])
        for kind in self.known_kinds:
            kind.check(self)
        return self

    def kind_of(self, key: StageKey) -> StageKind:
        """The kind of a stage."""
        return next(kind for kind in self.known_kinds if kind.name == key.kind)

    def config_of(self, key: StageKey) -> Any:
        """The config of a stage that has one of its own. Raises KeyError."""
        return getattr(self, field_name(key.kind))[key.name]

    def models(self) -> tuple[StageKey, ...]:
        """Every stage that makes a model, in the config's order."""
        return tuple(key for kind in self.known_kinds if MODEL in kind.produces for key in self._keys(kind))

    def inputs(self, key: StageKey, output: Output) -> tuple[StageKey, ...]:
        """The stages whose output of this name a stage's config refers to."""
        return tuple(r for _, r, taken in references(self.config_of(key), str(key)) if taken == output)

    def root(self, key: StageKey) -> StageKey:
        """The model that a model was made of, through all stages; the first where it was made of several."""
        while origins := self.inputs(key, MODEL):
            key = origins[0]
        return key

    def lineage(self, key: StageKey, output: Output) -> tuple[StageKey, ...]:
        """The stages whose output of this name went into a model, itself or those that it was made of, each once."""
        if not self.inputs(key, MODEL):
            return ()
        found = [*self.inputs(key, output)]
        for origin in self.inputs(key, MODEL):
            found += self.lineage(origin, output)
        return tuple(dict.fromkeys(found))

    def _keys(self, kind: StageKind) -> list[StageKey]:
        table = kind.of(self)
        return [kind.key(name) for name in table] if isinstance(table, dict) else []

    def _no_cycle(self, key: StageKey, before: list[StageKey]) -> None:
        if key in before:
            path = " -> ".join(map(str, [*before[before.index(key) :], key]))
            raise ValueError(f"{key}: the stages {path} form a cycle; let one of them start from another model")
        for origin in self.inputs(key, MODEL):
            self._no_cycle(origin, [*before, key])


def references(config: Any, where: str) -> Iterator[tuple[str, StageKey, Output]]:
    """(field, key, output) of all that a stage's config refers to."""
    if not isinstance(config, Frozen):
        return
    for name, field in named_fields(type(config)).items():
        value = getattr(config, field_attribute(type(config), name))
        marks = [mark for mark in (*field.metadata, *item_marks(field.annotation)) if isinstance(mark, Reference)]
        for mark in marks:
            for key in [value] if isinstance(value, StageKey) else value or ():
                yield f"{where}.{name}", key, mark.output
        if not marks:
            yield from references(value, f"{where}.{name}")


def field_attribute(model: type[Frozen], name: str) -> str:
    """The attribute of a field that a config calls `name`."""
    return next(a for a, field in model.model_fields.items() if name in (a, field.alias))


def pipeline_type(table: Table) -> type[PipelineConfig]:
    """The type of a pipeline with this table: with the kinds of stages that it names by their import paths."""
    return _assemble(tuple(key for key in table if ":" in key))


@lru_cache(maxsize=16)
def _assemble(paths: tuple[str, ...]) -> type[PipelineConfig]:
    found: list[StageKind] = [StageKind.plugin_kind.load(name) for name in (*StageKind.plugin_kind.names, *paths)]
    kinds = sorted(found, key=lambda kind: kind.order)
    fields: dict[str, Any] = {}
    for kind in kinds:
        if kind.table is not None:
            annotation, default = kind.table
            described = Field(alias=kind.name, description=inspect.getdoc(type(kind)))
            fields[field_name(kind.name)] = (Annotated[annotation, described], default)
    made = create_model("PipelineConfig", __base__=PipelineConfig, __module__=__name__, **fields)
    made.known_kinds = kinds
    return made


def _require(field: str, key: StageKey, output: Output, known: Mapping[StageKey, StageKind]) -> None:
    fitting = tuple(str(k) for k, kind in known.items() if output in kind.produces)
    if str(key) not in fitting:
        problem = f"makes no {output.name}" if key in known else "does not exist"
        raise ValueError(f"{field}: {str(key)!r} {problem}; {near(str(key), fitting)}")
