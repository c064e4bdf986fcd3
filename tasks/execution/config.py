"""The pipeline's config: a name, a seed, a store, and a table for each kind of stage."""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    Field,
    GetJsonSchemaHandler,
    ValidatorFunctionWrapHandler,
    create_model,
    model_validator,
)
from pydantic_core import CoreSchema

from hpt_core.base import Frozen, PipelineName, SecretVariable, Table, marks
from hpt_core.errors import near
from hpt_core.paths import UserPath, expand
from hpt_core.prompts.base import PromptConfig
from hpt_core.redact import written
from hpt_core.trackers.base import TrackerConfig
from tasks.execution import variants
from tasks.execution.keys import MODEL, Output, Reference, StageKey
from tasks.execution.kind import LABEL, StageKind, field_name
from tasks.execution.resources import ResourcesConfig
from tasks.execution.schedule import ScheduleConfig
from tasks.notifiers.base import NotifierConfig


class PipelineConfig(Frozen):
    """A whole pipeline; the parameter of the pipeline flow. Each kind of stage adds a field with its name."""

    known_kinds: ClassVar[list[StageKind]] = []
    """All kinds of stages in the order of `StageKind.order`; `pipeline_type` fills it in."""

    name: PipelineName
    """Name of the pipeline, shown on the page and in Prefect."""
    seed: int = 0
    """All other seeds derive from this one."""
    store: Annotated[str, AfterValidator(expand)] = "runs"
    """Folder for the stages' artifacts, or a URL that fsspec knows, such as s3://bucket/prefix."""
    data_dir: UserPath | None = None
    """Folder with local copies of benchmarks and training data. None uses the environment variable HPT_DATA, or the Hub
    if it is not set."""
    prompt: PromptConfig = Field(default="chat", validate_default=True)
    """Prompt format, the same for data preparation, rollouts and evaluation."""
    trackers: tuple[TrackerConfig, ...] = Field(
        default_factory=lambda: ("tensorboard",) if find_spec("tensorboard") else (), validate_default=True
    )
    """Trackers that receive the training log while a stage runs; never part of a fingerprint. By default TensorBoard,
    if it is installed, in the stage's folder."""
    resources: ResourcesConfig = ResourcesConfig()
    """How a run uses the machine."""
    schedule: ScheduleConfig = ScheduleConfig()
    """When and where a permanent Prefect server runs the pipeline."""
    notify: tuple[NotifierConfig, ...] = ()
    """Who is told when a run finishes or fails, or a model gets worse. Nobody by default."""
    overrides: tuple[str, ...] = ()
    """What this run changes in the pipeline, as "train.hpt.steps=6". `--set` fills it in. The report shows it, and the
    run is published on a page of its own, without replacing the pipeline's published board."""
    replace_board: bool = False
    """Publish a run with overrides as the pipeline's board too, as `--publish` does."""

    secrets: dict[SecretVariable, str] = {}
    """Environment variables with secrets -> the Prefect Secret blocks that hold them. A block is read when a run begins
    and its variable is not set. No value is ever written anywhere."""

    @model_validator(mode="wrap")
    @classmethod
    def _with_tables(cls, data: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if cls is PipelineConfig and isinstance(data, dict):
            return pipeline_type(data).model_validate(data)
        found: Self = handler(variants.expand(data, cls.known_kinds) if isinstance(data, dict) else data)
        if field := next(written(data), None):
            raise ValueError(
                f"{field}: the value holds a secret; put it into an environment variable and write $NAME in its place"
            )
        return found

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
        names: dict[str, StageKey] = {}
        for key in self.models():
            # Pages show a model by its label.
            for name in (key.name, self.label_of(key)):
                if (other := names.setdefault(name, key)) != key:
                    raise ValueError(f"{name!r} names {other} and {key}; rename one")
            self._no_cycle(key, [])
        for kind in self.known_kinds:
            kind.check(self)
        return self

    def without_effect(self) -> Iterator[str]:
        """Settings that change nothing because of other tables, from every kind of stage."""
        for kind in self.known_kinds:
            yield from kind.without_effect(self)

    @property
    def is_trial(self) -> bool:
        """Whether the run must not replace the pipeline's published board."""
        return bool(self.overrides) and not self.replace_board

    def kind_of(self, key: StageKey) -> StageKind:
        """The kind of a stage."""
        return next(kind for kind in self.known_kinds if kind.name == key.kind)

    def config_of(self, key: StageKey) -> Any:
        """The config of a stage whose kind has one config per stage. Raises KeyError."""
        return getattr(self, field_name(key.kind))[key.name]

    def models(self) -> tuple[StageKey, ...]:
        """Every stage that produces a model, in the config's order."""
        return tuple(key for kind in self.known_kinds if MODEL in kind.produces for key in self._keys(kind))

    def label_of(self, model: StageKey) -> str:
        """What pages and tables call the model of a stage."""
        return getattr(self.config_of(model), LABEL, None) or model.name

    def inputs(self, key: StageKey, output: Output) -> tuple[StageKey, ...]:
        """The stages that a stage's config refers to for this output."""
        return tuple(r for _, r, taken in references(self.config_of(key), str(key)) if taken == output)

    def root(self, key: StageKey) -> StageKey:
        """The base model of a model, following the first input if a stage has several."""
        while origins := self.inputs(key, MODEL):
            key = origins[0]
        return key

    def lineage(self, key: StageKey, output: Output) -> tuple[StageKey, ...]:
        """The stages whose output of this name the model or any of its ancestors used, without duplicates."""
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
            raise ValueError(f"{key}: the stages {path} form a cycle; start one of them from another model")
        for origin in self.inputs(key, MODEL):
            self._no_cycle(origin, [*before, key])


def references(config: Any, where: str) -> Iterator[tuple[str, StageKey, Output]]:
    """(field, key, output) of every reference in a stage's config."""
    if not isinstance(config, Frozen):
        return
    for attribute, name, outputs in _referring(type(config)):
        value = getattr(config, attribute)
        for output in outputs:
            for key in [value] if isinstance(value, StageKey) else value or ():
                yield f"{where}.{name}", key, output
        if not outputs and isinstance(value, Frozen):
            yield from references(value, f"{where}.{name}")


@cache
def _referring(model: type[Frozen]) -> list[tuple[str, str, list[Output]]]:
    """Attribute, name in a config, and what it refers to, of every field."""
    return [
        (key, model.model_fields[key].alias or key, [mark.output for mark in found if isinstance(mark, Reference)])
        for key, found in marks(model).items()
    ]


def pipeline_type(table: Table) -> type[PipelineConfig]:
    """The type of a pipeline with this table, including the kinds of stages that it names by import path."""
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
    model = create_model("PipelineConfig", __base__=PipelineConfig, __module__=__name__, **fields)
    model.known_kinds = kinds
    return model


def _require(field: str, key: StageKey, output: Output, known: Mapping[StageKey, StageKind]) -> None:
    if key not in known or output not in known[key].produces:
        fitting = tuple(str(k) for k, kind in known.items() if output in kind.produces)
        problem = f"has no output {output.name!r}" if key in known else "does not exist"
        meant = next((name for name in fitting if name.partition(".")[2] == str(key)), str(key))
        raise ValueError(f"{field}: {str(key)!r} {problem}; {near(meant, fitting)}")
