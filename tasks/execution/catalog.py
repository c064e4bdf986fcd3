"""Writes the catalog of a store (benchmarks/catalog/): a record as each artifact and run is finished.

A record can be made again from the artifact's manifest and files, and from the history of runs. `fill` does this for
stores and artifacts that have none.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc

from benchmarks.catalog.migrations import Rows
from benchmarks.catalog.records import Contribution, Records, record_name
from benchmarks.catalog.schemas import TRIAL, Row
from benchmarks.catalog.tables import Tables, read, update
from benchmarks.site.facts import public
from hpt_core.artifacts import Manifest, RunRecord, Slot, Store
from hpt_core.errors import HPTError, explain
from hpt_core.files import sha256_json
from tasks.execution.artifact import Artifact, Artifacts
from tasks.execution.keys import MODEL, PREPARED, StageKey, method_of
from tasks.execution.kind import NamedStages, StageKind

LOG = logging.getLogger("hpt.catalog")
NOT_CONFIG = ("store", "resources", "schedule", "trackers", "data_dir")
"""Fields of a pipeline's config that say where and how it runs, not what it does."""
Progress = Callable[[int, int], None]


class MadeBy(NamedTuple):
    """The run that made an artifact."""

    id: str
    pipeline: str
    config: Any
    """The run's resolved config, as JSON."""


@dataclass(frozen=True)
class Stored:
    """A finished artifact in a store."""

    slot: Slot
    manifest: Manifest
    run: MadeBy | None
    """None if no run is recorded that made it."""
    find: Callable[[str], "Stored | None"]
    """The artifact with an output of this hash."""

    @cached_property
    def record(self) -> str:
        """Name of its record."""
        return record_name(self.manifest.fingerprint, self.manifest.end)

    @property
    def stage(self) -> StageKey:
        """The stage that made it."""
        return StageKey.parse(self.manifest.stage.split("/")[0])

    @property
    def part(self) -> str:
        """The last part of its key, such as the benchmark; "" without one."""
        return self.manifest.stage.partition("/")[2].rpartition("/")[2]

    def file(self, name: str) -> Path:
        """A file of its output, which is fetched if the store is at a URL. Raises StoreError if that fails."""
        self.slot.fetch(name)
        return self.slot.output / name

    def input(self, role: str) -> "Stored | None":
        """The artifact that it takes in this role; None if the store has none with that content."""
        return self.find(self.manifest.inputs[role]) if role in self.manifest.inputs else None

    @property
    def front(self) -> Row:
        """The columns that the rows of all tables share."""
        run = self.run
        return {"record": self.record, "run": run and run.id, "pipeline": run and self._pipeline(run)}

    def _pipeline(self, run: MadeBy) -> str:
        """A trial makes some artifacts as its pipeline would have made them. They are the pipeline's."""
        changes = _changes(run.config)
        return _named(run.pipeline, changes if changes and _is_changed(self, changes) else ())


def add_artifact(artifact: Artifact, run: RunRecord | None, known: Artifacts, store: Store) -> None:
    """Write the record of an artifact that a run has just made. `known` has the artifacts that it was made from.

    A failure is only logged, because `fill` makes the record later.
    """
    by_hash = {value: a for a in known.values() for value in a.outputs.values()}

    def find(hash_: str) -> Stored | None:
        other = by_hash.get(hash_)
        return None if other is None else stored(other, None)

    def stored(of: Artifact, by: MadeBy | None) -> Stored | None:
        slot = store.slot(of.kind, of.fingerprint)
        manifest = slot.manifest()
        return None if manifest is None else Stored(slot, manifest, by, find)

    try:
        made = stored(artifact, None if run is None else MadeBy(run.id, run.pipeline, run.config))
        if made is not None:
            _add(made, Records(store.root), durable=True)
    except Exception as error:  # also a fault in the code of a kind outside this repository
        LOG.warning("%s is not in the catalog: %s; `hpt catalog` tries it again", artifact.key, explain(error))


def add_run(run: RunRecord, store: Store) -> Tables | None:
    """Write the record of a run that has ended, and return the tables. A failure is only logged, and gives None."""
    records = Records(store.root)
    try:
        records.add(run.id, run_rows(run))
        return update(records)
    except (OSError, HPTError) as error:
        LOG.warning("the run is not in the catalog: %s; `hpt catalog` tries it again", explain(error))
        return None


