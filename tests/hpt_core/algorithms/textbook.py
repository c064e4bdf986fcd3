"""Textbook losses, written from the papers' formulas on a toy policy; the reference of the gradient tests.

It shares no code with the product: log-probabilities come from logits here, clips are PPO's min() and not a mask, and
advantages follow their recursions. Q is the number of questions, M (`max_length`) the constant length.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


@dataclass
class Response:
    """One response with the logits and values of a toy policy at each of its tokens."""

    reward: float
    tokens: Tensor
    """[t] int64."""
    logits: Tensor
    """[t, V] float64, part of a leaf that is differentiated."""
    old_logprobs: Tensor
    """[t] float64."""
    rollout_logprobs: Tensor
    """[t] float64; under the engine that sampled."""
    values: Tensor
    """[t] float64, part of a leaf that is differentiated."""
    old_values: Tensor
    """[t] float64."""

    @property
    def negative_log_likelihood(self) -> Tensor:
        """Sum over tokens of - log p."""
        return cross_entropy(self.logits, self.tokens, reduction="sum")


@dataclass
class Question:
    """One question."""

    rollouts: list[Response]
    demonstration: Response

    @property
    def success_rate(self) -> float:
        """P."""
        return sum(self.rewards) / len(self.rollouts)

    @property
    def rewards(self) -> list[float]:
        """R of each rollout."""
        return [r.reward for r in self.rollouts]

    @property
    def rollouts_and_demonstration(self) -> list[float]:
        """R of each rollout, then of the demonstration."""
        return [*self.rewards, 1.0]


def centered(rewards: list[float]) -> list[float]:
    """R - mean."""
    return [r - sum(rewards) / len(rewards) for r in rewards]


def standardized(rewards: list[float]) -> list[float]:
    """(R - mean) / (std + 1e-6) with the sample's std; R for a group of one."""
    if len(rewards) == 1:
        return rewards
    std = torch.tensor(rewards, dtype=torch.float64).std().item()
    return [a / (std + 1e-6) for a in centered(rewards)]


def probabilities(response: Response) -> Tensor:
    """[t]; p of each token."""
    return response.logits.softmax(-1)[torch.arange(len(response.tokens)), response.tokens]


def ratios(response: Response) -> Tensor:
    """[t]; pi_theta / pi_old."""
    return probabilities(response) / response.old_logprobs.exp()


def sequence_ratio(response: Response) -> Tensor:
    """GSPO's s: the geometric mean of the ratios."""
    return ratios(response).prod() ** (1 / len(response.tokens))


def ppo_min(ratio: Tensor, advantage: Tensor | float, low: float, high: float) -> Tensor:
    """- min(r A, clip(r) A)."""
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)


def clipped(response: Response, advantage: Tensor | float, low: float = 0.2, high: float = 0.2) -> Tensor:
    """[t]; - min(r A, clip(r) A)."""
    return ppo_min(ratios(response), advantage, low, high)


def unclipped(response: Response, advantage: float) -> Tensor:
    """[t]; - r A."""
    return -ratios(response) * advantage


def shaped(response: Response, advantage: float) -> Tensor:
    """[t]; - A p / (p + 0.1)."""
    p = probabilities(response)
    return -advantage * p / (p + 0.1)


def corrected(loss: Callable, cap: float) -> Callable:
    """`loss` with each token's term times min(pi_old / pi_engine, cap), a constant."""

    def term(response: Response, advantage: float) -> Tensor:
        weights = (response.old_logprobs.exp() / response.rollout_logprobs.exp()).clamp(max=cap)
        return weights * loss(response, advantage)

    return term


def entropy(response: Response) -> Tensor:
    """Sum over tokens of the policy's entropy."""
    p = response.logits.softmax(-1)
    return -(p * p.log()).sum()


def entropy_bonus(responses: list[Response], coefficient: float) -> Tensor:
    """- coefficient * mean entropy over the tokens of `responses`."""
    return -coefficient * sum(entropy(r) for r in responses) / sum(len(r.tokens) for r in responses)


