"""Expand `grid` and `seeds`: a stage becomes one stage for each combination, and so does every stage that builds on it.

The values of a field in a grid are a list, the files and folders that match a pattern ({ glob = "ckpts/step-*" }), or
the branches and tags of a model on the Hub ({ hub = "owner/model", glob = "step-*" }), as commits.

[train.hpt] with `grid.steps = [50, 100]` and `seeds = [1, 2]` becomes train.hpt_steps_50_seed_1 and three more. A stage
whose `from` is train.hpt becomes four stages too, with the same ending of their names. A list of models that names
train.hpt names all of them.
"""

import glob
import itertools
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hpt_core.base import Table, as_list, check_name, merge, named_fields
from hpt_core.errors import ModelError
from hpt_core.model_folder import require_complete
from hpt_core.paths import expand
from tasks.execution.keys import Reference
from tasks.execution.kind import LABEL, NamedStages, StageKind

GRID, SEEDS, SEED, SWEPT = "grid", "seeds", "seed", "swept"
FIELDS = frozenset({GRID, SEEDS})
"""Fields of a stage's table that describe a sweep, not the stage itself."""


SETTLED_S = 5.0
"""Seconds without a change of its files after which a folder is taken as complete."""


class NothingYet(ValueError):
    """Nothing matches a pattern."""


@dataclass(frozen=True)
class SweepStage:
    """One stage of a sweep."""

    key: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    """Sweep ("train.hpt.grid") -> what this member has of it, as in its name ("steps_50")."""
    fields: Table = field(default_factory=dict)
    """What the sweeps set in the stage's table."""
    seed: int | None = None
    """The seed that a sweep has set, for the stages that build on this one."""

    def with_choice(self, sweep: str, label: str, fields: Table, seed: int | None = None) -> "SweepStage":
        """The member with one more choice."""
        seed = self.seed if seed is None else seed
        return SweepStage(self.key, {**self.choices, sweep: label}, merge(self.fields, fields), seed)

    def with_input(self, name: str, other: "SweepStage") -> "SweepStage | None":
        """The member whose field `name` refers to `other`; None if both belong to one sweep and differ in it."""
        if any(self.choices.get(sweep, label) != label for sweep, label in other.choices.items()):
            return None
        choices = {**self.choices, **other.choices}
        seed = self.seed if other.seed is None else other.seed
        return SweepStage(self.key, choices, {**self.fields, name: other.key}, seed)


def ending(stage: Table, text: str) -> Table:
    """A stage's table whose label, if it has one, ends as the name of the variant or member."""
    return {**stage, LABEL: f"{stage[LABEL]}{text}"} if isinstance(stage.get(LABEL), str) else stage


