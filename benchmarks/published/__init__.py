"""Published results, measured by others: one TOML file per base model."""

import tomllib
from functools import cache
from importlib import resources

from pydantic import Field, model_validator

from benchmarks.suite import Group
from hpt_core.base import Frozen
from hpt_core.errors import ConfigError
from hpt_core.plugins import near


class PublishedRow(Frozen):
    """One model's published results, in percent."""

    label: str
    """The method's name in the source."""
    scores: tuple[float, ...]
    """In the order of the table's `benchmarks`."""
    averages: dict[Group, float]
    """As printed in the source, which averages unrounded scores."""


class PublishedProtocol(Frozen):
    """How the numbers of a table were measured."""

    name: str
    """Name in benchmarks/protocols, for prompt, sampler, number of samples and length."""
    grader: str
    """The graders, in words."""
    data: dict[str, str]
    """Benchmark -> the source of its questions."""
    source: str
    """Where this is said."""


class PublishedTable(Frozen):
    """One table of published results."""

    title: str
    """The base model."""
    source: str
    """Where the numbers are printed."""
    benchmarks: tuple[str, ...]
    """Names in benchmarks/suites."""
    groups: dict[Group, tuple[str, ...]]
    """Benchmarks of each average."""
    protocol: PublishedProtocol
    """How the numbers were measured."""
    rows: tuple[PublishedRow, ...] = Field(min_length=1)

    def group_of(self, benchmark: str, group: Group) -> Group:
        """The group of a benchmark beside these numbers: its own, or "other" if the printed average lacks it."""
        return group if benchmark in self.groups.get(group, (benchmark,)) else "other"

    @model_validator(mode="after")
    def _complete(self) -> "PublishedTable":
        for row in self.rows:
            if len(row.scores) != len(self.benchmarks):
                raise ValueError(f"{row.label}: {len(row.scores)} scores for {len(self.benchmarks)} benchmarks")
            if set(row.averages) != set(self.groups):
                raise ValueError(f"{row.label}: averages of {sorted(row.averages)}, groups {sorted(self.groups)}")
        if set(self.protocol.data) != set(self.benchmarks):
            raise ValueError(f"protocol.data has {sorted(self.protocol.data)}, benchmarks are {self.benchmarks}")
        return self


@cache
def published_names() -> tuple[str, ...]:
    """Names of the tables, such as "qwen2.5-math-7b"."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml")))


@cache
def get_published(name: str) -> PublishedTable:
    """The table called `name`. An unknown name raises ConfigError with near matches."""
    if name not in published_names():
        raise ConfigError(f"unknown published results {name!r}", near(name, published_names()))
    text = resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return PublishedTable.model_validate(tomllib.loads(text))
