"""Chains of two operations of one kind."""

from benchmarks.procedural import level

SUITE = level(2)
