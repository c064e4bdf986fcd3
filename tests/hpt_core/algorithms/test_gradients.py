"""The gradient of each algorithm's surrogate equals the gradient of its textbook loss, in float64."""

import ast
import importlib.util
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor

from hpt_core.config import AlgorithmConfig
from hpt_core.upge.base import DEMONSTRATION, Group, TokenBatch
from hpt_core.upge.estimator import Estimator

_path = Path(__file__).with_name("textbook.py")
_spec = importlib.util.spec_from_file_location("textbook", _path)
textbook = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(textbook)

VOCABULARY = 5
MAX_LENGTH = 7
RATIOS = (0.05, 0.5, 0.79, 0.81, 1.0, 1.19, 1.21, 2.0, 9.0)
"""pi_theta / pi_old: on both sides of every clip bound."""


@dataclass
class Problem:
    """Questions with rewards and tokens; `logits` [R, T, V] of every response in order, demonstration last."""

    groups: list[Group]
    tokens: Tensor
    logits: Tensor
    old_logprobs: Tensor

    def spans(self) -> dict[tuple[int, int], tuple[int, int]]:
        """(question, index) -> (row of `logits`, length)."""
        keys = [
            ((q, i), length)
            for q, g in enumerate(self.groups)
            for i, length in [*enumerate(g.lengths), (DEMONSTRATION, g.demonstration_length)]
        ]
        return {key: (row, length) for row, (key, length) in enumerate(keys)}

    def questions(self, logits: Tensor) -> list:
        """The same for the textbook, on `logits`."""
        spans = self.spans()

        def response(q: int, i: int, reward: float):
            row, t = spans[q, i]
            return textbook.Response(reward, self.tokens[row, :t], logits[row, :t], self.old_logprobs[row, :t])

        return [
            textbook.Question([response(q, i, r) for i, r in enumerate(g.rewards)], response(q, DEMONSTRATION, 1.0))
            for q, g in enumerate(self.groups)
        ]


def make_problem(rewards: list[list[float]], lengths: list[list[int]], seed: int) -> Problem:
    """`lengths` holds each rollout's and, last, the demonstration's. Ratios walk through RATIOS in a seeded order."""
    generator = torch.Generator().manual_seed(seed)
    groups = [
        Group(f"q{i}", tuple(r), tuple(n[:-1]), n[-1]) for i, (r, n) in enumerate(zip(rewards, lengths, strict=True))
    ]
    shape = (sum(map(len, lengths)), max(map(max, lengths)))
    logits = 2 * torch.randn(*shape, VOCABULARY, generator=generator, dtype=torch.float64)
    tokens = torch.randint(VOCABULARY, shape, generator=generator)
    walk = itertools.cycle(random.Random(seed).sample(RATIOS, len(RATIOS)))
    ratios = torch.tensor([next(walk) for _ in range(tokens.numel())], dtype=torch.float64).reshape(shape)
    logprobs = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
    return Problem(groups, tokens, logits, logprobs - ratios.log())


def our_gradient(algorithm: dict, problem: Problem, order_seed: int = 0, only_active: bool = False) -> Tensor:
    """[R, T, V] gradient of the surrogate, accumulated over a random split of the rows into micro-batches."""
    estimator = Estimator(TypeAdapter(AlgorithmConfig).validate_python(algorithm), max_length=MAX_LENGTH)
    rows = [(q, row) for q, group in enumerate(problem.groups) for row in estimator.rows(group)]
    update = estimator.update([row for _, row in rows])
    rng = random.Random(order_seed)
    order = list(update.active) if only_active else list(range(len(rows)))
    rng.shuffle(order)
    logits = problem.logits.clone().requires_grad_()
    spans = problem.spans()
    while order:
        batch, order = order[: (size := rng.randint(1, len(order)))], order[size:]
        chosen = [spans[rows[i][0], rows[i][1].index] for i in batch]
        log_policy = torch.cat([logits[row, :t].log_softmax(-1) for row, t in chosen])
        tokens = torch.cat([problem.tokens[row, :t] for row, t in chosen])
        out = update.loss(
            TokenBatch(
                logprobs=log_policy.gather(-1, tokens[:, None])[:, 0],
                entropies=-(log_policy.exp() * log_policy).sum(-1),
                old_logprobs=torch.cat([problem.old_logprobs[row, :t] for row, t in chosen]),
                row_ids=torch.cat([torch.full((t,), r) for r, (_, t) in enumerate(chosen)]),
            ),
            batch,
        )
        out.loss.backward()
    return torch.zeros_like(logits) if logits.grad is None else logits.grad


def textbook_gradient(loss: Callable[[list], Tensor], problem: Problem) -> Tensor:
    """[R, T, V] gradient of a textbook loss."""
    logits = problem.logits.clone().requires_grad_()
    value = loss(problem.questions(logits))
    if not value.requires_grad:
        return torch.zeros_like(logits)
    (gradient,) = torch.autograd.grad(value, logits)
    return gradient


def _hpt(normalisation: str, gamma: float, c: float, clip: bool, bonus: bool):
    algorithm = {
        "name": "hpt",
        "normalisation": normalisation,
        "gate": {"name": "switch", "gamma": gamma},
        "sft_coefficient": c,
        "rl": {} if clip else {"stabilization_mask": "none"},
        "regularisers": ["entropy"] if bonus else [],
    }
    form = getattr(textbook, f"hpt_{normalisation}")

    def loss(questions: list) -> Tensor:
        value = form(questions, MAX_LENGTH, gamma, c, textbook.clipped if clip else textbook.unclipped)
        return value + textbook.entropy_bonus(questions, gamma, 0.001) if bonus else value

    return algorithm, loss


