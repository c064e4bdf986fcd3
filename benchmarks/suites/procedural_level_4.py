"""Chains of four operations of one kind."""

from benchmarks.procedural import level

SUITE = level(4)
