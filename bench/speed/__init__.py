"""Speed and memory, alone and against other packages: `python -m bench.speed`."""
