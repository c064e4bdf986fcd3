"""Where the questions of the real benchmarks come from: a file in a folder, or a file of a Hub dataset."""