def everything(questions: list[Question]) -> list[Response]:
    """All rollouts and demonstrations."""
    return [r for q in questions for r in [*q.rollouts, q.demonstration]]


def token_mean(questions: list[Question], term: Callable, advantages: Callable = standardized) -> Tensor:
    """Mean of term(rollout, A) over all rollout tokens."""
    terms = [term(r, a) for q in questions for r, a in zip(q.rollouts, advantages(q.rewards), strict=True)]
    return torch.cat(terms).mean()


def sft_token_mean(questions: list[Question]) -> Tensor:
    """Mean over all demonstration tokens."""
    total = sum(len(q.demonstration.tokens) for q in questions)
    return sum(q.demonstration.negative_log_likelihood for q in questions) / total


def sft_sequence_mean(questions: list[Question]) -> Tensor:
    """Mean over the tokens of each demonstration, then over demonstrations."""
    return sum(q.demonstration.negative_log_likelihood / len(q.demonstration.tokens) for q in questions) / len(
        questions
    )


def reinforce(questions: list[Question]) -> Tensor:
    """Mean over tokens of - (2R - 1) log p."""
    return token_mean(questions, lambda r, a: -a * probabilities(r).log(), lambda rs: [2 * r - 1 for r in rs])


def grpo(questions: list[Question]) -> Tensor:
    """Shao 2024, equation 3 without KL, over the sequences of all questions."""
    terms = [clipped(r, a).mean() for q in questions for r, a in zip(q.rollouts, standardized(q.rewards), strict=True)]
    return sum(terms) / len(terms)


def dr_grpo(questions: list[Question], max_length: int, loss: Callable = clipped) -> Tensor:
    """Sum over tokens, divided by questions times constant length."""
    terms = [loss(r, a).sum() for q in questions for r, a in zip(q.rollouts, centered(q.rewards), strict=True)]
    return sum(terms) / (len(questions) * max_length)


def dapo(questions: list[Question]) -> Tensor:
    """Yu 2025, equation 8."""
    return token_mean(questions, lambda r, a: clipped(r, a, 0.2, 0.28))


def cispo(questions: list[Question], low: float | None = None, high: float = 0.2) -> Tensor:
    """Chen 2025, equation 4: the clipped weight is a constant; without `low` nothing bounds it from below."""

    def term(response: Response, advantage: float) -> Tensor:
        weights = ratios(response).detach().clamp(min=None if low is None else 1 - low, max=1 + high)
        return -weights * advantage * probabilities(response).log()

    return token_mean(questions, term)


def gspo(questions: list[Question]) -> Tensor:
    """Zheng 2025, equation 5, over the sequences of all questions."""
    terms = [
        ppo_min(sequence_ratio(r), a, 3e-4, 4e-4)
        for q in questions
        for r, a in zip(q.rollouts, standardized(q.rewards), strict=True)
    ]
    return sum(terms) / len(terms)


def gae(response: Response, gamma: float = 1.0, lam: float = 0.95) -> Tensor:
    """[t]; Schulman 2016 by its recursion from the last token back: A_t = delta_t + gamma lambda A_{t+1}."""
    values = response.old_values.tolist()
    advantages, following, value_after = [], 0.0, 0.0
    for t in reversed(range(len(values))):
        reward = response.reward if t == len(values) - 1 else 0.0
        following = reward + gamma * value_after - values[t] + gamma * lam * following
        value_after = values[t]
        advantages.append(following)
    return torch.tensor(advantages[::-1], dtype=torch.float64)


def value_loss(rollouts: list[Response], lam: float = 0.95, clip: float | None = None) -> Tensor:
    """Half the mean squared error of the values over all tokens of `rollouts`."""
    squares = []
    for rollout in rollouts:
        returns = gae(rollout, lam=lam) + rollout.old_values
        errors = (rollout.values - returns) ** 2
        if clip is not None:
            near = torch.clamp(rollout.values, rollout.old_values - clip, rollout.old_values + clip)
            errors = torch.maximum(errors, (near - returns) ** 2)
        squares.append(errors)
    return torch.cat(squares).mean() / 2


