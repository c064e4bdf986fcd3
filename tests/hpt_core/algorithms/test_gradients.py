"""The gradient of each algorithm's surrogate equals the gradient of its textbook loss, in float64."""

import ast
import importlib.util
import itertools
import random
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor

from hpt_core.gates.base import Gate
from hpt_core.upge import parts
from hpt_core.upge.algorithm import Algorithm
from hpt_core.upge.base import DEMONSTRATION, Group, TokenBatch
from hpt_core.upge.estimator import Estimator

_path = Path(__file__).with_name("textbook.py")
_spec = importlib.util.spec_from_file_location("textbook", _path)
textbook = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(textbook)

ALGORITHMS = Algorithm.plugin_kind.names
PARTS = {
    "stabilization_mask": parts.StabilizationMask,
    "reference_policy": parts.ReferencePolicy,
    "advantage": parts.Advantage,
    "likelihood_gradient": parts.LikelihoodGradient,
    "aggregation": parts.Aggregation,
    "regularizers": parts.Regularizer,
}
VOCABULARY = 5
MAX_LENGTH = 7
FAR = (0.05, 0.5, 0.79, 0.81, 1.0, 1.19, 1.21, 1.27, 1.29, 2.0, 9.0)
"""pi_theta / pi_old of tokens: on both sides of every token clip's bounds."""
NEAR = (0.997, 0.9988, 0.999, 0.9995, 0.9998, 1.0, 1.0002, 1.0007, 1.0012, 1.0015, 1.0035)
"""The same, such that the ratios of sequences lie on both sides of GSPO's bounds."""


@dataclass
class Problem:
    """Questions with rewards and tokens; tensors hold every response in order, each question's demonstration last."""

    groups: list[Group]
    tokens: Tensor
    """[R, T] int64."""
    logits: Tensor
    """[R, T, V]; the toy policy."""
    values: Tensor
    """[R, T]; the toy value head."""
    old_logprobs: Tensor
    old_values: Tensor
    rollout_logprobs: Tensor

    def spans(self) -> dict[tuple[int, int], tuple[int, int]]:
        """(question, index) -> (row of the tensors, length)."""
        keys = [
            ((q, i), length)
            for q, g in enumerate(self.groups)
            for i, length in [*enumerate(g.lengths), (DEMONSTRATION, g.demonstration_length)]
        ]
        return {key: (row, length) for row, (key, length) in enumerate(keys)}

    def questions(self, logits: Tensor, values: Tensor) -> list:
        """The same for the textbook, on `logits` and `values`."""
        spans = self.spans()

        def response(q: int, i: int, reward: float):
            row, t = spans[q, i]
            mine = (self.old_logprobs, self.rollout_logprobs, values, self.old_values)
            return textbook.Response(reward, self.tokens[row, :t], logits[row, :t], *(x[row, :t] for x in mine))

        return [
            textbook.Question([response(q, i, r) for i, r in enumerate(g.rewards)], response(q, DEMONSTRATION, 1.0))
            for q, g in enumerate(self.groups)
        ]


