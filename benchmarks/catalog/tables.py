"""The tables of a catalog: one Parquet file each, kept up to date with the records."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.catalog import schemas
from benchmarks.catalog.labels import Labels
from benchmarks.catalog.migrations import Rows
from benchmarks.catalog.records import Records
from benchmarks.catalog.schemas import Row
from hpt_core.files import write_parquet

SNAPSHOT = b"hpt_catalog_snapshot"
"""Metadata: equal in files that were written together."""
RUNNING = "running"
"""Outcome of a run that has no record yet."""


@dataclass(frozen=True)
class Tables:
    """The tables of a catalog, each with the schema of its name."""

    runs: pa.Table
    stages: pa.Table
    models: pa.Table
    protocols: pa.Table
    scores: pa.Table
    overlaps: pa.Table

    @cached_property
    def labels(self) -> Labels:
        """What people call the models."""
        return Labels(self.runs, self.models, self.scores)

    @cached_property
    def made_models(self) -> pa.Table:
        """The rows of `stages` that made a model: one in fifteen, where models have eight benchmarks."""
        made = pc.is_in(self.stages.column("record"), self.models.column("record").combine_chunks())
        return self.stages.filter(made)


def update(
    records: Records,
    running: Iterable[Row] = (),
    fresh: dict[str, Rows] | None = None,
    stored: Tables | None = None,
    again: Iterable[str] = (),
) -> Tables:
    """The tables over all records, which are also written to STORE/catalog/ if they have changed.

    Only records that the files do not have yet are read, except those in `fresh`, which the caller has just written.
    `running` holds rows of RUNS for runs without a record, because they have not ended. `stored` is what `read` has
    returned, if the caller has called it; records `again` have been replaced since. Raises StoreError, and OSError if
    the files cannot be written.
    """
    stored = stored or read(records)
    names = records.names()
    if stored is not None and not _members(stored) <= names:
        stored = None  # a record was removed, and others may have the protocol that the tables took from it
    known = set() if stored is None else _members(stored) - set(again)
    new = {name: rows for name, rows in (fresh or {}).items() if name in names and name not in known}
    new |= records.read(sorted(names - known - new.keys()))
    live = list(running)
    if stored is not None and not new and not live and _members(stored) == known and not _has_running(stored):
        return stored
    found = {}
    for name, schema in schemas.TABLES.items():
        rows = [row for record in sorted(new) for row in new[record].get(name, ())]
        rows += live if name == "runs" else []
        found[name] = _as_table(rows, schema).sort_by(_order(name))
        if stored is not None:
            before = getattr(stored, name)
            kept = pc.is_in(before.column("record"), pa.array(sorted(known), pa.string()))
            found[name] = _merged(before if pc.all(kept).as_py() else before.filter(kept), found[name], _order(name))
    found["protocols"] = _first_of_each(found["protocols"], "protocol")
    found["scores"] = _with_latest(found["scores"])
    tables = Tables(**found)
    _write(records.folder, tables)
    return tables


def _order(name: str) -> list[tuple[str, str]]:
    time = {"runs": "start", "protocols": "benchmark"}.get(name, "end")
    return [(time, "ascending"), ("record", "ascending")]


def _merged(before: pa.Table, new: pa.Table, order: list[tuple[str, str]]) -> pa.Table:
    """Two sorted tables as one. What is new is mostly younger, so there is mostly nothing to sort."""
    both = pa.concat_tables([before, new]).combine_chunks()
    place = before.num_rows
    if not 0 < place < both.num_rows:
        return both
    last, first = (tuple(both.column(name)[at].as_py() for name, _ in order) for at in (place - 1, place))
    in_order = None not in (*last, *first) and last <= first  # nulls are sorted last
    return both if in_order else both.sort_by(order)


def _members(tables: Tables) -> set[str]:
    """Names of the records from which the tables were computed."""
    runs = zip(tables.runs.column("record").to_pylist(), tables.runs.column("outcome").to_pylist(), strict=True)
    return {name for name, outcome in runs if outcome != RUNNING} | set(tables.stages.column("record").to_pylist())


def _has_running(tables: Tables) -> bool:
    return RUNNING in tables.runs.column("outcome").to_pylist()


def read(records: Records) -> Tables | None:
    """The files, if they were written together, by this version. Records may be newer."""
    folder, found, snapshots = records.folder, {}, set()
    with contextlib.suppress(OSError, pa.ArrowException):
        for name, schema in schemas.TABLES.items():
            # ParquetFile, because read_table imports more than the rest of this takes.
            table = pq.ParquetFile(folder / f"{name}.parquet").read()
            metadata = table.schema.metadata or {}
            if metadata.get(schemas.VERSION_KEY) != str(schemas.VERSION).encode() or table.schema.names != schema.names:
                return None
            snapshots.add(metadata.get(SNAPSHOT))
            found[name] = table.cast(schema)
    return Tables(**found) if len(found) == len(schemas.TABLES) and len(snapshots) == 1 else None


def _write(folder: Path, tables: Tables) -> None:
    snapshot = uuid4().hex.encode()
    for field in fields(tables):
        table = getattr(tables, field.name)
        metadata = {**schemas.TABLES[field.name].metadata, SNAPSHOT: snapshot}
        # What a power failure leaves incomplete is made again from the records.
        write_parquet(folder / f"{field.name}.parquet", table.replace_schema_metadata(metadata), durable=False)


def _as_table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    """Rows as a table. What a row lacks is null, and times may be texts."""
    columns = []
    for field in schema:
        read: Callable[[object], object] = _moment if pa.types.is_timestamp(field.type) else lambda value: value
        values = [read(row.get(field.name)) for row in rows]
        if field.name == "latest":
            values = [False] * len(rows)  # set once all rows are known
        columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _moment(value: object) -> object:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _first_of_each(table: pa.Table, column: str) -> pa.Table:
    """The first row of each value."""
    places: dict[str, int] = {}
    for place, value in enumerate(table.column(column).to_pylist()):
        places.setdefault(value, place)
    return table.take(pa.array(places.values(), pa.int64()))


def _with_latest(scores: pa.Table) -> pa.Table:
    """The scores with `latest`, of each model, benchmark and protocol the last in the table's order."""
    keys = zip(*(scores.column(name).to_pylist() for name in ("model", "benchmark", "protocol")), strict=True)
    flags = np.zeros(scores.num_rows, dtype=bool)
    flags[list({key: place for place, key in enumerate(keys)}.values())] = True
    place = scores.schema.get_field_index("latest")
    return scores.set_column(place, scores.schema.field(place), pa.array(flags))
