"""What comparisons with other packages need: environments of their own, a server, processes that take turns, the work
that all are given, and the adapters that run inside those environments."""
