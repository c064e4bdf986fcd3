"""Gradients of our losses against TRL's own code, on the same weights, tokens, rewards and old log-probabilities.

    python bench/trl_losses.py [--trl-python PYTHON] [--out FILE.parquet]

It makes TRL's environment where it is missing and runs itself there. For each case TRL's GRPOTrainer, on a tiny random
model, draws responses and computes advantages from imposed rewards with its own code; the weights are then moved, so
that the responses are off-policy with ratios on both sides of every clip, and

  "model": GRPOTrainer._compute_loss (SFTTrainer.compute_loss) in float32, backward to every weight, against the
           estimator on the same weights in float64;
  "loss":  the same method in float64, backward to the log-probabilities that the model's forward pass would hand it,
           against the estimator on those: the loss code alone, without TRL's float32 head.

Differences that are known, and how a case takes them into account, are printed with it. Exit code 1: a gradient differs
by more than 1e-5 of its largest element.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import machine
import trl_env
import trl_tiny as tiny
from rich.console import Console
from rich.table import Table
from trl_cases import CASES, Case
from trl_tiny import GROUPS, LENGTH, ROLLOUTS, WORDS, prompts, rewards

if TYPE_CHECKING:
    from torch import Tensor, nn

TOLERANCE = 1e-5
MOVE = 0.05
"""Standard deviation of what is added to every weight between sampling and training: ratios from about 0.5 to 2."""


class Found(NamedTuple):
    """One comparison."""

    case: str
    what: str
    absolute: float
    """Largest difference of an element."""
    relative: float
    """Over the largest element of TRL's gradient."""
    elements: int
    clipped: int | None
    """Tokens whose mask is not 1; None where there is no mask."""
    known: str


class Batch(NamedTuple):
    """What TRL drew, as the estimator takes it; B rollouts."""

    inputs: "dict[str, Tensor]"
    """TRL's own inputs of _compute_loss: ids and masks [B, P], [B, C], advantages [B]."""
    rewards: list[float]
    lengths: list[int]


def common(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": [],
        "save_strategy": "no",
        "seed": 0,
    }


def grpo_trainer(case: Case, folder: Path) -> Any:
    """TRL's GRPOTrainer, ready to have its methods called outside its loop."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    given = rewards()
    config = GRPOConfig(
        **common(folder),
        per_device_train_batch_size=GROUPS * ROLLOUTS,
        num_generations=ROLLOUTS,
        max_completion_length=LENGTH,
        **case.trl,
    )
    trainer = GRPOTrainer(
        model=tiny.model(),
        reward_funcs=lambda completions, **_: given,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": prompts()}),
        processing_class=tiny.tokenizer(),
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


def draw(trainer: Any) -> Batch:
    """Responses, rewards and advantages by TRL's own code, and the logprobs they were drawn with as the old ones."""
    import torch

    torch.manual_seed(3)
    rows = [{"prompt": text} for text in prompts() for _ in range(ROLLOUTS)]
    inputs = trainer._generate_and_score_completions(rows)
    with torch.no_grad():
        inputs["old_per_token_logps"] = logps(trainer, trainer.model, inputs)
    lengths = inputs["completion_mask"].sum(1).tolist()
    if min(lengths) == max(lengths):
        sys.exit("every response is of the same length: the aggregations could not be told apart")
    return Batch(inputs, rewards(), lengths)


def logps(trainer: Any, model: "nn.Module", inputs: "dict[str, Tensor]") -> "Tensor":
    """[B, C] by TRL's own forward pass, of the inputs' responses."""
    import torch

    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    found: Tensor = trainer._get_per_token_logps_and_entropies(model, ids, mask, inputs["completion_ids"].size(1))[0]
    return found


