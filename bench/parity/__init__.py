"""Agreement with others: `python -m bench.parity`."""