def make_problem(
    rewards: Sequence[Sequence[float]], lengths: Sequence[Sequence[int]], seed: int, ratios: Sequence[float] = FAR
) -> Problem:
    """`lengths` holds each rollout's and, last, the demonstration's. Ratios walk through `ratios` in a seeded order."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    groups = [
        Group(f"q{i}", tuple(r), tuple(n[:-1]), n[-1]) for i, (r, n) in enumerate(zip(rewards, lengths, strict=True))
    ]
    shape = (sum(map(len, lengths)), max(map(max, lengths)))
    logits = 2 * normal(*shape, VOCABULARY)
    tokens = torch.randint(VOCABULARY, shape, generator=generator)
    walk = itertools.cycle(random.Random(seed).sample(ratios, len(ratios)))
    ratio = torch.tensor([next(walk) for _ in range(tokens.numel())], dtype=torch.float64).reshape(shape)
    logprobs = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
    old = logprobs - ratio.log()
    values = normal(*shape)
    problem = Problem(groups, tokens, logits, values, old, values + 0.4 * normal(*shape), old + 0.5 * normal(*shape))
    for (_, index), (row, _) in problem.spans().items():
        if index == DEMONSTRATION:
            problem.rollout_logprobs[row] = problem.old_logprobs[row]
    return problem


def parse(algorithm: dict) -> Algorithm:
    return TypeAdapter(Algorithm).validate_python(algorithm)


def flat(logits: Tensor, values: Tensor) -> Tensor:
    """One vector of both gradients; zero where there is none."""
    return torch.cat([(torch.zeros_like(x) if x.grad is None else x.grad).flatten() for x in (logits, values)])


def our_gradient(
    algorithm: dict, problem: Problem, order_seed: int = 0, only_active: bool = False, cap: float | None = None
) -> Tensor:
    """Gradient of the surrogate, accumulated over a random split of the rows into micro-batches."""
    estimator = Estimator(parse(algorithm), max_length=MAX_LENGTH, importance_cap=cap)
    rows = [(q, row) for q, group in enumerate(problem.groups) for row in estimator.rows(group)]
    update = estimator.update([row for _, row in rows])
    rng = random.Random(order_seed)
    order = list(update.active) if only_active else list(range(len(rows)))
    rng.shuffle(order)
    logits, values = (x.clone().requires_grad_() for x in (problem.logits, problem.values))
    spans = problem.spans()
    while order:
        batch, order = order[: (size := rng.randint(1, len(order)))], order[size:]
        chosen = [spans[rows[i][0], rows[i][1].index] for i in batch]

        def laid_out(rows_of: Tensor, chosen: list[tuple[int, int]] = chosen) -> Tensor:
            return torch.cat([rows_of[row, :t] for row, t in chosen])

        log_policy, tokens = laid_out(logits).log_softmax(-1), laid_out(problem.tokens)
        out = update.loss(
            TokenBatch(
                logprobs=log_policy.gather(-1, tokens[:, None])[:, 0],
                entropies=-(log_policy.exp() * log_policy).sum(-1),
                old_logprobs=laid_out(problem.old_logprobs),
                row_ids=torch.cat([torch.full((t,), r) for r, (_, t) in enumerate(chosen)]),
                values=laid_out(values) if estimator.uses_values else None,
                old_values=laid_out(problem.old_values) if estimator.uses_values else None,
                rollout_logprobs=None if cap is None else laid_out(problem.rollout_logprobs),
            ),
            batch,
        )
        out.loss.backward()
    return flat(logits, values)


def textbook_gradient(loss: Callable[[list], Tensor], problem: Problem) -> Tensor:
    """Gradient of a textbook loss."""
    logits, values = (x.clone().requires_grad_() for x in (problem.logits, problem.values))
    value = loss(problem.questions(logits, values))
    if value.requires_grad:
        value.backward()
    return flat(logits, values)


@dataclass
class Case:
    """An algorithm beside its textbook loss."""

    algorithm: dict
    loss: Callable[[list], Tensor]
    has_stop_gradients: bool = False
    """Whether the textbook loss holds constants that depend on the policy, so that its value's slope is another."""
    cap: float | None = None


def _hpt(
    form: str = "fixed_length",
    gate: dict | None = None,
    weights: Callable | None = None,
    c: float = 1.0,
    clip: bool = True,
    bonus: bool = False,
) -> Case:
    algorithm = {
        "name": "hpt",
        "normalization": form,
        "gate": gate or {"name": "switch"},
        "sft_coefficient": c,
        "rl": {} if clip else {"stabilization_mask": "none"},
        "regularizers": ["entropy"] if bonus else [],
    }
    weights = weights or textbook.switch(0.0)
    terms = textbook.clipped if clip else textbook.unclipped

    def loss(questions: list) -> Tensor:
        value = getattr(textbook, f"hpt_{form}")(questions, MAX_LENGTH, weights, c, terms)
        trained = textbook.hpt_trained(questions, weights)
        return value + textbook.entropy_bonus(trained, 0.001) if bonus else value

    return Case(algorithm, loss)


def _value_loss_of_the_solved(questions: list) -> Tensor:
    rollouts = [r for q in questions if q.success_rate > 0 for r in q.rollouts]
    return textbook.value_loss(rollouts) if rollouts else torch.zeros((), dtype=torch.float64)


def _switch(gamma: float, offline: list[str] | None = None) -> dict:
    """Keyword arguments of `_hpt`."""
    gate = {"name": "switch", "gamma": gamma} | ({"otherwise": offline} if offline else {})
    return {"gate": gate, "weights": textbook.switch(gamma, tuple(offline or ["sft"]))}


def _in_length(loss: Callable, *rest: object) -> Callable[[list], Tensor]:
    return lambda questions: loss(questions, MAX_LENGTH, *rest)


