"""Agreement with other packages: `python -m bench.parity`."""
