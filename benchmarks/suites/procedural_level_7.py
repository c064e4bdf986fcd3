"""Chains of seven operations of one kind, which is longer than in any shipped training."""

from benchmarks.procedural import level

SUITE = level(7, "out")