def fill(store: Store, progress: Progress = lambda done, total: None) -> Tables:
    """Write the records that are missing, and return the tables over all. Only what is new is read.

    An artifact whose record cannot be made is logged. Raises StoreError, and OSError if the store cannot be written.
    """
    records = Records(store.root)
    written, running = {}, []
    times = records.times()
    for run in store.history.runs(but=times.keys()):
        if run.end is None and run.outcome == "running":
            running.append(run_rows(run)["runs"][0])
        else:
            written[run.id] = run_rows(run)
            records.add(run.id, written[run.id], durable=False)
    slots, stored = _without_record(store, times), read(records)
    if stored is None and times:
        stored = update(records)
    lacking = {} if stored is None else _lacking(store, stored)
    slots += lacking.values()
    if slots:
        source = _Source(store, stored, [*running, *(rows["runs"][0] for rows in written.values())])
        for done, made in enumerate(source.in_order(slots)):
            progress(done, len(slots))
            if records.has(made.record) and made.record not in lacking:
                records.confirm(made.record)
                continue
            try:
                written[made.record] = _add(made, records, durable=False)
            except Exception as error:  # also a fault in the code of a kind outside this repository
                if made.record not in lacking:
                    LOG.warning("%s is not in the catalog: %s", made.slot, explain(error))
        progress(len(slots), len(slots))
    return update(records, running, written, stored, lacking)


def _without_record(store: Store, times: Mapping[str, float]) -> list[Slot]:
    """The artifacts without a record that is as young as they are, oldest first."""
    newest: dict[str, float] = {}
    for name, time in times.items():
        fingerprint = name.partition("-")[0]
        newest[fingerprint] = max(time, newest.get(fingerprint, time))
    found = sorted(place for place in store.finished() if place[0] > newest.get(place[2], float("-inf")))
    return [store.slot(kind, fingerprint) for _, kind, fingerprint in found]


def _lacking(store: Store, tables: Tables) -> dict[str, Slot]:
    """Records of earlier releases that lack rows or columns of today, of artifacts that the store still has."""
    stages, scores = tables.stages, tables.scores
    checked = stages.filter(pc.equal(stages.column("kind"), "contamination")).column("record").to_pylist()
    records = dict.fromkeys(set(checked) - set(tables.overlaps.column("record").to_pylist()), "contamination")
    old = scores.filter(pc.is_null(scores.column("outcomes"))).column("record").to_pylist()
    records |= dict.fromkeys(old, "verdicts")
    found = {}
    for record, kind in records.items():
        fingerprint = record.partition("-")[0]
        slot = store.slot(kind, fingerprint)
        manifest = slot.manifest()
        if manifest is not None and record_name(fingerprint, manifest.end) == record:
            found[record] = slot
    return found


class _Source:
    """Finds artifacts by the hashes of their outputs, and the runs that made them."""

    def __init__(self, store: Store, tables: Tables | None, runs: Iterable[Row]) -> None:
        """`runs` are rows of RUNS that the tables do not have."""
        self._store = store
        self._places: dict[str, tuple[str, str]] = {}
        self._runs: dict[str, list[tuple[datetime, MadeBy | int]]] = {}
        """Fingerprint -> the runs that used it: when each began, and the run or its place in the table."""
        self._read = lru_cache(4096)(self._stored)
        for row in runs:
            by = _made_by(row)
            for artifact in row["artifacts"]:
                self._runs.setdefault(artifact["fingerprint"], []).append((row["start"], by))
        if tables is None:
            return
        places = list(zip(*(tables.stages.column(name).to_pylist() for name in ("kind", "fingerprint")), strict=True))
        outputs = tables.stages.column("outputs").combine_chunks()
        makers = outputs.value_parent_indices().to_pylist()
        for place, hash_ in zip(makers, outputs.flatten().field("hash").to_pylist(), strict=True):
            self._places[hash_] = places[place]
        self._table = tables.runs.select(["run", "pipeline", "config"])
        starts, artifacts = tables.runs.column("start").to_pylist(), tables.runs.column("artifacts").combine_chunks()
        users = artifacts.value_parent_indices().to_pylist()
        for place, fingerprint in zip(users, artifacts.flatten().field("fingerprint").to_pylist(), strict=True):
            self._runs.setdefault(fingerprint, []).append((starts[place], place))

    def in_order(self, slots: Iterable[Slot]) -> Iterator[Stored]:
        """The artifacts, each after those that it was made from."""
        waiting: list[Stored] = []
        for slot in slots:
            made = self._read(slot.kind, slot.fingerprint)
            if made is None:
                continue
            for hash_ in made.manifest.outputs.values():
                self._places[hash_] = (slot.kind, slot.fingerprint)
            if all(hash_ in self._places for hash_ in made.manifest.inputs.values()):
                yield made
            else:
                waiting.append(made)
        yield from waiting

    def _stored(self, kind: str, fingerprint: str) -> Stored | None:
        slot = self._store.slot(kind, fingerprint)
        manifest = slot.manifest()
        if manifest is None:
            return None
        before = [run for run in self._runs.get(fingerprint, ()) if run[0] <= manifest.end]
        run = max(before, key=lambda run: run[0])[1] if before else None
        return Stored(slot, manifest, self._of_table(run) if isinstance(run, int) else run, self._find)

    def _of_table(self, place: int) -> MadeBy:
        (row,) = self._table.slice(place, 1).to_pylist()
        return _made_by(row)

    def _find(self, hash_: str) -> Stored | None:
        place = self._places.get(hash_)
        return None if place is None else self._read(*place)


