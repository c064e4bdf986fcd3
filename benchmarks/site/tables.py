"""Files of the Data page: the tables on scores, models and protocols, and their schemas."""

import gzip
from io import BytesIO

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from benchmarks.catalog import schemas
from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables

PUBLIC = ("scores", "models", "protocols")
"""Tables in the site. Those of runs and stages hold whole configs, with folders and names of machines."""


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


def tables_data(tables: Tables) -> Row:
    """The JSON of data/tables.json: rows and columns of each table."""
    return {
        name: {
            "rows": getattr(tables, name).num_rows,
            "about": schema.metadata[schemas.DESCRIPTION].decode().partition(": ")[2],
            "columns": [
                [field.name, str(field.type), field.nullable, field.metadata[schemas.MEANING].decode()]
                for field in schema
            ],
        }
        for name, schema in ((name, schemas.TABLES[name]) for name in PUBLIC)
    }
