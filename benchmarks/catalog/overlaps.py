"""How many questions of a benchmark overlap the training data of a model, of all its stages."""

import numpy as np
import numpy.typing as npt

from benchmarks.catalog.tables import Tables

SHARE = 0.2
"""A question overlaps if training questions, or demonstrations, contain at least this share of its n-grams. A report
has that of its config (`report.overlap_share`). Here it is that field's default for all: a column holds models of
several pipelines, whose marks would otherwise mean different things."""


class Overlaps:
    """The overlaps that the catalog has, by model and benchmark."""

    def __init__(self, tables: Tables) -> None:
        self._shares: dict[tuple[str, str], npt.NDArray[np.float64]] = {}
        for row in tables.overlaps.to_pylist():  # the oldest come first
            self._shares[row["data"], row["benchmark_hash"]] = np.array(row["overlaps"])
        self._made: dict[str, tuple[list[str], list[str]]] = {}
        for row in tables.models.select(["model", "parents", "data"]).to_pylist():
            self._made[row["model"]] = row["parents"], row["data"]

    def of(self, model: str, benchmark_hash: str) -> int | None:
        """Questions that overlap; None if no training data is known, or if some of it was not checked."""
        data = self._data(model)
        found = [self._shares.get((each, benchmark_hash)) for each in data]
        known = [shares for shares in found if shares is not None]
        if not known or len(known) < len(found) or len({len(shares) for shares in known}) > 1:
            return None
        return int((np.max(known, axis=0) >= SHARE).sum())

    def _data(self, model: str) -> set[str]:
        """Hashes of the training data of the model and of all that it was made from."""
        found, left, seen = set[str](), [model], set[str]()
        while left:
            one = left.pop()
            if one not in seen:
                seen.add(one)
                parents, data = self._made.get(one, ([], []))
                found.update(data)
                left += parents
        return found
