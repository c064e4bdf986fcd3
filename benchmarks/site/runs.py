"""Data of the Runs page: what each run did. Its config stays in the store, because it names folders and machines."""

from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables
from benchmarks.site.facts import moment, rounded

MOST = 100
"""Runs on the page, the latest ones."""


def runs_data(tables: Tables) -> Row:
    """The JSON of data/runs.json, the latest run first."""
    latest = tables.runs.slice(max(0, tables.runs.num_rows - MOST)).to_pylist()  # the oldest come first
    return {"runs": [_run(row) for row in reversed(latest)], "all": tables.runs.num_rows}


def _run(row: Row) -> Row:
    reports = [a for a in row["artifacts"] if a["kind"] == "report"]
    names = ("run", "pipeline", "outcome", "error", "overrides", "commit")
    return {
        **{name: row[name] for name in names},
        "start": moment(row["start"]),
        "end": moment(row["end"]),
        "seconds": None if row["end"] is None else rounded((row["end"] - row["start"]).total_seconds()),
        "stages": [[s["stage"], s["state"], rounded(s["seconds"]), s["text"]] for s in row["stages"]],
        "report": f"report/{reports[-1]['fingerprint']}" if reports else None,
    }