def _made_by(row: Row) -> MadeBy:
    """The run of a row of RUNS."""
    return MadeBy(row["run"], row["pipeline"].partition(TRIAL)[0], json.loads(row["config"]))


def _add(made: Stored, records: Records, durable: bool) -> Rows:
    kind = _kind(made.stage.kind)
    rows: Rows = {"stages": [_stage_row(made)]}
    if MODEL.name in made.manifest.outputs:
        rows["models"] = [_model_row(made)]
    found = kind.catalog(made) if kind else Contribution({})
    for table, own in found.rows.items():
        if table == "stages":
            rows["stages"][0] |= own[0]
        else:
            rows.setdefault(table, []).extend(own)
    records.add(made.record, rows, found.questions, durable)
    return rows


@lru_cache
def _kind(name: str) -> StageKind | None:
    """The kind of stage of this name; None if it is not installed here."""
    try:
        found: StageKind = StageKind.plugin_kind.load(name)
    except HPTError:
        LOG.warning("the kind of stage %r is not installed; the catalog has only what all kinds have", name)
        return None
    return found


def _stage_row(made: Stored) -> Row:
    m, cost = made.manifest, made.manifest.cost
    return {
        **made.front,
        "stage": str(made.stage),
        "state": "made",
        "artifact": m.stage,
        "kind": m.kind,
        "fingerprint": m.fingerprint,
        "start": m.start,
        "end": m.end,
        "seconds": cost.seconds,
        "device_seconds": None if cost.device_hours is None else cost.device_hours * 3600,
        "cpu_seconds": cost.cpu_seconds,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "attempts": cost.attempts,
        "energy_kwh": cost.energy_kwh,
        "money": cost.money,
        "bytes": m.size,
        "processor": m.hardware.get("processor"),
        "gpus": m.hardware.get("gpus"),
        "commit": m.git_commit,
        "packages": _json(m.packages),
        "versions": _json(m.versions),
        "config": _json(m.config),
        "inputs": [{"role": role, "hash": hash_} for role, hash_ in m.inputs.items()],
        "outputs": [{"name": name, "hash": hash_} for name, hash_ in m.outputs.items()],
    }


def _model_row(made: Stored) -> Row:
    m = made.manifest
    config = m.config if isinstance(m.config, dict) else {}
    algorithm, seed = config.get("algorithm"), config.get("seed")
    parents = [hash_ for hash_ in m.inputs.values() if hash_ in _models(made.find(hash_))]
    root = _root(made)
    facts = {} if root is None else root.manifest.facts
    label = made.stage.name or str(made.stage)
    return {
        **made.front,
        "model": m.outputs[MODEL.name],
        "stage": str(made.stage),
        "label": label,
        "kind": made.stage.kind,
        "algorithm": algorithm.get("name") if isinstance(algorithm, dict) else None,
        "parents": parents,
        "data": [hash_ for role, hash_ in m.inputs.items() if role == PREPARED.name],
        "base": root and root.manifest.outputs[MODEL.name],
        "family": facts.get("architecture"),
        "parameters": facts.get("parameters"),
        "origin": _json(facts["origin"]) if facts.get("origin") else None,
        "seed": seed,
        "method": method_of(label, seed),
        "swept": _swept(made),
        "end": m.end,
    }