CASES = {
    "sft": Case({"name": "sft"}, textbook.sft_token_mean),
    "sft-sequence": Case({"name": "sft", "sft": {"aggregation": "sequence_mean"}}, textbook.sft_sequence_mean),
    "reinforce": Case({"name": "reinforce"}, textbook.reinforce),
    "ppo": Case({"name": "ppo"}, textbook.ppo),
    "ppo-values-clipped": Case(
        {"name": "ppo", "regularizers": [{"name": "value_loss", "clip": 0.2}]},
        lambda questions: textbook.ppo(questions, clip=0.2),
    ),
    "ppo-lambda": Case(
        {"name": "ppo", "rl": {"advantage": {"name": "gae", "lam": 0.5}}},
        lambda questions: textbook.ppo(questions, lam=0.5),
    ),
    "grpo": Case({"name": "grpo"}, textbook.grpo),
    "dr_grpo": Case({"name": "dr_grpo"}, _in_length(textbook.dr_grpo)),
    "dr_grpo-unclipped": Case(
        {"name": "dr_grpo", "rl": {"stabilization_mask": "none"}}, _in_length(textbook.dr_grpo, textbook.unclipped)
    ),
    "dr_grpo-importance": Case(
        {"name": "dr_grpo"}, _in_length(textbook.dr_grpo, textbook.corrected(textbook.clipped, 1.3)), cap=1.3
    ),
    "dapo": Case({"name": "dapo"}, textbook.dapo),
    "cispo": Case({"name": "cispo"}, textbook.cispo, has_stop_gradients=True),
    "cispo-two-sided": Case(
        {"name": "cispo", "rl": {"stabilization_mask": {"name": "clipped_ratio", "eps_low": 0.3, "eps_high": 0.28}}},
        lambda questions: textbook.cispo(questions, 0.3, 0.28),
        has_stop_gradients=True,
    ),
    "gspo": Case({"name": "gspo"}, textbook.gspo),
    "luffy-paper": Case({"name": "luffy"}, _in_length(textbook.luffy_paper)),
    "luffy-script": Case(
        {"name": "luffy", "form": "script", "regularizers": ["entropy"]}, _in_length(textbook.luffy_script)
    ),
    "srft-paper": Case({"name": "srft"}, _in_length(textbook.srft_paper), has_stop_gradients=True),
    "srft-script": Case(
        {"name": "srft", "form": "script", "regularizers": ["entropy"]},
        _in_length(textbook.srft_script),
        has_stop_gradients=True,
    ),
    **{f"hpt-{form}": _hpt(form) for form in ("fixed_length", "paper", "script")},
    **{f"hpt-{form}-gamma0.25-c0.3": _hpt(form, **_switch(0.25), c=0.3) for form in ("fixed_length", "paper")},
    "hpt-as-scripts": _hpt("script", **_switch(0.0), c=0.3, clip=False, bonus=True),
    **{f"hpt-{form}-off": _hpt(form, **_switch(0.25, ["off"])) for form in ("fixed_length", "paper", "script")},
    "hpt-mixed": _hpt(**_switch(0.25, ["sft", "off"]), c=0.3, bonus=True),
    "hpt-gate_off": _hpt(
        gate={"name": "gate_off", "gamma": 0.0, "gamma_off": 0.4}, weights=textbook.three_zones(0.0, 0.4)
    ),
    "hpt-gate_off-without-sft": _hpt(
        gate={"name": "gate_off", "gamma": -1, "gamma_off": 0.25}, weights=textbook.three_zones(-1, 0.25)
    ),
    **{
        f"hpt-{form}-soft": _hpt(form, gate={"name": "soft"}, weights=textbook.ramp(), c=0.3)
        for form in ("fixed_length", "paper", "script")
    },
    "hpt-soft-ramp": _hpt(
        gate={"name": "soft", "gamma_low": 0.1, "gamma_high": 0.45}, weights=textbook.ramp(0.1, 0.45), bonus=True
    ),
    "hpt-value_loss": Case(
        {"name": "hpt", "regularizers": [{"name": "value_loss", "coefficient": 0.3}]},
        lambda questions: _hpt().loss(questions) + 0.3 * _value_loss_of_the_solved(questions),
    ),
    "hpt-importance": Case(
        {"name": "hpt"},
        _in_length(textbook.hpt_fixed_length, textbook.switch(0.0), 1.0, textbook.corrected(textbook.clipped, 1.3)),
        cap=1.3,
    ),
}

SHAPE = {
    "rewards": [[1, 0, 0, 1, 0], [0, 0, 0], [1, 1, 1], [0, 1], [1, 0, 0, 0]],
    "lengths": [[6, 3, 7, 5, 7, 4], [2, 5, 1, 7], [4, 1, 6, 2], [7, 7, 1], [5, 6, 3, 7, 3]],
}
PROBLEMS = {"far": make_problem(**SHAPE, seed=1), "near": make_problem(**SHAPE, seed=1, ratios=NEAR)}
BOTH = [(case, problem) for case in CASES for problem in PROBLEMS]