def ppo(questions: list[Question], lam: float = 0.95, clip: float | None = None) -> Tensor:
    """Clipped policy loss, a mean over all rollout tokens, plus the value loss."""
    rollouts = [r for q in questions for r in q.rollouts]
    policy = [clipped(rollout, gae(rollout, lam=lam)) for rollout in rollouts]
    return torch.cat(policy).mean() + value_loss(rollouts, lam, clip)


def luffy_paper(questions: list[Question], max_length: int) -> Tensor:
    """Z-scores over rollouts and demonstration, on-policy part clipped, divided by questions times constant length."""
    total = torch.zeros((), dtype=torch.float64)
    for q in questions:
        *advantages, last = standardized(q.rollouts_and_demonstration)
        total = total + sum(clipped(r, a).sum() for r, a in zip(q.rollouts, advantages, strict=True))
        total = total + shaped(q.demonstration, last).sum()
    return total / (len(questions) * max_length)


GPUS = 8
"""GPUs of the released code. The updates here fit into one micro-batch on each of them."""


def script_mean(sums: Tensor, tokens: int, rows: int) -> Tensor:
    """Mean over tokens in each micro-batch, added up, averaged over GPUs; `rows` rows are spread at random."""
    return GPUS * (1 - (1 - 1 / GPUS) ** rows) / GPUS * sums / tokens


def luffy_script(questions: list[Question], max_length: int) -> Tensor:
    """(1/8M) [ sum_on -A rho + sum_off -A p/(p+0.1) ] - 0.001 H, A = R - mean over rollouts and demonstration."""
    total = torch.zeros((), dtype=torch.float64)
    for q in questions:
        *advantages, last = centered(q.rollouts_and_demonstration)
        total = total + sum(unclipped(r, a).sum() for r, a in zip(q.rollouts, advantages, strict=True))
        total = total + shaped(q.demonstration, last).sum()
    return total / (GPUS * max_length) + entropy_bonus(everything(questions), 0.001)


def mean_entropy(response: Response) -> float:
    """h: a constant."""
    return (entropy(response) / len(response.tokens)).item()


def _srft_parts(questions: list[Question]) -> tuple[list[Tensor], Tensor]:
    """- 0.5 e^(-h) log p of each demonstration's tokens, and the sum over rollout tokens of - w log p."""
    supervised = [
        -0.5 * math.exp(-mean_entropy(q.demonstration)) * probabilities(q.demonstration).log() for q in questions
    ]
    total = torch.zeros((), dtype=torch.float64)
    for rollout in (r for q in questions for r in q.rollouts):
        weight = 0.1 * math.exp(mean_entropy(rollout)) if rollout.reward == 1 else -1.0
        total = total + weight * rollout.negative_log_likelihood
    return supervised, total


def srft_paper(questions: list[Question], max_length: int) -> Tensor:
    """Offline part with pi_ref = 1 and z-scores; everything divided by questions times constant length."""
    supervised, total = _srft_parts(questions)
    for q in questions:
        advantage = standardized(q.rollouts_and_demonstration)[-1]
        total = total - advantage * probabilities(q.demonstration).sum()
    return (torch.cat(supervised).sum() + total) / (len(questions) * max_length)


def srft_script(questions: list[Question], max_length: int) -> Tensor:
    """(K/8) tokmean_off(-0.5 e^{-h} log p) + (1/8M) [ sum_off -A p/(p+0.1) + sum_on -w log p ] - 0.001 H."""
    supervised, total = _srft_parts(questions)
    for q in questions:
        total = total + shaped(q.demonstration, centered(q.rollouts_and_demonstration)[-1]).sum()
    imitated = torch.cat(supervised)
    mean = script_mean(imitated.sum(), len(imitated), len(supervised))
    return mean + total / (GPUS * max_length) + entropy_bonus(everything(questions), 0.001)


