"""Model sources: one file a source (hub, folder, scratch), and the program that makes a model folder of one."""

NOT_PLUGINS = frozenset({"materialize", "fetch"})
"""Modules here that are not sources."""
