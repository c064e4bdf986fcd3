"""A check of a machine with one GPU: `python -m bench.speed.gpu`.

It needs PyTorch with CUDA and transformers, but neither vLLM nor a network. wheels.py provides the missing packages.
"""
