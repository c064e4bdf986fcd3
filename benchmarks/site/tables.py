"""Files of the Data page: the tables on scores, models, protocols, overlaps and questions, and their schemas."""

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from io import BytesIO

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from benchmarks.catalog import schemas
from benchmarks.catalog.records import Records
from benchmarks.catalog.schemas import QUESTIONS, TABLES, Row
from benchmarks.catalog.tables import Tables
from benchmarks.site.questions import QuestionSet, question_ids

PUBLIC = ("scores", "models", "protocols", "overlaps")
"""Tables of the catalog in the site. Those of runs and stages hold whole configs, with folders and names of
machines."""


@dataclass(frozen=True)
class PublishedTable:
    """A table of the site."""

    name: str
    schema: pa.Schema
    rows: int
    key: object
    """What it is made of."""
    make: Callable[[], pa.Table]

    @cached_property
    def table(self) -> pa.Table:
        """Its content."""
        return self.make()

    def parquet(self) -> bytes:
        """The Parquet file."""
        return as_parquet(self.table)

    def csv(self) -> bytes:
        """The compressed CSV file."""
        return as_csv(self.table)


def published(records: Records, tables: Tables, sets: Mapping[str, QuestionSet]) -> Iterator[PublishedTable]:
    """The tables of the site, each with its content on demand."""
    for name in PUBLIC:
        table: pa.Table = getattr(tables, name)
        key = table.column("record").to_pylist()
        yield PublishedTable(name, TABLES[name], table.num_rows, key, partial(getattr, tables, name))
    asked = [found for _, found in sorted(sets.items())]
    count = sum(found.scores[0]["questions"] for found in asked)
    yield PublishedTable("questions", QUESTIONS, count, sorted(sets), partial(_questions, records, asked))


def _questions(records: Records, sets: Iterable[QuestionSet]) -> pa.Table:
    parts = []
    for found in sets:
        ids = question_ids(records, found)
        columns = [[found.benchmark] * len(ids), [found.hash] * len(ids), range(len(ids)), ids]
        parts.append(pa.table(dict(zip(QUESTIONS.names, columns, strict=True)), schema=QUESTIONS))
    return pa.concat_tables(parts) if parts else QUESTIONS.empty_table()


def as_parquet(table: pa.Table) -> bytes:
    """The table as a Parquet file."""
    sink = BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def as_csv(table: pa.Table) -> bytes:
    """The columns of the table that are not lists, as CSV, compressed by gzip: the scores of 1,000 models take 4 MB
    otherwise. A field of a struct is a column: `outcomes.correct`. Times are in UTC, and what is not known is empty."""
    table = table.flatten()
    flat = [field.name for field in table.schema if not pa.types.is_list(field.type)]
    sink = BytesIO()
    pc.write_csv(table.select(flat), sink)
    # Level 9 takes twice as long and saves a hundredth. Without the time, the same table gives the same bytes.
    return gzip.compress(sink.getvalue(), compresslevel=6, mtime=0)


def tables_data(tables: Iterable[PublishedTable]) -> Row:
    """The JSON of data/tables.json: rows and columns of each table."""
    return {
        table.name: {
            "rows": table.rows,
            "about": table.schema.metadata[schemas.DESCRIPTION].decode().partition(": ")[2],
            "columns": [
                [field.name, str(field.type), field.nullable, field.metadata[schemas.MEANING].decode()]
                for field in table.schema
            ],
        }
        for table in tables
    }
