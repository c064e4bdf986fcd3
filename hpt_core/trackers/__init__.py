"""Trackers: services to which the training log is mirrored during a run. One file per service."""

from hpt_core.trackers._mirror import Trackers, check_all, open_all

__all__ = ["Trackers", "check_all", "open_all"]
