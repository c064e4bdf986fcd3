"""Programs that run inside a peer's environment, as `python -m bench._peers.adapters.NAME`."""
