"""Algorithms as compositions of a gate, signals and regularizers. One algorithm a file."""
