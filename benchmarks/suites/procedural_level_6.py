"""Chains of six operations of one kind."""

from benchmarks.procedural import level

SUITE = level(6)
