"""Trackers: services to which the training log is mirrored during a run. One file per service."""

from hpt_core.trackers._mirror import Mirror, check_all, open_all

__all__ = ["Mirror", "check_all", "open_all"]
