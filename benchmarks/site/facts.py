"""What the catalog says about each model, and the ids that the site's addresses use."""

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables

HEX = re.compile("[0-9a-f]{16,}")
FOLDERS = re.compile(r"(?:(?<=file://)|(?<![\w.~:/-]))(?:~?/[^\s/:'\"]+)+/(?=[^\s/:'\"])")
"""The folders of an absolute path. Those of an address follow its colon."""
ID_LENGTH = 16
STAGE = (
    *("run", "seconds", "device_seconds", "money", "tokens", "trained_tokens", "commit", "config", "gpus", "processor"),
    "outputs",
)
FACTS = ("algorithm", "family", "parameters", "seed", "method")


def short_id(text: str) -> str:
    """16 hexadecimal digits for an address: the beginning of a hash, or the hash of any other text."""
    return (text if HEX.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest())[:ID_LENGTH]


def public(value: Any) -> Any:
    """A JSON value without the folders of the machine: of each absolute path in its texts, only the last part."""
    if isinstance(value, str):
        return FOLDERS.sub(".../", value)
    if isinstance(value, dict):
        return {key: public(item) for key, item in value.items()}
    return [public(item) for item in value] if isinstance(value, list) else value


def moment(value: datetime | None) -> str | None:
    """The time in UTC, to the second."""
    return None if value is None else f"{value:%Y-%m-%dT%H:%M:%SZ}"


def rounded(value: float | None) -> float | None:
    """Six significant digits: more than any page shows, and a third of the size."""
    return None if value is None else float(f"{value:.6g}")


class Models:
    """The models of a catalog by content hash, with the cost of the stages that made them."""

    def __init__(self, tables: Tables) -> None:
        self._rows: dict[str, list[Row]] = {}
        self._children: dict[str, list[Row]] = {}
        for row in tables.models.to_pylist():
            self._rows.setdefault(row["model"], []).append(row)
            for parent in dict.fromkeys(row["parents"]):
                self._children.setdefault(parent, []).append(row)
        self._stages: dict[str, Row] = {}
        for row in tables.made_models.select(STAGE).to_pylist():
            for output in row["outputs"] or ():
                self._stages[output["hash"]] = row

    def row(self, model: str, pipeline: str | None = None, label: str | None = None) -> Row | None:
        """The row of MODELS, of this pipeline and name if there is one; None if no stage of the store made it."""
        rows = self._rows.get(model, [])
        own = [row for row in rows if row["pipeline"] == pipeline and row["label"] == label]
        found = own or rows
        return found[-1] if found else None

    def stage(self, model: str) -> Row | None:
        """The row of STAGES that made it."""
        return self._stages.get(model)

    def facts(self, model: str, pipeline: str | None, label: str) -> Row:
        """What the board shows and filters by."""
        row = self.row(model, pipeline, label) or {}
        stage = self.stage(model) or {}
        return {
            **{name: row.get(name) for name in FACTS},
            "seconds": rounded(stage.get("device_seconds")),
            "money": rounded(stage.get("money")),
        }

    def children(self, model: str) -> Iterable[Row]:
        """The rows of MODELS that were made from it, in the table's order."""
        return self._children.get(model, ())
