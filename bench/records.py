"""Records: the results of a measurement and the machine that it ran on, one JSON file each.

A run writes its record to runs/bench/NAME.json, which Git ignores. The records in bench/results/ are committed, and
docs/benchmarks.md shows them. `--out bench/results/NAME.json` replaces a record; `python -m bench.tables` updates the
tables.
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
    """Name of the measurement, of its file and of its command."""
    machine: dict[str, Any]
    """machine.describe(). A value is None if it was not recorded: some numbers are older than this format."""
    settings: dict[str, Any]
    """Sizes, counts and versions of the other packages."""
    summary: dict[str, Any]
    """The numbers that the document shows: seconds, GiB, shares of 1. A text if the exact number is not known."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The single measurements."""
    source: str = ""
    """Where and when the numbers were measured, if they are older than this format."""

    @property
    def provenance(self) -> str:
        """The machine and the date in one or two sentences."""
        return self.source or machine.sentence(self.machine)


def read(path: Path) -> Record:
    """Read a record from a file."""
    return Record(**json.loads(path.read_text(encoding="utf-8")))


def write(path: Path, record: Record) -> None:
    """Write a record completely or not at all."""
    from hpt_core.files import write_json

    write_json(path, asdict(record))


def latest(name: str) -> Path:
    """Where a run writes its record by default."""
    return LATEST / f"{name}.json"


def finish(path: Path, record: Record, table: Callable[[Record], str]) -> None:
    """Write a record and print its table."""
    write(path, record)
    print(f"\n{table(record)}\n\n{record.provenance}\n\n{path}")


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table. The first `left` columns are aligned left, the others right."""
    rules = ["---" if place < left else "---:" for place in range(len(columns))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rules, *rows))


def shown(value: float | str, pattern: str) -> str:
    """A number in a format such as "{:.2f}"; a text unchanged."""
    return value if isinstance(value, str) else pattern.format(value)


def tiny(value: float) -> str:
    """Format a relative error: "6.6e-6"."""
    return f"{value:.1e}".replace("e-0", "e-") if value else "0"


def share(value: float | str) -> str:
    """Format a share of 1 in percent."""
    if isinstance(value, float) and 0 < value < 0.001:
        return "under 0.1 %"
    return shown(value if isinstance(value, str) else 100 * value, "{:.1f} %")


def spread(values: Sequence[float], pattern: str = "{:.2f}") -> str:
    """Format the smallest and the largest value."""
    return f"{pattern.format(min(values))} to {pattern.format(max(values))}"
