"""Data of the pages Runs and Run. Folders and machines in a run's config stay in the store."""

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables
from benchmarks.site.facts import moment, public, rounded, short_id

MOST = 100
"""Runs on the pages, the latest ones."""
PRIVATE = ("store", "data_dir", "resources", "schedule", "trackers", "publish", "notify", "secrets")
"""Tables of a config that say where and how it runs, and whom it tells."""
COSTS = ("seconds", "device_seconds", "cpu_seconds", "money", "energy_kwh")
AMOUNTS = ("tokens", "trained_tokens", "bytes", "peak_memory_bytes", "attempts")


class RunData:
    """Makes the files of runs from a catalog."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._scored = set(tables.scores.column("model").to_pylist())
        latest = tables.runs.slice(max(0, tables.runs.num_rows - MOST)).to_pylist()  # the oldest come first
        self._rows: dict[str, Row] = {row["run"]: row for row in reversed(latest)}

    def runs(self) -> Iterable[str]:
        """Ids of the runs with a page, the latest first."""
        return self._rows

    def index(self) -> Row:
        """The JSON of data/runs.json, the latest run first."""
        return {"runs": [_run(row) for row in self._rows.values()], "all": self._tables.runs.num_rows}

    def key(self, run: str) -> list[Any]:
        """What the file of a run is made of."""
        row = self._rows[run]
        models = [(row["model"], self._name(row)) for row in self._made(run, "models").to_pylist()]
        made = self._made(run, "stages").column("record").to_pylist()
        return [_run(row), made, [[model, name, model in self._scored] for model, name in models]]

    def data(self, run: str) -> Row:
        """The JSON of data/runs/ID.json."""
        row, made = self._rows[run], self._made(run, "stages").to_pylist()
        stages = [stage for stage in made if stage["state"] == "made"]
        return {
            **_run(row),
            "options": {k: v for k, v in public(json.loads(row["options"])).items() if v not in (None, False, [], "")},
            "made": [
                {
                    "artifact": stage["artifact"],
                    "machine": ", ".join(sorted(set(stage["gpus"] or ()))) or stage["processor"],
                    **{name: rounded(stage[name]) for name in COSTS},
                    **{name: stage[name] for name in AMOUNTS},
                }
                for stage in stages
            ],
            "models": [
                {
                    "id": short_id(model["model"]),
                    "name": self._name(model),
                    "scored": model["model"] in self._scored,
                }
                for model in self._made(run, "models").to_pylist()
            ],
            "packages": self._packages(row),
            "config": public({k: v for k, v in json.loads(row["config"]).items() if k not in PRIVATE}),
        }

    def _name(self, model: Row) -> str:
        return self._tables.labels.full(model["pipeline"], model["label"])

    def _packages(self, row: Row) -> Row:
        """Versions of the packages that made the youngest artifact that the run made or reused."""
        stages = self._tables.stages.select(["fingerprint", "packages"])
        used = pa.array([each["fingerprint"] for each in row["artifacts"]], pa.string())
        found = stages.filter(pc.is_in(stages.column("fingerprint"), used)).column("packages").to_pylist()
        return json.loads(found[-1]) if found and found[-1] else {}  # the oldest come first

    def _made(self, run: str, table: str) -> Any:
        rows = getattr(self._tables, table)
        return rows.filter(pc.equal(rows.column("run"), run))


def _run(row: Row) -> Row:
    reports = [a for a in row["artifacts"] if a["kind"] == "report"]
    return {
        "id": short_id(row["run"]),
        **{name: public(row[name]) for name in ("run", "pipeline", "outcome", "error", "overrides", "commit")},
        "start": moment(row["start"]),
        "end": moment(row["end"]),
        "seconds": None if row["end"] is None else rounded((row["end"] - row["start"]).total_seconds()),
        "stages": [[s["stage"], s["state"], rounded(s["seconds"]), public(s["text"])] for s in row["stages"]],
        "report": f"report/{reports[-1]['fingerprint']}" if reports else None,
    }
