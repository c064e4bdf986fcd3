"""The released code's loss, computed as it is there: micro-batch by micro-batch, on each GPU."""

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpt_core.algorithms.hpt import HPT
from hpt_core.upge.base import DEMONSTRATION, Group, TokenBatch
from hpt_core.upge.estimator import Estimator
from hpt_core.upge.micro_batches import MicroBatches

GPUS = 2
M = 16
LENGTH = 6
ON_GPUS = ([[0, 1], [2, 6]], [[3, 4], [5]])
"""The rows of each micro-batch, on each GPU. Row 6 is the demonstration."""
SCRIPT = HPT.model_validate(
    {
        "normalization": "script",
        "sft_coefficient": 0.3,
        "rl": {"stabilization_mask": "none", "aggregation": {"name": "constant_length", "gpus": GPUS}},
        "sft": {"aggregation": {"name": "micro_batch_mean", "micro_batches": {"gpus": GPUS, "count": 4}}},
        "regularizers": [{"name": "entropy", "micro_batches": {"gpus": GPUS, "count": 4}}],
    }
)


def test_the_script_form_is_the_sum_over_micro_batches_averaged_over_gpus() -> None:
    """Four micro-batches of equal length on two GPUs, of which one holds the only demonstration."""
    groups = [Group(f"q{i}", (1.0, 0.0), (LENGTH, LENGTH), LENGTH) for i in range(3)]
    groups += [Group("failed", (0.0, 0.0), (LENGTH, LENGTH), LENGTH)]
    estimator = Estimator(SCRIPT, max_length=M)
    rows = [row for group in groups for row in estimator.rows(group)]
    assert [row.index == DEMONSTRATION for row in rows] == [False] * 6 + [True]
    tokens = len(rows) * LENGTH
    generator = torch.Generator().manual_seed(0)
    logprobs = -torch.rand(tokens, generator=generator, dtype=torch.float64)
    entropies = torch.rand(tokens, generator=generator, dtype=torch.float64)
    mine = [x.clone().requires_grad_() for x in (logprobs, entropies)]
    ids = torch.arange(len(rows)).repeat_interleave(LENGTH)
    update = estimator.update(rows)
    update.loss(TokenBatch(mine[0], ids, logprobs.clone(), mine[1]), list(range(len(rows)))).loss.backward()

    theirs = [x.clone().requires_grad_() for x in (logprobs, entropies)]
    advantage = [0.5, -0.5] * 3
    total = torch.zeros((), dtype=torch.float64)
    for micro_batches in ON_GPUS:
        for micro_batch in micro_batches:
            for row in (r for r in micro_batch if r < 6):
                own = slice(row * LENGTH, (row + 1) * LENGTH)
                total = total - (advantage[row] * (theirs[0][own] - logprobs[own]).exp()).sum() / M / GPUS
            if 6 in micro_batch:
                total = total - 0.3 * theirs[0][6 * LENGTH :].mean() / GPUS
    total.backward()
    assert torch.allclose(mine[0].grad, theirs[0].grad, rtol=1e-12)
    # Entropy: four means, averaged over two GPUs, of micro-batches that count as equally long.
    assert torch.allclose(mine[1].grad, torch.full_like(entropies, -0.001 * 4 / GPUS / tokens), rtol=1e-12)


@given(count=st.integers(1, 40), rows=st.integers(1, 60))
def test_the_expected_number_of_micro_batches_with_a_demonstration(count: int, rows: int) -> None:
    found = MicroBatches(count=count).with_any(rows, 1)
    assert min(1.0, rows) <= found + 1e-9 and found <= min(count, rows) + 1e-9
    draw = random.Random(count * 100 + rows)
    seen = [len({draw.randrange(count) for _ in range(rows)}) for _ in range(400)]
    # The standard deviation of one number is below sqrt(count) / 2.
    assert abs(sum(seen) / 400 - found) <= 5 * math.sqrt(count) / 2 / math.sqrt(400)


def test_micro_batches_follow_the_token_budget() -> None:
    assert MicroBatches().of_update(1) == 8
    assert MicroBatches().of_update(8 * 32_768 + 1) == 9
    assert MicroBatches(count=3).of_update(10**6) == 3


def test_the_scripts_weight_of_a_demonstration_token_is_that_of_the_released_code() -> None:
    """At the paper's sizes: the weight of an SFT token relative to an RL token, by the share of questions gated."""
    estimator = Estimator(HPT(normalization="script"), max_length=8192)
    relative = {}
    for gated in (8, 32, 56):
        failed = [Group(f"f{i}", (0.0,) * 8, (2000,) * 8, 4000) for i in range(gated)]
        solved = [Group(f"s{i}", (1.0,) + (0.0,) * 7, (2000,) * 8, 4000) for i in range(64 - gated)]
        update = estimator.update([row for group in (*failed, *solved) for row in estimator.rows(group)])
        relative[gated] = update.token_weight("sft") / update.token_weight("rl")
    assert math.isnan(estimator.update([]).token_weight("sft"))
    # K M / tokens: 8192 / 4000 for one demonstration in each of its micro-batches, less if they share some.
    assert relative[8] == pytest.approx(8192 / 4000 * 27 * (1 - (26 / 27) ** 8) / 8, rel=0.05)
    assert 0.4 < relative[56] < relative[32] < relative[8] < 2.05
