"""Support for comparisons with other packages: their environments, a vLLM server, processes that take turns, the
shared workload, and the adapters that run inside the environments."""
