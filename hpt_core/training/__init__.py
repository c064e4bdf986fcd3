"""The trainer. It knows no algorithm: the estimator supplies rows, weights and the loss."""

VERSION = 5
"""Part of a training stage's fingerprint. Raise it when the same config would train a different model."""
