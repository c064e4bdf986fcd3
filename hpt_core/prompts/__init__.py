"""Prompts: one file a prompt, the same for data preparation, rollouts and evaluation."""

VERSION = 1
"""Part of the fingerprints of data, training and samples: raised where the same config would give another text or other
tokens."""