def _models(found: Stored | None) -> tuple[str, ...]:
    """The model of an artifact."""
    return (found.manifest.outputs[MODEL.name],) if found and MODEL.name in found.manifest.outputs else ()


def _root(made: Stored) -> Stored | None:
    """The base model of a model, through its first parents; None if the store lacks one of them, or if one has the
    content of its own parent, as a copy has."""
    seen = set()
    while made.record not in seen:
        seen.add(made.record)
        roles = [role for role in made.manifest.inputs if role.split(" ")[0] == MODEL.name]
        if not roles:
            return made
        parent = made.input(roles[0])
        if parent is None or not _models(parent):
            return None
        made = parent
    return None


def _swept(made: Stored) -> str | None:
    """What the run's config says about the stage's place in a sweep."""
    config = made.run.config if made.run and isinstance(made.run.config, dict) else {}
    stages = config.get(made.stage.kind)
    stage = stages.get(made.stage.name) if isinstance(stages, dict) else None
    return _json(stage["swept"]) if isinstance(stage, dict) and stage.get("swept") else None


def _changes(config: Any) -> tuple[str, ...]:
    """What a run with this config changed in its pipeline, if it was a trial."""
    table = config if isinstance(config, dict) else {}
    return () if table.get("replace_board") else tuple(table.get("overrides") or ())


def _named(pipeline: str, changes: Iterable[str]) -> str:
    """Name of a pipeline in the catalog. That of a trial says what it changed, so that its models do not replace the
    pipeline's; of folders, which are published with it, only the last part is kept."""
    told = ", ".join(map(public, changes))
    return f"{pipeline}{TRIAL}{told})" if told else pipeline


def _is_changed(made: Stored, changes: Sequence[str]) -> bool:
    """Whether any of the changes may affect an artifact: they name its stage, one that it depends on, or something
    that all stages share."""
    waiting, seen = [made], set()
    while waiting:
        one = waiting.pop()
        if one.record in seen:
            continue
        seen.add(one.record)
        if any(_concerns(change, one.stage) for change in changes):
            return True
        waiting += filter(None, map(made.find, one.manifest.inputs.values()))
    return False


def _concerns(change: str, stage: StageKey) -> bool:
    kind, _, rest = change.partition("=")[0].strip().partition(".")
    if kind == stage.kind:
        name = rest.partition(".")[0]
        # A table like [evaluate] is of all stages of its kind; in the others, the name is next.
        is_of_all = not isinstance(StageKind.plugin_kind.load(kind), NamedStages)
        return is_of_all or name in (stage.name, "*") or stage.name.startswith(f"{name}_")
    return kind not in StageKind.plugin_kind.names and ":" not in kind  # such as `seed`


def run_rows(run: RunRecord) -> Rows:
    """The rows of a run: its own, and one of STAGES for each stage that failed or was skipped."""
    options, pipeline = dict(run.options or {}), _named(run.pipeline, _changes(run.config))
    overrides = options.pop("overrides", [])
    places = [(key, *place.split("/")) for key, place in run.artifacts.items()]
    deciding = {k: v for k, v in run.config.items() if k not in NOT_CONFIG} if isinstance(run.config, dict) else {}
    row = {
        "record": run.id,
        "run": run.id,
        "pipeline": pipeline,
        "config_hash": sha256_json(deciding),
        "config": _json(run.config),
        "overrides": overrides,
        "options": _json(options),
        "commit": run.git_commit,
        "host": run.host,
        "start": run.start,
        "end": run.end,
        "outcome": run.outcome,
        "error": run.error or None,
        "stages": [
            {"stage": key, "state": s.what, "seconds": s.seconds, "text": s.text or None}
            for key, s in run.stages.items()
        ],
        "artifacts": [{"key": key, "kind": kind, "fingerprint": print_} for key, kind, print_ in places],
    }
    front = {"record": run.id, "run": run.id, "pipeline": pipeline, "commit": run.git_commit, "end": run.end}
    stages = [
        {**front, "stage": key, "state": s.what, "text": s.text or None, "seconds": s.seconds}
        for key, s in run.stages.items()
        if s.what in ("failed", "skipped")
    ]
    return {"runs": [row], "stages": stages}


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
