"""Kinds of stages, one per file; `hpt list stages` prints them."""