CASES = {
    "sft": ({"name": "sft"}, textbook.sft_token_mean),
    "sft-sequence": ({"name": "sft", "sft": {"aggregation": "sequence_mean"}}, textbook.sft_sequence_mean),
    "grpo": ({"name": "grpo"}, textbook.grpo),
    "dr_grpo": ({"name": "dr_grpo"}, lambda questions: textbook.dr_grpo(questions, MAX_LENGTH)),
    "dr_grpo-unclipped": (
        {"name": "dr_grpo", "rl": {"stabilization_mask": "none"}},
        lambda questions: textbook.dr_grpo(questions, MAX_LENGTH, textbook.unclipped),
    ),
    **{
        f"hpt-{form}-gamma{gamma}-c{c}-{'clip' if clip else 'noclip'}{'-entropy' if bonus else ''}": _hpt(
            form, gamma, c, clip, bonus
        )
        for form in ("fixed_length", "paper", "script")
        for gamma, c, clip, bonus in [
            (0.0, 1.0, True, False),
            (0.25, 0.3, True, False),
            (0.0, 1.0, False, True),
            (0.5, 0.3, True, True),
        ]
    },
}

MIXED = make_problem(
    rewards=[[1, 0, 0, 1, 0], [0, 0, 0], [1, 1, 1], [0, 1], [1, 0, 0, 0]],
    lengths=[[6, 3, 7, 5, 7, 4], [2, 5, 1, 7], [4, 1, 6, 2], [7, 7, 1], [5, 6, 3, 7, 3]],
    seed=1,
)


def close(ours: Tensor, reference: Tensor) -> None:
    torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-13)


def test_textbook_shares_nothing_with_the_product() -> None:
    imported = [
        node for node in ast.walk(ast.parse(_path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    modules = {getattr(node, "module", None) or node.names[0].name for node in imported}
    assert modules == {"dataclasses", "torch", "torch.nn.functional"}


def test_problem_lies_on_both_sides_of_each_bound_with_both_signs() -> None:
    seen = set()
    for question in MIXED.questions(MIXED.logits):
        for rollout, advantage in zip(question.rollouts, question.centred(), strict=True):
            for ratio in textbook.ratios(rollout).tolist():
                side = "below" if ratio < 0.8 else "above" if ratio > 1.2 else "within"
                seen.add((side, (advantage > 0) - (advantage < 0)))
    assert seen >= set(itertools.product(("below", "within", "above"), (-1, 1)))


@pytest.mark.parametrize("case", CASES)
def test_gradient_is_the_textbook_one(case: str) -> None:
    algorithm, loss = CASES[case]
    reference = textbook_gradient(loss, MIXED)
    assert reference.abs().max() > 1e-4
    close(our_gradient(algorithm, MIXED), reference)


@pytest.mark.parametrize("case", CASES)
def test_skipping_inactive_rows_changes_nothing(case: str) -> None:
    algorithm, loss = CASES[case]
    close(our_gradient(algorithm, MIXED, only_active=True), textbook_gradient(loss, MIXED))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    length = st.integers(1, 5)
    rewards, lengths = [], []
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(1, 5))
        kind = draw(st.sampled_from(["right", "wrong", "any"]))
        rewards.append([{"right": 1.0, "wrong": 0.0, "any": float(draw(st.booleans()))}[kind] for _ in range(n)])
        lengths.append([draw(length) for _ in range(n + 1)])
    return make_problem(rewards, lengths, draw(st.integers(0, 2**16)))


@pytest.mark.parametrize("case", CASES)
@given(problem=problems(), split=st.integers(0, 2**16))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_gradient_is_the_textbook_one_for_any_shape_and_split(case: str, problem: Problem, split: int) -> None:
    algorithm, loss = CASES[case]
    close(our_gradient(algorithm, problem, order_seed=split), textbook_gradient(loss, problem))


@pytest.mark.parametrize("case", CASES)
def test_gradient_matches_finite_differences_of_the_textbook_loss(case: str) -> None:
    algorithm, loss = CASES[case]
    ours = our_gradient(algorithm, MIXED, order_seed=5)
    rng = random.Random(3)
    step = 1e-5
    largest = ours.abs().flatten().topk(5).indices.tolist()
    for flat in [*largest, *rng.sample(range(ours.numel()), 15)]:
        shift = torch.zeros(ours.numel(), dtype=torch.float64)
        shift[flat] = step
        up, down = (loss(MIXED.questions(MIXED.logits + s * shift.view_as(ours))).item() for s in (1, -1))
        assert (up - down) / (2 * step) == pytest.approx(ours.flatten()[flat].item(), abs=1e-8, rel=1e-6)


@pytest.mark.parametrize("rewards", [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.1, 0.1, 0.1]])
@pytest.mark.parametrize("name", ["grpo", "dr_grpo"])
def test_groups_without_contrast_give_exactly_zero(name: str, rewards: list[float]) -> None:
    problem = make_problem([rewards] * 2, [[3, 1, 4, 2]] * 2, seed=0)
    assert torch.count_nonzero(our_gradient({"name": name}, problem)) == 0


def test_ratio_that_overflows_is_stopped_by_the_clip_without_nan() -> None:
    problem = make_problem([[1, 0]], [[3, 3, 1]], seed=0)
    problem.old_logprobs[0] = -2000.0
    gradient = our_gradient({"name": "grpo"}, problem)
    assert gradient.isfinite().all()
    assert torch.count_nonzero(gradient[0]) == 0
    assert torch.count_nonzero(gradient[1]) > 0
