"""Chunked logprobs against the plain way."""

from pathlib import Path

import pytest
import torch

from hpt_core.training.batch import Tokens, collate
from hpt_core.training.logprobs import forward, token_statistics
from hpt_core.training.model import load_model

ROWS = [Tokens((1, 40, 41, 42), (50, 51, 2)), Tokens((1, 60), (61, 62, 63, 64, 65, 66, 2), temperature=0.7)]


@pytest.mark.parametrize("chunk_elements", [1, 11 * 3, 10_000])
def test_chunks_change_neither_values_nor_gradients(chunk_elements: int) -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 11, bias=False, dtype=torch.float64)
    targets, temperatures = torch.randint(11, (10,)), torch.linspace(0.5, 1.5, 10, dtype=torch.float64)
    weights = torch.randn(2, 10)
    results = []
    for plain in (True, False):
        hidden = torch.randn(10, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
        head.zero_grad()
        if plain:
            logits = head(hidden).float() / temperatures[:, None]
            distribution = torch.distributions.Categorical(logits=logits)
            logprobs, entropies = distribution.log_prob(targets), distribution.entropy()
        else:
            logprobs, entropies = token_statistics(hidden, head, targets, temperatures, chunk_elements)
        (weights[0] * logprobs + weights[1] * entropies).sum().backward()
        results.append((logprobs, entropies, hidden.grad, head.weight.grad.clone()))
    for expected, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


def test_forward_in_a_padded_batch_equals_each_row_alone(tiny_model: Path) -> None:
    model = load_model(tiny_model)
    found = forward(model, collate(ROWS), "float32")
    expected = []
    for row in ROWS:
        logits = model(torch.tensor([[*row.prompt_ids, *row.response_ids]])).logits[0]
        logprobs = (logits[len(row.prompt_ids) - 1 : -1] / row.temperature).log_softmax(-1)
        expected.append(logprobs[torch.arange(len(logprobs)), torch.tensor(row.response_ids)])
    torch.testing.assert_close(found.logprobs, torch.cat(expected), rtol=0, atol=1e-5)
    assert (found.entropies > 0).all()


def test_bfloat16_is_near_float32(tiny_model: Path) -> None:
    model = load_model(tiny_model)
    exact, rough = (forward(model, collate(ROWS), dtype).logprobs for dtype in ("float32", "bfloat16"))
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(rough, exact, rtol=0, atol=0.2)


def test_gradient_checkpointing_gives_the_same_gradient(tiny_model: Path) -> None:
    gradients = []
    for recompute in (False, True):
        model = load_model(tiny_model, gradient_checkpointing=recompute)
        forward(model, collate(ROWS), "float32").logprobs.sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)