def our_logprobs(model: "nn.Module", inputs: "dict[str, Tensor]") -> "tuple[Tensor, Tensor]":
    """[N] log-probabilities and entropies of the responses' tokens, rows laid end to end, in the weights' precision.

    Each row goes through the model alone and without padding.
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


def our_loss(case: Case, batch: Batch, logprobs: "Tensor", entropies: "Tensor", old: "Tensor") -> "tuple[Tensor, int]":
    """The estimator's loss on [N] tokens, and how many of them its mask changes."""
    import torch
    from pydantic import TypeAdapter

    from hpt_core.plugins import config_union
    from hpt_core.upge.base import Group, TokenBatch
    from hpt_core.upge.estimator import Estimator

    algorithm = TypeAdapter(config_union("hpt_core.algorithms")).validate_python(case.ours)
    estimator = Estimator(algorithm, max_length=LENGTH)
    rows = []
    for g in range(GROUPS):
        part = slice(g * ROLLOUTS, (g + 1) * ROLLOUTS)
        rows += estimator.rows(Group(f"q{g}", tuple(batch.rewards[part]), tuple(batch.lengths[part]), None))
    theirs = batch.inputs["advantages"].double()
    mine = torch.tensor([row.signals[0].advantage for row in rows], dtype=torch.float64)
    if not torch.allclose(mine, theirs, rtol=1e-4, atol=1e-6):
        sys.exit(f"{case.name}: advantages differ: {mine} and TRL's {theirs}")
    row_ids = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(batch.lengths))
    tokens = TokenBatch(logprobs, entropies, old, row_ids)
    output = estimator.update(rows).loss(tokens, range(len(rows)))
    clipped = int(output.metrics["clipped_rl"])
    if not 0 < clipped < len(logprobs):
        sys.exit(f"{case.name}: {clipped} of {len(logprobs)} tokens are clipped, which would prove little")
    return output.loss, clipped


def compare_grpo(case: Case, folder: Path) -> list[Found]:
    """Both comparisons of one case."""
    trainer = grpo_trainer(case, folder)
    batch = draw(trainer)
    tiny.move(trainer.model, MOVE, seed=2)
    mask = batch.inputs["completion_mask"].bool()
    old = batch.inputs["old_per_token_logps"]
    ours = tiny.doubled(trainer.model)
    trainer._compute_loss(trainer.model, dict(batch.inputs)).backward()
    logprobs, entropies = our_logprobs(ours, batch.inputs)
    loss, clipped = our_loss(case, batch, logprobs, entropies, old.double()[mask])
    loss.backward()
    check_ratios(case, (logprobs.detach() - old.double()[mask]).exp())
    theirs = {name: p.grad for name, p in trainer.model.named_parameters()}
    mine = {name: p.grad for name, p in ours.named_parameters()}
    found = [difference(case, "model", [(theirs[name], mine[name]) for name in theirs], clipped)]
    leaf = logps(trainer, trainer.model, batch.inputs).detach().double().requires_grad_()
    with handed(trainer, leaf):
        wide = {k: v.double() if v.is_floating_point() else v for k, v in batch.inputs.items()}
        trainer._compute_loss(trainer.model, wide).backward()
    own = leaf.detach()[mask].requires_grad_()
    loss, clipped = our_loss(case, batch, own, own.detach() * 0, old.double()[mask])
    loss.backward()
    assert leaf.grad is not None
    return [*found, difference(case, "loss", [(leaf.grad[mask], own.grad)], clipped)]


def check_ratios(case: Case, ratios: "Tensor") -> None:
    """End the run where ratios do not pass the clips on both sides."""
    if not (ratios.min() < 0.7 and ratios.max() > 1.6):
        sys.exit(f"{case.name}: ratios lie between {ratios.min():.2f} and {ratios.max():.2f}, within the clips")


@contextlib.contextmanager
def handed(trainer: Any, leaf: "Tensor") -> Iterator[None]:
    """Let the trainer's forward pass give `leaf` [B, C] as the log-probabilities."""
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (leaf, leaf.detach() * 0, None)
    try:
        yield
    finally:
        del trainer._get_per_token_logps_and_entropies


