"""Model sources, one file each (hub, folder, scratch), and the program that makes a model folder from one."""

NOT_PLUGINS = frozenset({"materialize", "fetch"})
"""Modules of this package that are not sources."""
