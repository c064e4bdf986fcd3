"""Kinds of stages, one a file: model, benchmark, data, contamination, train, average, evaluate, report, publish."""
