"""The trainer: it executes what the estimator says and knows no algorithm."""

VERSION = 3
"""Part of a training stage's fingerprint: raised where the same config would train another model."""
