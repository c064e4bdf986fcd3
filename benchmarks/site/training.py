"""Data of training curves: what a model's training logged, thinned out to what a figure can show."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables
from benchmarks.curves import CURVES, last_steps, steps_per_point, thinned
from benchmarks.site.facts import rounded, short_id
from hpt_core.artifacts import Store
from hpt_core.errors import StoreError

LOG = logging.getLogger("hpt.site")
FIGURES = {
    **CURVES,
    "truncated_share": "Share of truncated rollouts",
    "clipped_share": "Share of masked tokens",
    "mismatch_kl": "KL of engine and trainer, nats",
    "tokens_per_second": "Tokens per second",
}
SIGNAL = "Tokens that the signal {} trained on"
"""Title of a signal's figure. Its part of the surrogate is not plotted: only the gradient of it is meaningful. The
textbook loss of demonstrations is their negative log-likelihood, which CURVES has."""


class StoredLog(NamedTuple):
    """Where the log of a model's training is."""

    kind: str
    fingerprint: str
    hash: str
    """Hash of its content."""


class TrainingLogs:
    """The training logs of a store, by the content hash of the model."""

    def __init__(self, store: Store, tables: Tables) -> None:
        self._store = store
        self._logs: dict[str, StoredLog] = {}
        for row in tables.made_models.select(["kind", "fingerprint", "outputs"]).to_pylist():
            outputs = {each["name"]: each["hash"] for each in row["outputs"] or ()}
            if outputs.keys() >= {"model", "log"}:
                self._logs[outputs["model"]] = StoredLog(row["kind"], row["fingerprint"], outputs["log"])

    def models(self) -> Iterable[tuple[str, StoredLog]]:
        """(model, its log) of every model with a log."""
        return self._logs.items()

    def data(self, model: str) -> Row | None:
        """Data of data/training/ID.json: the steps, and title and values of each curve; null where nothing was logged.

        None if the store no longer has the log, or if it is damaged, which is logged.
        """
        log = self._logs.get(model)
        slot = None if log is None else self._store.slot(log.kind, log.fingerprint)
        if slot is None or slot.manifest() is None:
            return None
        try:
            slot.fetch("log.parquet")
            return curves(slot.output / "log.parquet")
        except StoreError as error:
            LOG.warning("the site has no training curves of %s: %s", short_id(model), error.cause)
            return None


def curves(path: Path) -> Row:
    """The curves of a training log. A point of a long one is the mean over its steps. Raises StoreError."""
    try:
        schema = pq.read_schema(path)
        table = pq.read_table(path, columns=[n for n in ("step", "signals", *FIGURES) if n in schema.names])
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"cannot read {path}: {str(error).splitlines()[0]}", "train again") from error
    width = steps_per_point(table.num_rows)
    values = {t: table.column(n).to_pylist() for n, t in FIGURES.items() if n in table.column_names}
    values |= _by_signal(table.column("signals").to_pylist() if "signals" in table.column_names else [])
    found = {title: thinned(each, width) for title, each in values.items()}
    return {
        "steps": last_steps(table.column("step").to_pylist(), width),
        "steps_per_point": width,
        "curves": [[t, list(map(rounded, vs))] for t, vs in found.items() if any(v is not None for v in vs)],
    }


def _by_signal(steps: Sequence[Sequence[Row]]) -> dict[str, list[float | None]]:
    """Title -> tokens of a signal at each step."""
    names = dict.fromkeys(signal["signal"] for signals in steps for signal in signals)
    tokens = [{signal["signal"]: signal["tokens"] for signal in signals} for signals in steps]
    return {SIGNAL.format(name): [each.get(name, 0) for each in tokens] for name in names}
