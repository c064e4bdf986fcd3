"""The inputs of a study's report: the spec of `python -m benchmarks.study.build`."""

from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field

from benchmarks.suite import Group
from hpt_core.base import Frozen
from hpt_core.files import sha256_json


class Claim(Frozen):
    """A statement that a study tests: `[[study.claims]]`."""

    method: str
    """Name of a method: that of its stage, without the seed of a sweep."""
    than: str
    """The method that it is compared with."""
    metric: str = "in"
    """What is compared: a benchmark, or the mean over a group: "in" or "out" of the training data's distribution, or
    "other"."""
    direction: Literal["higher", "lower"] = "higher"
    """What the claim says of the method's score."""
    effect: float = Field(0.02, gt=0, le=1)
    """The smallest difference of interest, as a fraction of 1. An undecided claim is told what would decide it."""

    @property
    def text(self) -> str:
        """The claim in words."""
        return f"{self.method} is {self.direction} than {self.than}"

    @property
    def whole(self) -> str:
        """The claim with all that was declared of it."""
        return f"{self.text} ({self.metric}, {100 * self.effect:g} points)"


class Trial(Frozen):
    """One training of a search for a method's settings."""

    stage: str
    seed: int
    fingerprint: str
    """Hash of what trains it; see Member."""
    settings: dict[str, str]
    """Each field that the search varies -> its value."""
    chosen: bool
    """Whether the method is trained in the same way but for the seed."""
    log: Path | None
    """Its training log; None if it is missing."""


class HeldOut(Frozen):
    """What a training validates on."""

    data: Path
    """prepared.parquet."""
    needs_demonstrations: bool
    """Whether questions without a demonstration were left out before."""
    questions: int
    sampling: tuple[float, ...]
    """samples, temperature, top_p and max_tokens."""


class Log(Frozen):
    """The log of a training stage."""

    path: Path
    held_out: HeldOut | None
    """None without validation."""


class Member(Frozen):
    """One method with one seed."""

    method: str
    seed: int
    stage: str
    """Key of the stage that made its model."""
    fingerprint: str
    """Hash of what trains and measures it: configs, versions and the code of plug-ins."""
    verdicts: dict[str, Path] | None
    """Benchmark -> verdicts.parquet; None if its training or evaluation failed, or has not ended."""
    logs: tuple[Log, ...] = ()
    """Training logs of its stages after the base, in order."""
    begun: AwareDatetime | None = None
    """When the first of these trainings began; None without one."""


class Benchmark(Frozen):
    """A benchmark of the study."""

    name: str
    title: str
    group: Group
    k: int
    """Samples per question."""


class Declared(Frozen):
    """When claims were declared."""

    pipeline: str
    time: AwareDatetime
    claims: tuple[Claim, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the pipeline's name and the claims."""
        claims = [claim.model_dump(mode="json") for claim in self.claims]
        return sha256_json({"pipeline": self.pipeline, "claims": claims})


class StudyInputs(Frozen):
    """Everything that a study's report is built from."""

    title: str
    base: str
    """The method where budgets begin to count."""
    claims: tuple[Claim, ...]
    declared: tuple[Declared, ...]
    """All versions of the claims in this store. The last is the present one."""
    members: tuple[Member, ...]
    """Every method and seed of the config."""
    benchmarks: tuple[Benchmark, ...]
    elsewhere: tuple[Path, ...] = ()
    """Folders with tables/ of this study's report from other stores, which add seeds and declarations."""
    search: dict[str, tuple[Trial, ...]] = {}
    """Method -> the trials of its search."""
    output: Path
