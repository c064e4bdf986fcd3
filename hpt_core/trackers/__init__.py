"""Trackers: where the training log is mirrored to while a run goes on. One service a file."""

from hpt_core.trackers._mirror import Mirror, check_all, open_all

__all__ = ["Mirror", "check_all", "open_all"]
