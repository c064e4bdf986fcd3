"""Textbook losses, written from the papers' formulas on a toy policy; the reference of the gradient tests.

It shares nothing with the product: log-probabilities come from logits here, and clips are PPO's min(), not a mask.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


@dataclass
class Response:
    """One response with the logits of a toy policy at each of its tokens."""

    reward: float
    tokens: Tensor
    """[t] int64."""
    logits: Tensor
    """[t, V] float64, part of the leaf that is differentiated."""
    old_logprobs: Tensor
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
        return sum(r.reward for r in self.rollouts) / len(self.rollouts)

    def centred(self) -> list[float]:
        """R - mean."""
        return [r.reward - self.success_rate for r in self.rollouts]

    def standardised(self) -> list[float]:
        """(R - mean) / (std + 1e-6) with the sample's std; R for a lone rollout."""
        if len(self.rollouts) == 1:
            return [self.rollouts[0].reward]
        std = torch.tensor([r.reward for r in self.rollouts], dtype=torch.float64).std().item()
        return [a / (std + 1e-6) for a in self.centred()]


def ratios(response: Response) -> Tensor:
    """[t]; pi_theta / pi_old."""
    probabilities = response.logits.softmax(-1)[torch.arange(len(response.tokens)), response.tokens]
    return probabilities / response.old_logprobs.exp()


def clipped(response: Response, advantage: float, low: float = 0.2, high: float = 0.2) -> Tensor:
    """[t]; - min(r A, clip(r) A)."""
    r = ratios(response)
    return -torch.minimum(r * advantage, r.clamp(1 - low, 1 + high) * advantage)


def unclipped(response: Response, advantage: float) -> Tensor:
    """[t]; - r A."""
    return -ratios(response) * advantage


def entropy(response: Response) -> Tensor:
    """Sum over tokens of the policy's entropy."""
    probabilities = response.logits.softmax(-1)
    return -(probabilities * probabilities.log()).sum()


def sft_token_mean(questions: list[Question]) -> Tensor:
    """Mean over all demonstration tokens."""
    total = sum(len(q.demonstration.tokens) for q in questions)
    return sum(q.demonstration.negative_log_likelihood for q in questions) / total


def sft_sequence_mean(questions: list[Question]) -> Tensor:
    """Mean over the tokens of each demonstration, then over demonstrations."""
    return sum(q.demonstration.negative_log_likelihood / len(q.demonstration.tokens) for q in questions) / len(
        questions
    )


def grpo(questions: list[Question]) -> Tensor:
    """Shao 2024, equation 3 without KL, over the sequences of all questions."""
    terms = [clipped(r, a).mean() for q in questions for r, a in zip(q.rollouts, q.standardised(), strict=True)]
    return sum(terms) / len(terms)


def dr_grpo(questions: list[Question], max_length: int, loss=clipped) -> Tensor:
    """Sum over tokens, divided by questions times constant length."""
    terms = [loss(r, a).sum() for q in questions for r, a in zip(q.rollouts, q.centred(), strict=True)]
    return sum(terms) / (len(questions) * max_length)


def hpt_fixed_length(questions: list[Question], max_length: int, gamma: float, c: float, loss) -> Tensor:
    """[ sum_RL sum_t - A rho + c * sum_SFT sum_t - log p ] / (Q * M)."""
    total = torch.zeros((), dtype=torch.float64)
    for q in questions:
        if q.success_rate > gamma:
            total = total + sum(loss(r, a).sum() for r, a in zip(q.rollouts, q.centred(), strict=True))
        else:
            total = total + c * q.demonstration.negative_log_likelihood
    return total / (len(questions) * max_length)


def hpt_paper(questions: list[Question], max_length: int, gamma: float, c: float, loss) -> Tensor:
    """Mean over questions of alpha L_RL + beta c L_SFT, as in section 2 of the paper."""
    total = torch.zeros((), dtype=torch.float64)
    for q in questions:
        if q.success_rate > gamma:
            terms = sum(loss(r, a).sum() for r, a in zip(q.rollouts, q.centred(), strict=True))
            total = total + terms / len(q.rollouts)
        else:
            total = total + c * q.demonstration.negative_log_likelihood / len(q.demonstration.tokens)
    return total / len(questions)


def hpt_script(questions: list[Question], max_length: int, gamma: float, c: float, loss) -> Tensor:
    """(1/M) sum_RL sum_t - A rho + c * mean over SFT tokens of - log p."""
    solved = [q for q in questions if q.success_rate > gamma]
    failed = [q for q in questions if q.success_rate <= gamma]
    total = torch.zeros((), dtype=torch.float64)
    for q in solved:
        total = total + sum(loss(r, a).sum() for r, a in zip(q.rollouts, q.centred(), strict=True)) / max_length
    return total + c * sft_token_mean(failed) if failed else total


def entropy_bonus(questions: list[Question], gamma: float, coefficient: float) -> Tensor:
    """- coefficient * mean entropy over the tokens HPT trains on."""
    trained = [r for q in questions for r in (q.rollouts if q.success_rate > gamma else [q.demonstration])]
    return -coefficient * sum(entropy(r) for r in trained) / sum(len(r.tokens) for r in trained)
