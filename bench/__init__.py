"""Measurements: agreement with other packages (`bench.parity`), speed against them and against ourselves
(`bench.speed`). docs/benchmarks.md shows what was found."""
