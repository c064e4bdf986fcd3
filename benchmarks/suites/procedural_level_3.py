"""Chains of three operations of one kind."""

from benchmarks.procedural import level

SUITE = level(3)
