"""Benchmarks: `bench.parity` checks that we agree with other packages, `bench.speed` measures speed and memory.

docs/benchmarks.md shows the results.
"""
