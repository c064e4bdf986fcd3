"""Disturb a small pipeline in every way that a night may bring, and record what becomes of it."""
