"""Selections of stages and of artifacts within stages, as a user names them."""

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from tasks.execution.keys import ArtifactKey, StageKey


@dataclass(frozen=True)
class Selection:
    """Some stages, each as a whole or only some of its artifacts."""

    items: frozenset[tuple[StageKey, tuple[str, ...]]] = frozenset()
    """Stages, each with patterns of an artifact's kind and part: ("verdicts", "aime24"), or () for all artifacts."""

    def __bool__(self) -> bool:
        return bool(self.items)

    def __contains__(self, key: ArtifactKey) -> bool:
        return any(_fits(patterns, key) for patterns in self._by_stage.get(key.stage, ()))

    @property
    def stages(self) -> frozenset[StageKey]:
        """The stages, whether selected as a whole or in part."""
        return frozenset(self._by_stage)

    @cached_property
    def _by_stage(self) -> dict[StageKey, list[tuple[str, ...]]]:
        found: dict[StageKey, list[tuple[str, ...]]] = {}
        for stage, patterns in self.items:
            found.setdefault(stage, []).append(patterns)
        return found

    def in_part(self, but: Collection[StageKey] = ()) -> "Selection":
        """The stages that are selected in part only, without those in `but`."""
        whole = {stage for stage, rest in self.items if not rest} | set(but)
        return Selection(frozenset(item for item in self.items if item[0] not in whole))


def _fits(patterns: tuple[str, ...], key: ArtifactKey) -> bool:
    """Whether each pattern matches the artifact's kind or part. A part such as "aime24@math_verify", the verdicts of
    another grader, belongs to "aime24"."""
    names = {key.kind, key.part, key.part.partition("@")[0]}
    return all(any(fnmatchcase(name, pattern) for name in names) for pattern in patterns)
