"""Keys of stages and artifacts, names of outputs, and references in configs."""

from types import NoneType
from typing import Any, NamedTuple, Self, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from hpt_core.base import NotIdentity


class Output(NamedTuple):
    """A named part of an artifact that other stages can take."""

    name: str
    path: str
    """File or folder within the artifact's output folder; "" for the whole folder."""


MODEL = Output("model", "model")
"""A Hugging Face model folder."""
PREPARED = Output("prepared", "prepared.parquet")
"""Training questions (hpt_core.schemas.PREPARED)."""


class StageKey(NamedTuple):
    """Identifies a stage: "train.hpt", or "report" for a kind with a single stage."""

    kind: str
    """Name of the kind of stage; for an external kind, its import path, such as "my_stages:Distill"."""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}.{self.name}" if self.name else self.kind

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the string form of a key. An import path may contain dots before its colon."""
        module, colon, rest = text.rpartition(":")
        kind, _, name = rest.partition(".")
        return cls(f"{module}{colon}{kind}", name)


def method_of(name: str, seed: int | None) -> str:
    """A model's name without the seed of a sweep: what models that differ only in their seed share."""
    return name.removesuffix(f"_seed_{seed}")


class ArtifactKey(NamedTuple):
    """Identifies an artifact within a run."""

    stage: StageKey
    kind: str = ""
    """Kind of artifact, if the stage produces several kinds: "samples"."""
    part: str = ""
    """Distinguishes artifacts of the same kind, such as by benchmark."""

    def __str__(self) -> str:
        return "/".join(filter(None, [str(self.stage), self.kind, self.part]))


class Reference(NotIdentity):
    """Marks a config field as a reference to a stage: `Annotated[StageKey, Reference(MODEL)]`.

    The hash of the referenced output enters the fingerprint; the stage's name does not.
    """

    def __init__(self, output: Output) -> None:
        self.output = output
        """The output that the stage must produce."""

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
        raise ValueError(f"{value!r} does not refer to a stage; write its kind and name, such as model.base")
    return StageKey.parse(value)
