"""Problems made by programs, with worked solutions: one family a file."""

VERSION = 1
"""Raised where the same families and seeds would give other problems; a family's own code counts by itself."""
