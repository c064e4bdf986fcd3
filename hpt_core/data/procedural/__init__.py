"""Generated problems with worked solutions: one family per file."""

VERSION = 1
"""Raise it when the same families and seeds would give other problems. Fingerprints include each family's code."""