def compare_sft(folder: Path) -> list[Found]:
    """SFTTrainer.compute_loss on prompts with completions of several lengths."""
    import torch
    from datasets import Dataset
    from pydantic import TypeAdapter
    from trl import SFTConfig, SFTTrainer

    from hpt_core.plugins import config_union
    from hpt_core.upge.base import Group, TokenBatch
    from hpt_core.upge.estimator import Estimator

    texts = [" ".join(f"w{(5 * g + i) % WORDS}" for i in range(3 + 2 * g)) for g in range(GROUPS)]
    data = Dataset.from_dict({"prompt": prompts(), "completion": [f" {text}" for text in texts]})
    config = SFTConfig(**common(folder), per_device_train_batch_size=GROUPS, max_length=None, shuffle_dataset=False)
    trainer = SFTTrainer(model=tiny.model(), args=config, train_dataset=data, processing_class=tiny.tokenizer())
    trainer.model.train()
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
    estimator = Estimator(TypeAdapter(config_union("hpt_core.algorithms")).validate_python("sft"), max_length=64)
    rows = [row for g in range(GROUPS) for row in estimator.rows(Group(f"q{g}", (), (), lengths[g]))]
    row_ids = torch.repeat_interleave(torch.arange(GROUPS), torch.tensor(lengths))
    logprobs, entropies = our_logprobs(ours, batch)
    tokens = TokenBatch(logprobs, entropies, logprobs.detach(), row_ids)
    estimator.update(rows).loss(tokens, range(GROUPS)).loss.backward()
    theirs = {name: p.grad for name, p in trainer.model.named_parameters()}
    mine = {name: p.grad for name, p in ours.named_parameters()}
    case = Case("sft", {}, {}, "a mean over the completions' tokens in both")
    return [difference(case, "model", [(theirs[name], mine[name]) for name in theirs])]


def difference(case: Case, what: str, pairs: "list[tuple[Tensor, Tensor | None]]", clipped: int | None = None) -> Found:
    """Over all elements of (TRL's, ours)."""
    if any(ours is None for _, ours in pairs):
        sys.exit(f"{case.name}: a gradient is missing, nothing was compared")
    largest = max(theirs.abs().max().item() for theirs, _ in pairs)
    absolute = max((theirs.double() - ours.double()).abs().max().item() for theirs, ours in pairs if ours is not None)
    if largest == 0:
        sys.exit(f"{case.name}: TRL's gradient is zero, nothing was compared")
    count = sum(theirs.numel() for theirs, _ in pairs)
    return Found(case.name, what, absolute, absolute / largest, count, clipped, case.known)


def compare(options: argparse.Namespace) -> int:
    """Every case; runs in TRL's environment."""
    import torch

    torch.set_num_threads(1)
    found: list[Found] = []
    missing = []
    with tempfile.TemporaryDirectory(prefix="trl-losses-") as temporary:
        for case in CASES:
            if available(case):
                found += compare_grpo(case, Path(temporary) / case.name)
            else:
                missing.append(case.name)
        found += compare_sft(Path(temporary) / "sft")
    machine.write(options.out, [row._asdict() for row in found], machine.describe(1))
    report(found, missing, options)
    return int(any(row.relative > TOLERANCE for row in found) or bool(missing))


def available(case: Case) -> bool:
    from hpt_core import plugins

    return case.ours["name"] in plugins.names("hpt_core.algorithms")


def report(found: list[Found], missing: list[str], options: argparse.Namespace) -> None:
    import trl

    console = Console(width=None if sys.stdout.isatty() else 150)
    table = Table(title=f"Gradients: TRL {trl.__version__}'s own loss code and ours")
    for column in ("loss", "gradient of"):
        table.add_column(column)
    for column in ("elements", "clipped", "largest difference", "relative"):
        table.add_column(column, justify="right")
    table.add_column("known, and bridged")
    for row in found:
        style = "bold red" if row.relative > TOLERANCE else ""
        what = {"model": "all weights, float32", "loss": "logprobs, float64"}[row.what]
        clipped = "" if row.clipped is None else str(row.clipped)
        numbers = (str(row.elements), clipped, f"{row.absolute:.1e}", f"{row.relative:.1e}")
        table.add_row(row.case, what, *numbers, row.known if row.what == "model" else "", style=style)
    console.print(table)
    for name in missing:
        console.print(f"{name}: there is no such algorithm of ours, not compared", style="bold red")
    console.print(f"Wanted: at most {TOLERANCE:g} relative. Results in {options.out}", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=machine.RESULTS / "trl_losses.parquet")
    parser.add_argument("--here", action="store_true", help="this is TRL's environment already")
    trl_env.add_options(parser)
    options = parser.parse_args()
    if options.here:
        sys.exit(compare(options))
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment = {**os.environ, **offline, "PYTHONPATH": str(machine.ROOT)}
    command = [str(trl_env.python(options)), __file__, "--here", f"--out={options.out}"]
    sys.exit(subprocess.run(command, check=False, env=environment).returncode)


if __name__ == "__main__":
    main()
