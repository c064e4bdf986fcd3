"""Sources of the real benchmarks' questions: a file in a local folder, or a file of a Hub dataset."""
