"""Kinds of stages, one per file: model, benchmark, data, contamination, train, average, evaluate, report, publish."""
