"""Prompts, one file each. The same prompt serves data preparation, rollouts and evaluation."""

VERSION = 2
"""Part of the fingerprints of data, training and samples. Raise it when a config would give other text or tokens."""