class Sweeps:
    """Expands the tables of all kinds of stages. Raises ValueError: "FIELD: CAUSE; REMEDY"."""

    def __init__(self, tables: Table, kinds: Iterable[StageKind]) -> None:
        """`tables` is the pipeline's, without variants."""
        self._kinds = {kind.name: kind for kind in kinds if isinstance(kind, NamedStages)}
        self._tables = {
            f"{kind}.{name}": (kind, name, stage)
            for kind in self._kinds
            if isinstance(stages := tables.get(kind), dict)
            for name, stage in stages.items()
            if isinstance(stage, dict)
        }
        self._found: dict[str, list[SweepStage]] = {}

    def members(self, key: str) -> tuple[str, ...]:
        """The stages that a stage has become; the key itself if no sweep concerns it."""
        return tuple(member.key for member in self._expanded(key))

    def expand(self, kind: str, stages: Table) -> dict[str, Any]:
        """A kind's table with a stage for each member of a sweep, in the place of the stage that is swept."""
        found: dict[str, Any] = {}
        for name, stage in stages.items():
            key = f"{kind}.{name}"
            if key not in self._tables:
                found[name] = stage
                continue
            own = {field: value for field, value in stage.items() if field not in FIELDS}
            for member in self._expanded(key):
                member_name = member.key.removeprefix(f"{kind}.")
                if member_name in found or (member_name != name and member_name in stages):
                    raise ValueError(f"{key}: the stage {member.key} already exists; rename it, or use variants")
                own_name = ending(own, member.key.removeprefix(key))
                found[member_name] = {**merge(own_name, member.fields), **self._swept(kind, member)}
        return found

    def _swept(self, kind: str, member: SweepStage) -> Table:
        """What the stage records of its place in the sweeps, if its config has a field for it."""
        config = self._kinds[kind].config
        has_field = config is not None and SWEPT in config.model_fields
        return {SWEPT: dict(member.choices)} if member.choices and has_field else {}

    def _expanded(self, key: str) -> list[SweepStage]:
        if key not in self._tables:
            return [SweepStage(key)]
        if key not in self._found:
            # Validation reports a cycle; until then its stages refer to themselves as they are.
            self._found[key] = [SweepStage(key)]
            self._found[key] = list(self._multiply(key))
        return self._found[key]

    def _multiply(self, key: str) -> Iterator[SweepStage]:
        kind, name, stage = self._tables[key]
        config = self._kinds[kind].config
        fields = {} if config is None else named_fields(config)
        found = [SweepStage(key)]
        for input_name, info in fields.items():
            if any(isinstance(mark, Reference) for mark in info.metadata) and isinstance(stage.get(input_name), str):
                inputs = self._expanded(stage[input_name])
                if any(member.choices for member in inputs):
                    joined = [member.with_input(input_name, other) for member in found for other in inputs]
                    found = [member for member in joined if member is not None]
        takes_seed = SEED in fields
        if SEEDS in stage and not takes_seed:
            raise ValueError(f"{key}.{SEEDS}: a stage of the kind {kind} has no seed; use {GRID}")
        for label, changes in _grid(f"{key}.{GRID}", stage.get(GRID, {})):
            found_here = [member.with_choice(f"{key}.{GRID}", label, changes) for member in found]
            yield from self._seeded(key, name, stage, found_here, takes_seed)
        if not stage.get(GRID):
            yield from self._seeded(key, name, stage, found, takes_seed)

    def _seeded(
        self, key: str, name: str, stage: Table, members: list[SweepStage], takes_seed: bool
    ) -> Iterator[SweepStage]:
        """The members with each seed. A stage that starts from models of several seeds has theirs, or those of them
        that its own `seeds` names."""
        inherited = {member.seed for member in members} - {None}
        if inherited and (unknown := set(_seeds(f"{key}.{SEEDS}", stage.get(SEEDS, ()))) - inherited):
            raise ValueError(
                f"{key}.{SEEDS} has {min(unknown)}, which is no seed of what it starts from; remove it, or add it there"
            )
        for member in members:
            seeds = _seeds(f"{key}.{SEEDS}", stage.get(SEEDS, ()))
            if seeds and member.seed is not None and member.seed not in seeds:
                continue
            for seed in (seeds if member.seed is None else ()) or (None,):
                one = member if seed is None else member.with_choice(f"{key}.{SEEDS}", f"seed_{seed}", {}, seed)
                ending = "_".join(one.choices.values())
                full = check_name(f"{name}_{ending}") if ending else name
                inherits = one.seed is not None and takes_seed and (SEED not in stage or seed is not None)
                fields = {**one.fields, SEED: one.seed} if inherits else one.fields
                yield SweepStage(f"{key.removesuffix(name)}{full}", one.choices, fields, one.seed)


