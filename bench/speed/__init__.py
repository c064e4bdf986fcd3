"""Our speed and memory, against others and against itself: `python -m bench.speed`."""
