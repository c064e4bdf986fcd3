"""Algorithms as compositions of a gate, signals and regularizers. One file per algorithm."""