def _grid(where: str, grid: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(part of the name, fields) of each combination of a grid."""
    if not isinstance(grid, dict):
        raise ValueError(f"{where} = {grid!r} is not a table; write {where}.steps = [50, 100]")
    if not grid:
        return
    axes = list(_axes(where, grid, ()))
    last = [path[-1] for path, _ in axes]
    names = [path[-1] if last.count(path[-1]) == 1 else "_".join(path) for path, _ in axes]
    labels = set()
    for values in itertools.product(*(values for _, values in axes)):
        parts = (own or f"{name}_{_text(value)}" for name, (own, value) in zip(names, values, strict=True))
        label = "_".join(parts)
        if label in labels:
            raise ValueError(f"{where}: two stages would be called {label!r}; name them with variants")
        labels.add(label)
        fields: dict[str, Any] = {}
        for (path, _), (_, value) in zip(axes, values, strict=True):
            nested = value
            for part in reversed(path):
                nested = {part: nested}
            fields = merge(fields, nested)
        yield label, fields


def _axes(where: str, grid: Table, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[tuple[str, Any]]]]:
    """(path of a field, its values), each value with the part of a name that stands for it; "" for field and value."""
    for name, values in grid.items():
        here = f"{where}.{name}"
        if isinstance(values, dict) and set(values) == {"glob"}:
            yield (*path, name), [(_text(found.name), str(found)) for found in _matches(here, values["glob"])]
            continue
        if isinstance(values, dict) and set(values) == {"hub", "glob"}:
            yield (*path, name), [(_text(ref), commit) for ref, commit in _revisions(here, **values)]
            continue
        if isinstance(values, dict):
            yield from _axes(here, values, (*path, name))
            continue
        values = as_list(values)
        if not isinstance(values, list | tuple) or not values:
            raise ValueError(f"{here} = {values!r} is not a list of values; write {here} = [1, 2]")
        yield (*path, name), [("", value) for value in values]


def _matches(where: str, pattern: Any) -> list[Path]:
    """The files and folders that match, "step-90" before "step-100". Incomplete model folders are left out."""
    _check_pattern(where, pattern)
    found = [path for path in map(Path, glob.glob(expand(pattern))) if _is_ready(path)]  # noqa: PTH207  (an absolute one)
    if not found:
        raise NothingYet(f"{where}: nothing complete matches {pattern}; correct the pattern, or wait with `hpt watch`")
    return sorted(found, key=lambda path: _natural(str(path)))


def _revisions(where: str, hub: Any, glob: Any) -> list[tuple[str, str]]:
    """(branch or tag, its commit now) of the matches, "step-90" before "step-100"."""
    from hpt_core.hub import model_refs

    _check_pattern(where, glob)
    if not isinstance(hub, str):
        raise ValueError(f'{where}.hub = {hub!r} is not a repository; write {where}.hub = "owner/model"')
    try:
        found = {ref: commit for ref, commit in model_refs(hub).items() if fnmatchcase(ref, glob)}
    except ModelError as error:
        raise NothingYet(f"{where}: {error.cause}; {error.remedy}") from error
    if not found:
        raise NothingYet(f"{where}: no branch or tag of {hub} matches {glob}; correct it, or wait with `hpt watch`")
    return sorted(found.items(), key=lambda item: _natural(item[0]))


def _check_pattern(where: str, pattern: Any) -> None:
    if not isinstance(pattern, str):
        raise ValueError(f'{where}.glob = {pattern!r} is not a pattern; write {where}.glob = "ckpts/step-*"')


def _natural(text: str) -> list[int | str]:
    """A key that sorts numbers in texts by their value."""
    return [int(part) if part.isdigit() else part for part in _PARTS.split(text)]


_PARTS = re.compile(r"(\d+)")


def _is_ready(path: Path) -> bool:
    """Whether a model folder is complete and no longer changes. True for anything else."""
    if not (path / "config.json").is_file():
        return not path.is_dir()
    try:
        changed = max(file.stat().st_mtime for file in require_complete(path))
    except (ModelError, OSError):
        return False
    return abs(time.time() - changed) > SETTLED_S


def _seeds(where: str, seeds: Any) -> tuple[int, ...]:
    seeds = as_list(seeds)
    is_list = isinstance(seeds, list | tuple) and all(type(seed) is int for seed in seeds)
    if not is_list or len(set(seeds)) < len(seeds):
        raise ValueError(f"{where} = {seeds!r} is not a list of different whole numbers; write {where} = [1, 2, 3]")
    return tuple(seeds)


def _text(value: Any) -> str:
    """A value as a part of a name."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        value = value.get("name", "table")
    if isinstance(value, list | tuple):
        return "_".join(map(_text, value))
    return re.sub(r"[^A-Za-z0-9-]+", "_", str(value)).strip("_")
