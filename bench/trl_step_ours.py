"""Our side of trl_step.py: the training worker as it ships, with three things imposed that the comparison asks for.

    python bench/trl_step_ours.py SPEC.json      (started by trl_step.py, which holds the other end of the pipes)

1. Every response has exactly `max_tokens` tokens: vLLM is told to ignore the end-of-text token.
2. Verdicts alternate, so that every group has half its rollouts right and all of them carry gradient. The real verifier
   still reads and judges every response, at its real cost; only what it found is replaced.
3. After each step the process waits until the next one is asked for.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from stepper import Child

from hpt_core import train
from hpt_core.rollout.vllm import VLLMEngine
from hpt_core.training.config import TrainSpec
from hpt_core.training.log import TrainingLog
from hpt_core.verifiers.base import Outcome, Verdict
from hpt_core.verifiers.pool import Item, VerifierPool
from hpt_core.worker import main


class Imposed:
    """Verdicts under way whose outcomes are decided already; it waits for the real ones all the same."""

    def __init__(self, real: Any, outcomes: list[Outcome]) -> None:
        self._real = real
        self._outcomes = outcomes

    def result(self, *arguments: Any, **options: Any) -> list[Verdict]:
        found = self._real.result(*arguments, **options)
        return [Verdict(outcome, v.extracted) for outcome, v in zip(self._outcomes, found, strict=True)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def impose_verdicts() -> None:
    """Every other response to a question is correct, in the order in which they are handed in."""
    submit: Callable[..., Any] = VerifierPool.submit
    seen: Counter[str] = Counter()

    def imposing(pool: VerifierPool, items: list[Item], *arguments: Any, **options: Any) -> Imposed:
        outcomes = []
        for item in items:
            outcomes.append(Outcome.CORRECT if seen[item.gold] % 2 else Outcome.INCORRECT)
            seen[item.gold] += 1
        return Imposed(submit(pool, items, *arguments, **options), outcomes)

    VerifierPool.submit = imposing  # type: ignore[method-assign, assignment]


def impose_length() -> None:
    """No response ends by itself. vLLM reads its environment when it is imported, which is the engine's to do."""
    generate: Callable[..., Any] = VLLMEngine.generate

    def endless(engine: VLLMEngine, *arguments: Any, **options: Any) -> Any:
        import vllm

        parameters = vllm.sampling_params.SamplingParams
        vllm.SamplingParams = lambda **given: parameters(**{**given, "ignore_eos": True})
        return generate(engine, *arguments, **options)

    VLLMEngine.generate = endless  # type: ignore[method-assign]


def take_turns(child: Child) -> None:
    """Pause where a step's row has been logged, which is the last thing a step does."""
    append: Callable[..., None] = TrainingLog.append

    def pausing(log: TrainingLog, row: dict[str, Any]) -> None:
        append(log, row)
        child.pause(**{name: value for name, value in row.items() if isinstance(value, int | float)})

    TrainingLog.append = pausing  # type: ignore[method-assign]


if __name__ == "__main__":
    take_turns(Child())
    impose_verdicts()
    impose_length()
    main(TrainSpec, train.run)