def switch(gamma: float, offline: tuple[str, ...] = ("sft",)) -> Callable:
    """P -> weight of each signal: rollouts where P > gamma, else what trains on the demonstration."""
    return lambda p: {"rl": 1.0} if p > gamma else dict.fromkeys(offline, 1.0)


def three_zones(gamma: float, gamma_off: float) -> Callable:
    """P -> weight of each signal: imitation, off-policy RL, on-policy RL."""
    return lambda p: {"rl": 1.0} if p > gamma_off else {"off": 1.0} if p > gamma else {"sft": 1.0}


def ramp(low: float = 0.0, high: float = 1.0) -> Callable:
    """P -> weight of each signal: alpha rises linearly from low to high, beta = 1 - alpha."""

    def weights(p: float) -> dict[str, float]:
        alpha = 0.0 if p <= low else 1.0 if p >= high else (p - low) / (high - low)
        return {"rl": alpha, "sft": 1 - alpha}

    return weights


def hpt_fixed_length(questions: list[Question], max_length: int, gate: Callable, c: float, loss: Callable) -> Tensor:
    """[ sum_RL sum_t - A rho + c * sum_SFT sum_t - log p + sum_off sum_t - p/(p+0.1) ] / (Q * M)."""
    total = torch.zeros((), dtype=torch.float64)
    for q in questions:
        weights = gate(q.success_rate)
        rl = sum(loss(r, a).sum() for r, a in zip(q.rollouts, centered(q.rewards), strict=True))
        total = total + weights.get("rl", 0) * rl
        total = total + weights.get("sft", 0) * c * q.demonstration.negative_log_likelihood
        total = total + weights.get("off", 0) * shaped(q.demonstration, 1.0).sum()
    return total / (len(questions) * max_length)


def hpt_paper(questions: list[Question], max_length: int, gate: Callable, c: float, loss: Callable) -> Tensor:
    """Mean over questions of alpha L_RL + beta c L_SFT, as in section 2 of the paper."""
    total = torch.zeros((), dtype=torch.float64)
    for q in questions:
        weights = gate(q.success_rate)
        rl = sum(loss(r, a).sum() for r, a in zip(q.rollouts, centered(q.rewards), strict=True))
        total = total + weights.get("rl", 0) * rl / len(q.rollouts)
        nll = q.demonstration.negative_log_likelihood / len(q.demonstration.tokens)
        total = total + weights.get("sft", 0) * c * nll
        total = total + weights.get("off", 0) * shaped(q.demonstration, 1.0).sum()
    return total / len(questions)


def hpt_script(questions: list[Question], max_length: int, gate: Callable, c: float, loss: Callable) -> Tensor:
    """(1/8M) [ sum_RL sum_t - A rho + sum_off sum_t - p/(p+0.1) ] + c (K/8) * mean over SFT tokens of - log p."""
    total = torch.zeros((), dtype=torch.float64)
    imitated, tokens, rows = torch.zeros((), dtype=torch.float64), 0, 0
    for q in questions:
        weights = gate(q.success_rate)
        rl = sum(loss(r, a).sum() for r, a in zip(q.rollouts, centered(q.rewards), strict=True))
        total = total + weights.get("rl", 0) * rl / (GPUS * max_length)
        total = total + weights.get("off", 0) * shaped(q.demonstration, 1.0).sum() / (GPUS * max_length)
        if weights.get("sft", 0):
            imitated = imitated + weights["sft"] * q.demonstration.negative_log_likelihood
            tokens += len(q.demonstration.tokens)
            rows += 1
    return total + c * script_mean(imitated, tokens, rows) if tokens else total


def hpt_trained(questions: list[Question], gate: Callable) -> list[Response]:
    """The responses that HPT trains on."""
    found = []
    for q in questions:
        weights = gate(q.success_rate)
        found += q.rollouts if weights.get("rl", 0) else []
        found += [q.demonstration] if weights.get("sft", 0) or weights.get("off", 0) else []
    return found
