"""Write the tables of the documents from the records in bench/results/: `python -m bench.tables`.

A table is between `<!-- table: NAME -->` and `<!-- end -->`. Everything between these two lines is replaced.
"""

import re
from collections.abc import Callable
from pathlib import Path

from bench import records
from bench.failures import __main__ as failures
from bench.machine import ROOT
from bench.parity import alarms, balance, graders, gradients
from bench.records import Record
from bench.scale import planning, prefect, simulation, slices, stages
from bench.speed import catalog, evaluation, grading, logprobs, phases, preparation, sharing, step
from bench.speed.gpu import __main__ as gpu

DOCUMENTS = tuple(
    ROOT / "docs" / name for name in ("benchmarks.md", "explanation/scaling.md", "explanation/algorithms.md")
)
TABLES: dict[str, Callable[[Record], str]] = {
    "gradients": gradients.table,
    "graders": graders.table,
    "alarms": alarms.table,
    "balance": balance.table,
    "step": step.table,
    "logprobs": logprobs.table,
    "phases": phases.table,
    "evaluation": evaluation.table,
    "sharing": sharing.table,
    "grading": grading.table,
    "preparation": preparation.table,
    "catalog": catalog.table,
    "gpu": gpu.table,
    "stages": stages.table,
    "planning": planning.table,
    "slices": slices.table,
    "prefect": prefect.table,
    "simulation": simulation.table,
    "failures": failures.table,
}
"""Name of the record -> the function that formats it."""
BLOCK = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, results: Path = records.RESULTS) -> str:
    """The document with every table replaced. Raises KeyError for an unknown table."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{_shown(block[2], results)}\n\n{block[3]}", text)


def _shown(name: str, results: Path) -> str:
    show, path = TABLES[name], results / f"{name}.json"
    if not path.exists():
        return "Not measured yet."
    record = records.read(path)
    return f"{show(record)}\n\n{record.provenance}"


def main() -> None:
    """Update the tables of the documents from bench/results/."""
    from hpt_core.files import write_text

    for document in DOCUMENTS:
        write_text(document, filled(document.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
