"""The comparison of bench.parity.gradients, in TRL's environment: `python -m bench.parity.compare {}`."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import child
from bench._peers.adapters import trl_losses
from bench.parity import tiny
from bench.parity.cases import CASES, Case
from bench.parity.tiny import GROUPS, LENGTH, ROLLOUTS, WORDS

if TYPE_CHECKING:
    from torch import Tensor, nn

MOVE = 0.05
"""Standard deviation of the noise added to the weights after sampling. It gives ratios from about 0.5 to 2."""
Pairs = list[tuple[Any, Any]]
"""(TRL's gradient, ours); None if a weight has no gradient."""


class Found(NamedTuple):
    """One comparison."""

    case: str
    what: str
    """"model": gradient of all weights; "loss": gradient of the log-probabilities."""
    absolute: float
    """Largest difference between two elements."""
    relative: float
    """`absolute` divided by the largest element of TRL's gradient."""
    elements: int
    clipped: int | None
    """Tokens whose stabilization mask is not 1; None if the loss has no mask."""


def our_logprobs(model: "nn.Module", inputs: "dict[str, Tensor]") -> "tuple[Tensor, Tensor]":
    """Log-probabilities [N] and entropies [N] of all response tokens, row after row, in the weights' precision.

    Each row passes through the model separately, without padding.
    """
    import torch

    logprobs, entropies = [], []
    for i in range(len(inputs["prompt_ids"])):
        prompt = inputs["prompt_ids"][i][inputs["prompt_mask"][i].bool()]
        response = inputs["completion_ids"][i][inputs["completion_mask"][i].bool()]
        ids = torch.cat([prompt, response])[None]
        logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
        distribution = torch.log_softmax(logits, dim=-1)
        logprobs.append(distribution.gather(1, response[:, None])[:, 0])
        entropies.append(-(distribution.exp() * distribution).sum(-1))
    return torch.cat(logprobs), torch.cat(entropies)


def our_loss(
    case: Case, inputs: "dict[str, Tensor]", logprobs: "Tensor", entropies: "Tensor", old: "Tensor"
) -> "tuple[Tensor, int]":
    """The estimator's loss on N tokens, and the number of tokens that its mask changes."""
    import torch

    from hpt_core.upge.algorithm import Algorithm
    from hpt_core.upge.base import Group, TokenBatch
    from hpt_core.upge.estimator import Estimator

    estimator = Estimator(Algorithm.from_value(case.ours), max_length=LENGTH)
    lengths = inputs["completion_mask"].sum(1).tolist()
    rewards = tiny.rewards()
    rows = []
    for g in range(GROUPS):
        part = slice(g * ROLLOUTS, (g + 1) * ROLLOUTS)
        rows += estimator.rows(Group(f"q{g}", tuple(rewards[part]), tuple(lengths[part]), None))
    theirs = inputs["advantages"].double()
    mine = torch.tensor([row.signals[0].advantage for row in rows], dtype=torch.float64)
    if not torch.allclose(mine, theirs, rtol=1e-4, atol=1e-6):
        sys.exit(f"{case.name}: advantages differ: {mine} and TRL's {theirs}")
    row_ids = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(lengths))
    output = estimator.update(rows).loss(TokenBatch(logprobs, row_ids, old, entropies), range(len(rows)))
    clipped = int(output.metrics["clipped_rl"])
    if not 0 < clipped < len(logprobs):
        sys.exit(f"{case.name}: {clipped} of {len(logprobs)} tokens are clipped; some must be, but not all")
    return output.loss, clipped


