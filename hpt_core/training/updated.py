"""The statistics of an update, and the dump of an update that failed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from hpt_core.files import write_parquet
from hpt_core.training.batch import Tokens
from hpt_core.training.sync import Differences
from hpt_core.upge.estimator import Update


@dataclass
class Updated:
    """Statistics of one update."""

    loss: float = 0.0
    norm: float = 0.0
    skipped: bool = False
    tokens: int = 0
    """Response tokens in forward passes with gradient."""
    demonstration_nats: float = 0.0
    """Sum of -log pi over demonstration tokens. It is computed separately because only the gradient of the estimator's
    loss is meaningful, not its value."""
    demonstration_tokens: int = 0
    metrics: Counter[str] = field(default_factory=Counter)
    """Sums of LossOutput.metrics."""
    differences: Differences = field(default_factory=Differences)
    """Engine against trainer in this pass; empty if a separate pass computed the old log-probabilities."""

    def add(self, other: "Updated") -> None:
        """Add another rank's share."""
        self.loss += other.loss
        self.tokens += other.tokens
        self.demonstration_nats += other.demonstration_nats
        self.demonstration_tokens += other.demonstration_tokens
        self.metrics.update(other.metrics)
        self.differences.add(other.differences)


def dump(path: Path, update: Update, tokens: Sequence[Tokens]) -> None:
    """Write the rows of an update with their signals and token ids."""
    rows = [
        {
            "question_id": row.question_id,
            "index": row.index,
            "signals": [{"name": s.name, "coefficient": s.coefficient, "advantage": s.advantage} for s in row.signals],
            "prompt_ids": mine.prompt_ids,
            "response_ids": mine.response_ids,
        }
        for row, mine in zip(update.rows, tokens, strict=True)
    ]
    write_parquet(path, pa.Table.from_pylist(rows))
