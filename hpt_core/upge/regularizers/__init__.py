"""Terms on every token of an update."""
