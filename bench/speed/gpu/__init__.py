"""One prepared check for a bare machine with one GPU: `python -m bench.speed.gpu`. It needs PyTorch with CUDA and
transformers, but neither vLLM nor a network; wheels.py carries along what else is missing."""
