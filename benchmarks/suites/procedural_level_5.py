"""Chains of five operations of one kind."""

from benchmarks.procedural import level

SUITE = level(5)
