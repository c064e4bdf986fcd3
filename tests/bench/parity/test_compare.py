"""The comparison of gradients."""

import pytest
import torch

from bench.parity import tiny
from bench.parity.compare import difference, of_weights, our_logprobs


def test_a_difference_is_relative_to_the_largest_element() -> None:
    theirs, ours = torch.tensor([1.0, -4.0]), torch.tensor([1.0, -3.0], dtype=torch.float64)
    found = difference("grpo", "model", [(theirs, ours), (torch.zeros(3), torch.zeros(3))], clipped=5)
    assert (found.absolute, found.relative, found.elements, found.clipped) == (1.0, 0.25, 5, 5)


@pytest.mark.parametrize(("ours", "problem"), [(None, "missing"), (torch.zeros(1), "zero")])
def test_a_comparison_that_proves_nothing_exits(ours: torch.Tensor | None, problem: str) -> None:
    with pytest.raises(SystemExit, match=problem):
        difference("grpo", "model", [(torch.zeros(1), ours)], clipped=None)


def test_padding_does_not_count() -> None:
    model = tiny.doubled(tiny.model())
    inputs = {
        "prompt_ids": torch.tensor([[0, 5, 6], [4, 5, 6]]),
        "prompt_mask": torch.tensor([[0, 1, 1], [1, 1, 1]]),
        "completion_ids": torch.tensor([[7, 8], [9, 0]]),
        "completion_mask": torch.tensor([[1, 1], [1, 0]]),
    }
    logprobs, entropies = our_logprobs(model, inputs)
    assert logprobs.shape == entropies.shape == (3,)
    alone = torch.log_softmax(model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits[0], dim=-1)
    assert torch.allclose(logprobs[:2], torch.stack([alone[1, 7], alone[2, 8]]))
    logprobs.sum().backward()
    assert all(ours is not None for _, ours in of_weights(model, model))


def test_rewards_cover_every_kind_of_group() -> None:
    rewards = torch.tensor(tiny.rewards()).view(tiny.GROUPS, tiny.ROLLOUTS).sum(1).tolist()
    assert rewards == [1, tiny.ROLLOUTS // 2, tiny.ROLLOUTS - 1, tiny.ROLLOUTS]
    assert len(tiny.prompts()) == tiny.GROUPS
