"""What an algorithm can train on, over all numbers of correct rollouts that a question may have."""

import itertools
from collections.abc import Iterator

from hpt_core.upge.base import Group
from hpt_core.upge.estimator import Estimator
from hpt_core.upge.parts import GroupAdvantage
from hpt_core.upge.signal import Signal

SPREAD = 1e-3
"""Difference between the rewards of two equally correct rollouts, if rewards depend on more than the verdict."""


class Reach:
    """The signals that an algorithm ever uses with a fixed number of rollouts per question."""

    def __init__(self, estimator: Estimator, rollouts: int, by_verdict: bool = True) -> None:
        """`by_verdict` says that the verdict alone is the reward, so that all correct rollouts have the same one."""
        self._signals = estimator.signals
        self._rollouts = rollouts
        self._trains: dict[str, bool] = {}
        gate = estimator.config.gate
        for correct in range(rollouts + 1):
            if all(map(self._trains.get, self._signals)):
                break
            group = _group(rollouts, correct, by_verdict)
            rate = group.success_rate if gate.needs_success_rate else None
            chosen = (gate.coefficients(rate, has_demonstration).items() for has_demonstration in (True, False))
            for name, coefficient in itertools.chain(*chosen):
                if coefficient and not self._trains.get(name):
                    self._trains[name] = _has_gradient(self._signals[name], group)

    @property
    def trains_anything(self) -> bool:
        """Whether some signal ever has a gradient."""
        return any(self._trains.values())

    def idle(self) -> Iterator[str]:
        """Signals that never train, and advantages that compare nothing: "FIELD CAUSE; REMEDY"."""
        for name, signal in self._signals.items():
            if name not in self._trains:
                yield (
                    f"gate never chooses the signal {name!r}: of {self._rollouts} rollouts, no number of correct ones "
                    "leads to it; change the gate's thresholds, or rollouts_per_question"
                )
            elif signal.coefficient == 0:
                yield f"{name}.coefficient is 0, so this signal trains nothing; raise it, or take it out of the gate"
            elif not self._trains[name]:
                yield (
                    f"{name} trains nothing: wherever the gate chooses it, all rollouts of a question have the same "
                    "reward, so every advantage is 0; raise rollouts_per_question, which is "
                    f"{self._rollouts}, or change the gate"
                )
            elif self._rollouts == 1 and _compares_rollouts(signal):
                yield (
                    f"{name}.advantage compares the rollouts of a question, but there is only one, whose advantage is "
                    "its reward; set rollouts_per_question to 2 or more"
                )


def _group(rollouts: int, correct: int, by_verdict: bool) -> Group:
    verdicts = tuple(i < correct for i in range(rollouts))
    rewards = tuple(float(is_correct) + (0.0 if by_verdict else SPREAD * i) for i, is_correct in enumerate(verdicts))
    return Group("any", rewards, (1,) * rollouts, 1, verdicts)


def _has_gradient(signal: Signal, group: Group) -> bool:
    if signal.coefficient == 0:
        return False
    if not signal.advantage.from_rewards_alone:
        return True
    found = signal.advantage.estimate(group)
    return any(found.rollouts) if signal.on == "rollouts" else found.demonstration != 0


def _compares_rollouts(signal: Signal) -> bool:
    advantage = signal.advantage
    return signal.on == "rollouts" and isinstance(advantage, GroupAdvantage) and not advantage.with_demonstration
