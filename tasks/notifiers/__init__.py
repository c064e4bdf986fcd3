"""Notifiers, which tell people how a run ended."""
