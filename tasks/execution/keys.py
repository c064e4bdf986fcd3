"""Names of stages, of what they make, and of what a config refers to."""

from types import NoneType
from typing import Any, NamedTuple, Self, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from hpt_core.base import NotIdentity


class Output(NamedTuple):
    """A part of an artifact that other stages take."""

    name: str
    path: str
    """The file or folder below the artifact's output; "" for all of it."""


MODEL = Output("model", "model")
"""A Hugging Face model folder."""
PREPARED = Output("prepared", "prepared.parquet")
"""Training questions (hpt_core.schemas.PREPARED)."""


class StageKey(NamedTuple):
    """What tells a stage from the others: "train.hpt", or "report" of which there is one."""

    kind: str
    """Name of the kind of stage; an import path such as "my_stages:Distill" for somebody's own."""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}.{self.name}" if self.name else self.kind

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key that is written so. An import path may hold dots before its colon."""
        module, colon, rest = text.rpartition(":")
        kind, _, name = rest.partition(".")
        return cls(f"{module}{colon}{kind}", name)


class ArtifactKey(NamedTuple):
    """What tells an artifact from the others of a run."""

    stage: StageKey
    kind: str = ""
    """Kind of artifact where a stage makes several: "samples"."""
    part: str = ""
    """Which of the kind, such as a benchmark's name."""

    def __str__(self) -> str:
        return "/".join(filter(None, [str(self.stage), self.kind, self.part]))


class Reference(NotIdentity):
    """Makes a field of a config refer to a stage: `Annotated[StageKey, Reference(MODEL)]`.

    The hash of what is referred to is part of what identifies an output; the name is not.
    """

    def __init__(self, output: Output) -> None:
        self.output = output
        """What the stage must make."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        reference = core_schema.no_info_plain_validator_function(
            _read, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )
        return core_schema.nullable_schema(reference) if NoneType in get_args(source) else reference

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        reference = {"type": "string", "examples": ["train.hpt"]}
        return {"anyOf": [reference, {"type": "null"}]} if schema["type"] == "nullable" else reference


def _read(value: Any) -> StageKey:
    if isinstance(value, StageKey):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} refers to no stage; write its kind and name, such as model.base")
    return StageKey.parse(value)
