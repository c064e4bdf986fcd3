"""Records: what a measurement found and the machine that it was made on, one JSON file each.

A run writes its record to runs/bench/NAME.json, which Git ignores. Those in bench/results/ are committed, and
docs/benchmarks.md shows them: `--out bench/results/NAME.json` replaces one, `python -m bench.tables` the tables.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import machine

RESULTS = machine.ROOT / "bench" / "results"
LATEST = machine.ROOT / "runs" / "bench"


@dataclass(frozen=True)
class Record:
    """One measurement."""

    measurement: str
    """Its name, that of the file and of the command."""
    machine: dict[str, Any]
    """machine.describe(); None for what is not known of numbers that are older than their record."""
    settings: dict[str, Any]
    """What was measured: sizes, counts, versions of peers."""
    summary: dict[str, Any]
    """What the document shows. Seconds, GiB and shares of 1; a text where a number is not known any better."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Single measurements."""
    source: str = ""
    """Where and when the numbers were measured, for those that are older than their record."""

    @property
    def provenance(self) -> str:
        """The machine and the time, in a line or two."""
        return self.source or machine.sentence(self.machine)


def read(path: Path) -> Record:
    """The record in a file."""
    return Record(**json.loads(path.read_text(encoding="utf-8")))


def write(path: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    from hpt_core.files import write_json

    write_json(path, asdict(record))


def latest(name: str) -> Path:
    """Where a run writes its record unless it is told otherwise."""
    return LATEST / f"{name}.json"


def finish(path: Path, record: Record, table: Callable[[Record], str]) -> None:
    """Write a record and show its table."""
    write(path, record)
    print(f"\n{table(record)}\n\n{record.provenance}\n\n{path}")


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table; columns from the `left`-th on are flush right."""
    rules = ["---" if place < left else "---:" for place in range(len(columns))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rules, *rows))


def shown(value: float | str, pattern: str) -> str:
    """A number by a format such as "{:.2f}"; a text as it is."""
    return value if isinstance(value, str) else pattern.format(value)


def tiny(value: float) -> str:
    """A relative error."""
    return f"{value:.1e}".replace("e-0", "e-") if value else "0"


def share(value: float | str) -> str:
    """A share of 1 in percent."""
    if isinstance(value, float) and 0 < value < 0.001:
        return "under 0.1 %"
    return shown(value if isinstance(value, str) else 100 * value, "{:.1f} %")


def spread(values: Sequence[float], pattern: str = "{:.2f}") -> str:
    """The least and the largest."""
    return f"{pattern.format(min(values))} to {pattern.format(max(values))}"
