"""The computations that bench.speed.logprobs compares."""

import torch

from bench.speed import _logprobs


def test_the_ways_agree() -> None:
    threads = torch.get_num_threads()
    errors = _logprobs.measure("errors", tokens=40, vocabulary=300, hidden=16, threads=threads)
    assert errors.keys() == {"tiled", "plain"}
    assert max(errors["tiled"].values()) < 1e-5
    for way in _logprobs.WAYS:
        found = _logprobs.measure(way, tokens=70, vocabulary=300, hidden=16, threads=threads)
        assert found["seconds"] > 0
        assert found["peak_gib"] < 1
