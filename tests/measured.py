"""The columns of a training log that differ between any two runs."""

from hpt_core import schemas

MEASURED = frozenset(name for name in schemas.TRAIN_LOG.names if "second" in name or "memory" in name)
"""What the clock and the machine give."""
