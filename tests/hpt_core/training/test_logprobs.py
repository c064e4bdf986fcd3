"""Chunked logprobs against the plain way."""

from pathlib import Path

import pytest
import torch

from hpt_core.training.batch import Tokens, collate
from hpt_core.training.logprobs import token_statistics
from hpt_core.training.model import load_model
from hpt_core.training.policy import forward, make_policy

ROWS = [
    Tokens((1, 40, 41, 42), (50, 51, 2)),
    Tokens((1, 60), (61, 62, 63, 64, 65, 66, 2), temperature=0.7),
    Tokens((1, 40, 41, 42), (2,)),
    Tokens((1, 40, 41, 42), (52, 53, 54, 2), temperature=1.3),
]


@pytest.mark.parametrize("used", ["both", "logprobs", "entropies"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tile_elements", [1, 11 * 3, 10_000])
@pytest.mark.parametrize("hottest", [1.0, 1.5])
def test_chunks_change_neither_values_nor_gradients(tile_elements: int, bias: bool, used: str, hottest: float) -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 11, bias=bias, dtype=torch.float64)
    targets, temperatures = torch.randint(11, (10,)), torch.linspace(2 - hottest, hottest, 10, dtype=torch.float64)
    given = None if hottest == 1 else temperatures
    weights = torch.randn(2, 10, dtype=torch.float64)
    results = []
    for plain in (True, False):
        hidden = torch.randn(10, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
        head.zero_grad()
        if plain:
            distribution = torch.distributions.Categorical(logits=head(hidden) / temperatures[:, None])
            logprobs, entropies = distribution.log_prob(targets), distribution.entropy()
        else:
            logprobs, entropies, _ = token_statistics(hidden, head, targets, given, tile_elements)
        terms = {"logprobs": (weights[0] * logprobs).sum(), "entropies": (weights[1] * entropies).sum()}
        (sum(terms.values()) if used == "both" else terms[used]).backward()
        gradients = [hidden.grad, *(p.grad.clone() for p in head.parameters())]
        results.append((logprobs, entropies, *gradients))
    for expected, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-13)


def test_forward_in_a_padded_or_packed_batch_equals_each_row_alone(tiny_model: Path) -> None:
    model = load_model(tiny_model)
    policy = make_policy(model, "float32")
    padded, packed = (forward(policy, collate(ROWS, packed=packed)) for packed in (False, True))
    expected = []
    for row in ROWS:
        logits = model(torch.tensor([[*row.prompt_ids, *row.response_ids]])).logits[0]
        logprobs = (logits[len(row.prompt_ids) - 1 : -1] / row.temperature).log_softmax(-1)
        expected.append(logprobs[torch.arange(len(logprobs)), torch.tensor(row.response_ids)])
    for found in (padded, packed):
        torch.testing.assert_close(found.logprobs, torch.cat(expected), rtol=0, atol=1e-5)
        assert (found.entropies > 0).all()
        assert found.values is None


def test_packed_gradient_equals_that_of_padded_rows(tiny_model: Path) -> None:
    gradients = []
    for packed in (False, True):
        model = load_model(tiny_model)
        found = forward(make_policy(model, "float32"), collate(ROWS, packed=packed))
        weights = torch.linspace(-1, 1, len(found.logprobs))
        (weights * found.logprobs + 0.1 * found.entropies).sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("packed", [False, True])
def test_bfloat16_is_near_float32(tiny_model: Path, packed: bool) -> None:
    model = load_model(tiny_model)
    exact, rough = (
        forward(make_policy(model, dtype), collate(ROWS, packed=packed)).logprobs for dtype in ("float32", "bfloat16")
    )
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(rough, exact, rtol=0, atol=0.2)


def test_shards_gathered_without_a_backward_pass_are_freed(tiny_model: Path) -> None:
    """A later pass would compute with them, whatever an update changed meanwhile."""
    policy = make_policy(load_model(tiny_model), "float32")
    calls: list[str] = []
    policy.reshard = lambda: calls.append("reshard")
    forward(policy, collate(ROWS))
    assert not calls
    with torch.no_grad():
        forward(policy, collate(ROWS))
    assert calls == ["reshard"]


def test_gradient_checkpointing_gives_the_same_gradient(tiny_model: Path) -> None:
    gradients = []
    for recompute in (False, True):
        model = load_model(tiny_model, gradient_checkpointing=recompute)
        forward(make_policy(model, "float32"), collate(ROWS)).logprobs.sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)