def compare_grpo(case: Case, folder: Path) -> list[Found]:
    """Both comparisons of a case."""
    prompts, rewards = tiny.prompts(), tiny.rewards()
    trainer = trl_losses.grpo_trainer(tiny.model(), tiny.tokenizer(), prompts, rewards, LENGTH, folder, case.trl)
    inputs = trl_losses.sample(trainer, prompts, ROLLOUTS)
    if len(set(inputs["completion_mask"].sum(1).tolist())) == 1:
        sys.exit("all responses have the same length, so the comparison cannot tell aggregations apart")
    tiny.move(trainer.model, MOVE, seed=2)
    mask, old = inputs["completion_mask"].bool(), inputs["old_per_token_logps"]
    ours = tiny.doubled(trainer.model)
    trainer._compute_loss(trainer.model, dict(inputs)).backward()
    logprobs, entropies = our_logprobs(ours, inputs)
    loss, clipped = our_loss(case, inputs, logprobs, entropies, old.double()[mask])
    loss.backward()  # type: ignore[no-untyped-call]
    check_ratios(case, (logprobs.detach() - old.double()[mask]).exp())
    found = [difference(case.name, "model", of_weights(trainer.model, ours), clipped)]
    leaf = trl_losses.logprobs(trainer, inputs).detach().double().requires_grad_()
    with trl_losses.handed(trainer, leaf):
        wide = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
        trainer._compute_loss(trainer.model, wide).backward()
    own = leaf.detach()[mask].requires_grad_()
    loss, clipped = our_loss(case, inputs, own, own.detach() * 0, old.double()[mask])
    loss.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return [*found, difference(case.name, "loss", [(leaf.grad[mask], own.grad)], clipped)]


def check_ratios(case: Case, ratios: "Tensor") -> None:
    """Exit if the ratios do not exceed the clip range on both sides."""
    if not (ratios.min() < 0.7 and ratios.max() > 1.6):
        sys.exit(f"{case.name}: ratios are between {ratios.min():.2f} and {ratios.max():.2f}, inside the clip range")


def compare_sft(folder: Path) -> Found:
    """SFTTrainer.compute_loss on prompts with completions of several lengths."""
    import torch

    from hpt_core.upge.algorithm import Algorithm
    from hpt_core.upge.base import Group, TokenBatch
    from hpt_core.upge.estimator import Estimator

    completions = [" " + " ".join(f"w{(5 * g + i) % WORDS}" for i in range(3 + 2 * g)) for g in range(GROUPS)]
    trainer = trl_losses.sft_trainer(tiny.model(), tiny.tokenizer(), tiny.prompts(), completions, folder)
    inputs = trainer.data_collator([trainer.train_dataset[i] for i in range(GROUPS)])
    ours = tiny.doubled(trainer.model)
    trainer.compute_loss(trainer.model, dict(inputs)).backward()
    labels = inputs["labels"]
    batch = {
        "prompt_ids": inputs["input_ids"],
        "prompt_mask": (labels == -100).long() * inputs["attention_mask"],
        "completion_ids": inputs["input_ids"],
        "completion_mask": (labels != -100).long(),
    }
    lengths = batch["completion_mask"].sum(1).tolist()
    estimator = Estimator(Algorithm.from_value("sft"), max_length=64)
    rows = [row for g in range(GROUPS) for row in estimator.rows(Group(f"q{g}", (), (), lengths[g]))]
    row_ids = torch.repeat_interleave(torch.arange(GROUPS), torch.tensor(lengths))
    logprobs, entropies = our_logprobs(ours, batch)
    tokens = TokenBatch(logprobs, row_ids, logprobs.detach(), entropies)
    estimator.update(rows).loss(tokens, range(GROUPS)).loss.backward()  # type: ignore[no-untyped-call]
    return difference("sft", "model", of_weights(trainer.model, ours), None)


def of_weights(theirs: "nn.Module", ours: "nn.Module") -> Pairs:
    """(TRL's gradient, ours) for every weight."""
    mine = dict(ours.named_parameters())
    return [(parameter.grad, mine[name].grad) for name, parameter in theirs.named_parameters()]


def difference(case: str, what: str, pairs: Pairs, clipped: int | None) -> Found:
    """The largest difference over all elements."""
    if any(ours is None for _, ours in pairs):
        sys.exit(f"{case}: a gradient is missing; nothing was compared")
    largest = max(theirs.abs().max().item() for theirs, _ in pairs)
    absolute = max((theirs.double() - ours.double()).abs().max().item() for theirs, ours in pairs)
    if largest == 0:
        sys.exit(f"{case}: TRL's gradient is zero; nothing was compared")
    count = sum(theirs.numel() for theirs, _ in pairs)
    return Found(case, what, absolute, absolute / largest, count, clipped)


def measure() -> list[dict[str, Any]]:
    """Compare every case."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="gradients-") as temporary:
        folder = Path(temporary)
        found = [one for case in CASES for one in compare_grpo(case, folder / case.name)]
        found.append(compare_sft(folder / "sft"))
    return [one._asdict() for one in found]


if __name__ == "__main__":
    child.answer(measure)