def ours(case: str, problem: Problem, **how: object) -> Tensor:
    return our_gradient(CASES[case].algorithm, problem, cap=CASES[case].cap, **how)


def close(ours: Tensor, reference: Tensor) -> None:
    torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-13)


def test_textbook_shares_nothing_with_the_product() -> None:
    imported = [
        node for node in ast.walk(ast.parse(_path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    modules = {getattr(node, "module", None) or node.names[0].name for node in imported}
    assert modules == {"collections.abc", "dataclasses", "math", "torch", "torch.nn.functional"}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_and_each_of_its_forms_has_a_case(name: str) -> None:
    mine = [parse(case.algorithm) for case in CASES.values() if case.algorithm["name"] == name]
    assert mine
    for field, info in Algorithm.plugin_kind.load(name).model_fields.items():
        if typing.get_origin(info.annotation) is typing.Literal:
            assert {getattr(config, field) for config in mine} == set(typing.get_args(info.annotation))


@pytest.mark.parametrize("folder", ["gates", *PARTS])
def test_every_part_is_in_a_case(folder: str) -> None:
    found = set()
    for config in (parse(case.algorithm) for case in CASES.values()):
        signals = [config.signals[name] for name in config.gate.signal_names]
        found |= {config.gate.name} if folder == "gates" else set()
        found |= {r.name for r in config.regularizers} if folder == "regularizers" else set()
        found |= {getattr(signal, folder).name for signal in signals if hasattr(signal, folder)}
    assert found == set((Gate if folder == "gates" else PARTS[folder]).plugin_kind.names)


def _sides(problem: Problem, of: Callable, advantages: Callable, low: float, high: float) -> set[tuple[str, int]]:
    """(side of the clip's range, sign of the advantage) of all that lies there."""
    seen = set()
    for question in problem.questions(problem.logits, problem.values):
        for rollout, advantage in zip(question.rollouts, advantages(question), strict=True):
            ratios, signs = torch.broadcast_tensors(of(rollout), torch.as_tensor(advantage).sign())
            for ratio, sign in zip(ratios.flatten().tolist(), signs.flatten().tolist(), strict=True):
                seen.add(("below" if ratio < low else "above" if ratio > high else "within", int(sign)))
    return seen


@pytest.mark.parametrize(
    ("problem", "of", "advantages", "low", "high"),
    [
        ("far", textbook.ratios, lambda q: textbook.centered(q.rewards), 0.8, 1.2),
        ("far", textbook.ratios, lambda q: textbook.centered(q.rewards), 0.8, 1.28),
        ("far", textbook.ratios, lambda q: textbook.centered(q.rewards), 0.7, 1.28),
        ("far", textbook.ratios, lambda q: textbook.centered(q.rollouts_and_demonstration)[:-1], 0.8, 1.2),
        ("far", textbook.ratios, lambda q: [textbook.gae(r) for r in q.rollouts], 0.8, 1.2),
        ("near", textbook.sequence_ratio, lambda q: textbook.centered(q.rewards), 1 - 3e-4, 1 + 4e-4),
    ],
    ids=["clip", "clip-higher", "two-sided", "joint-group", "gae", "sequence"],
)
def test_problems_cover_both_sides_of_each_bound_with_both_signs(
    problem: str, of: Callable, advantages: Callable, low: float, high: float
) -> None:
    seen = _sides(PROBLEMS[problem], of, advantages, low, high)
    assert seen >= set(itertools.product(("below", "within", "above"), (-1, 1)))


def test_a_problem_covers_both_sides_of_the_value_clip_and_the_importance_cap() -> None:
    problem = PROBLEMS["far"]
    moved = (problem.values - problem.old_values).abs()
    assert (moved > 0.2).any() and (moved < 0.2).any()
    weights = (problem.old_logprobs - problem.rollout_logprobs).exp()
    assert (weights > 1.3).any() and (weights < 1.3).any()


@pytest.mark.parametrize(("case", "problem"), BOTH)
def test_gradient_equals_the_textbook_gradient(case: str, problem: str) -> None:
    reference = textbook_gradient(CASES[case].loss, PROBLEMS[problem])
    assert reference.abs().max() > 1e-4
    close(ours(case, PROBLEMS[problem]), reference)


@pytest.mark.parametrize(("case", "problem"), BOTH)
def test_skipping_inactive_rows_changes_nothing(case: str, problem: str) -> None:
    mine = ours(case, PROBLEMS[problem], only_active=True)
    close(mine, textbook_gradient(CASES[case].loss, PROBLEMS[problem]))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    length = st.integers(1, 5)
    rewards, lengths = [], []
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(1, 5))
        kind = draw(st.sampled_from(["right", "wrong", "any"]))
        rewards.append([{"right": 1.0, "wrong": 0.0, "any": float(draw(st.booleans()))}[kind] for _ in range(n)])
        lengths.append([draw(length) for _ in range(n + 1)])
    return make_problem(rewards, lengths, draw(st.integers(0, 2**16)), draw(st.sampled_from([FAR, NEAR])))


@pytest.mark.parametrize("case", CASES)
@given(problem=problems(), split=st.integers(0, 2**16))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_gradient_equals_the_textbook_gradient_for_any_shape_and_split(case: str, problem: Problem, split: int) -> None:
    close(ours(case, problem, order_seed=split), textbook_gradient(CASES[case].loss, problem))


@pytest.mark.parametrize(("case", "problem"), [(c, p) for c, p in BOTH if not CASES[c].has_stop_gradients])
def test_gradient_matches_finite_differences_of_the_textbook_loss(case: str, problem: str) -> None:
    at = PROBLEMS[problem]
    mine = ours(case, at, order_seed=5)
    rng = random.Random(3)
    step = 1e-5
    largest = mine.abs().topk(5).indices.tolist()
    for place in [*largest, *rng.sample(range(len(mine)), 10)]:
        shift = torch.zeros(len(mine), dtype=torch.float64)
        shift[place] = step
        d_logits, d_values = shift.split([at.logits.numel(), at.values.numel()])
        up, down = (
            CASES[case].loss(
                at.questions(at.logits + s * d_logits.view_as(at.logits), at.values + s * d_values.view_as(at.values))
            )
            for s in (1, -1)
        )
        assert (up - down).item() / (2 * step) == pytest.approx(mine[place].item(), abs=1e-8, rel=1e-6)


NO_CONTRAST: dict[str, tuple[list[float], dict]] = {
    "sft": ([0.0, 1.0], {"sft": {"coefficient": 0}}),
    "reinforce": ([0.5, 0.5], {}),
    "ppo": ([0.0, 0.0], {}),
    "srft": ([1.0, 1.0], {"rl": {"coefficient": 0}, "sft": {"coefficient": 0}}),
    "luffy": ([1.0, 1.0, 1.0], {}),
    "hpt": ([1.0, 1.0, 1.0], {}),
}
"""Rewards and settings under which an algorithm has nothing to say; groups without contrast for the others."""


@pytest.mark.parametrize("rewards", [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.1, 0.1, 0.1]])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_no_signal_gives_exactly_zero(name: str, rewards: list[float]) -> None:
    rewards, settings = NO_CONTRAST.get(name, (rewards, {}))
    algorithm = {"name": name, "regularizers": [], **settings}
    problem = make_problem([rewards] * 2, [[3, 1, 4, 2][-len(rewards) - 1 :]] * 2, seed=0)
    problem.old_values.zero_()
    assert torch.count_nonzero(our_gradient(algorithm, problem)) == 0
    # The same tokens with contrast do give one, so that the zero says something.
    told = make_problem([[1.0] + [0.0] * (len(rewards) - 1)] * 2, [[3, 1, 4, 2][-len(rewards) - 1 :]] * 2, seed=0)
    assert torch.count_nonzero(our_gradient({"name": name, "regularizers": []}, told)) > 0


@pytest.mark.parametrize("name", ALGORITHMS)
def test_signals_of_weight_zero_give_exactly_zero(name: str) -> None:
    algorithm: dict = {"name": name, "regularizers": []}
    for signal in parse(algorithm).signals:
        algorithm[signal] = {"coefficient": 0}
    if name == "hpt":
        algorithm["sft_coefficient"] = 0
    assert torch.count_nonzero(our_gradient(algorithm, PROBLEMS["far"])) == 0
    estimator = Estimator(parse(algorithm), max_length=MAX_LENGTH)
    assert estimator.update([row for g in PROBLEMS["far"].groups for row in estimator.rows(g)]).active == ()


def test_the_clip_stops_an_overflowing_ratio_without_nan() -> None:
    problem = make_problem([[1, 0]], [[3, 3, 1]], seed=0)
    problem.old_logprobs[0] = -2000.0
    gradient = our_gradient({"name": "grpo"}, problem)
    of_logits = gradient[: problem.logits.numel()].view_as(problem.logits)
    assert gradient.isfinite().all()
    assert torch.count_nonzero(of_logits[0]) == 0
    assert torch.count_nonzero(of_logits[1]) > 0
