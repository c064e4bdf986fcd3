"""A: the advantage estimate."""
