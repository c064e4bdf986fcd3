"""Find and remove what nothing refers to any more.

Kept are the artifacts of the runs that are not forgotten, of the leaderboards and of the pins, and everything that they
were made from. Runs in progress are never forgotten.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hpt_core.artifacts.history import RunRecord
from hpt_core.artifacts.manifest import Manifest
from hpt_core.artifacts.store import Slot, Store


@dataclass(frozen=True)
class Policy:
    """Which runs to forget. Without `older_than`, `pipeline` and `most_bytes` none is."""

    older_than: timedelta | None = None
    """Only runs that ended longer ago, and only artifacts that nothing refers to and that are older."""
    pipeline: str | None = None
    """Only runs of this pipeline."""
    most_bytes: int | None = None
    """Only as many of the oldest runs as it takes until the store is not larger than this."""
    keep_runs: int = 1
    """Completed runs of each pipeline to keep, the latest, with all later ones. 0 also drops its leaderboard."""

    @property
    def forgets(self) -> bool:
        """Whether any run is forgotten."""
        return self.older_than is not None or self.pipeline is not None or self.most_bytes is not None


@dataclass(frozen=True)
class StoredSlot:
    """An artifact in the store."""

    slot: Slot
    manifest: Manifest | None
    """None for one that is not finished."""
    size: int
    """Bytes on the disk."""
    changed: datetime

    @property
    def place(self) -> str:
        """KIND/FINGERPRINT."""
        return f"{self.slot.kind}/{self.slot.fingerprint}"


@dataclass
class Cleanup:
    """What a policy removes."""

    forget: list[RunRecord] = field(default_factory=list)
    remove: list[StoredSlot] = field(default_factory=list)
    size: int = 0
    """Bytes of the whole store."""
    kept: int = 0
    """Number of artifacts that stay."""
    ended: frozenset[str] = frozenset()
    """Ids of the runs that had ended when this was planned, so that what they refer to is known."""

    @property
    def freed(self) -> int:
        """Bytes of what is removed."""
        return sum(item.size for item in self.remove)


class Contents:
    """Everything in a store, and what refers to it."""

    def __init__(self, store: Store, leaderboards: Collection[str] = (), kept: Collection[str] = ()) -> None:
        """`leaderboards` are the kinds of artifacts that a pipeline's leaderboard consists of, `kept` those that always
        stay."""
        self.store = store
        self.items = {item.place: item for item in map(_item, store.slots())}
        self.runs = store.history.runs()
        self._pins = {pin.place for pin in store.pins()}
        self._names = {name: list(store.names(name).values()) for name in store.pipelines()}
        self._leaderboards = set(leaderboards)
        self._kept = {place for place, item in self.items.items() if item.slot.kind in kept}
        self._makers: dict[str, list[str]] = {}
        for place, item in self.items.items():
            for hash_ in item.manifest.outputs.values() if item.manifest else ():
                self._makers.setdefault(hash_, []).append(place)

    def cleanup(self, policy: Policy) -> Cleanup:
        """What the policy forgets and removes."""
        size = sum(item.size for item in self.items.values())
        candidates = self._candidates(policy) if policy.forgets else []
        forget = candidates if policy.most_bytes is None else []
        removed = self._unreferred(forget, policy)
        if policy.most_bytes is not None:
            for run in candidates:
                if size - sum(item.size for item in removed) <= policy.most_bytes:
                    break
                forget = [*forget, run]
                removed = self._unreferred(forget, policy)
        ended = frozenset(run.id for run in self.runs if run.outcome != "running")
        return Cleanup(forget, removed, size, len(self.items) - len(removed), ended)

    def of_pipeline(self, name: str) -> set[str]:
        """Places of a pipeline's artifacts, with what they were made from."""
        runs = [run for run in self.runs if run.pipeline == name]
        places = {place for run in runs for place in run.artifacts.values()}
        return self._with_inputs(places | {f"{slot.kind}/{slot.fingerprint}" for slot in self._names.get(name, ())})

    def _candidates(self, policy: Policy) -> list[RunRecord]:
        """The runs that may be forgotten, oldest first."""
        found, completed = [], dict[str, int]()
        limit = datetime.now(UTC) - (policy.older_than or timedelta())
        for run in reversed(self.runs):
            enough = completed.get(run.pipeline, 0) >= policy.keep_runs
            completed[run.pipeline] = completed.get(run.pipeline, 0) + (run.outcome == "done")
            fits = policy.pipeline in (None, run.pipeline) and (run.end or run.start) <= limit
            if enough and fits and run.outcome != "running":
                found.append(run)
        return found[::-1]

    def _unreferred(self, forget: list[RunRecord], policy: Policy) -> list[StoredSlot]:
        forgotten = {run.id for run in forget}
        kept = [run for run in self.runs if run.id not in forgotten]
        places = self._pins | self._kept | {place for run in kept for place in run.artifacts.values()}
        for name, slots in self._names.items():
            # Pipelines that ran before runs were recorded keep all that they used last.
            recorded = any(run.pipeline == name for run in self.runs)
            dropped = policy.keep_runs == 0 and policy.pipeline in (None, name) and policy.forgets
            if not (dropped and not any(run.pipeline == name for run in kept)):
                places |= {
                    f"{slot.kind}/{slot.fingerprint}"
                    for slot in slots
                    if not recorded or slot.kind in self._leaderboards
                }
        referred = self._with_inputs(places)
        limit = datetime.now(UTC) - (policy.older_than or timedelta())
        return [item for place, item in self.items.items() if place not in referred and item.changed <= limit]

    def _with_inputs(self, places: set[str]) -> set[str]:
        """The places, with those that their artifacts were made from, directly or through others."""
        found, left = set[str](), list(places)
        while left:
            place = left.pop()
            if place not in found:
                found.add(place)
                manifest = self.items[place].manifest if place in self.items else None
                for hash_ in manifest.inputs.values() if manifest else ():
                    makers = self._makers.get(hash_, ())
                    # Of several with the same content, those that are referred to anyway.
                    left += [maker for maker in makers if maker in places] or makers
        return found


def clean(store: Store, cleanup: Cleanup) -> Iterator[tuple[StoredSlot, bool]]:
    """Remove the artifacts, then forget the runs. Yields each artifact, and whether it was removed: one that a run has
    begun to use meanwhile is kept."""

    def is_used(slot: Slot) -> bool:
        place = f"{slot.kind}/{slot.fingerprint}"
        return any(place in run.artifacts.values() for run in store.history.runs(but=cleanup.ended))

    for item in cleanup.remove:
        yield item, store.remove(item.slot, is_used)
    for run in cleanup.forget:
        store.history.forget(run)
    store.remove_leftovers()


def _item(slot: Slot) -> StoredSlot:
    size, changed = slot.usage()
    return StoredSlot(slot, slot.manifest(), size, changed)
