"""TRL's loss code for bench.parity.compare: TRL's trainers, with methods called outside the training loop."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def common(folder: Path) -> dict[str, Any]:
    """Arguments that both trainers share."""
    return {
        "output_dir": str(folder),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": [],
        "save_strategy": "no",
        "seed": 0,
    }


def grpo_trainer(
    model: "nn.Module",
    tokenizer: Any,
    prompts: Sequence[str],
    rewards: Sequence[float],
    length: int,
    folder: Path,
    config: dict[str, Any],
) -> Any:
    """A GRPOTrainer on `prompts`. `rewards` holds the fixed reward of each rollout, group after group. `config` holds
    the fields of GRPOConfig that choose the loss."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    arguments = GRPOConfig(
        **common(folder),
        per_device_train_batch_size=len(rewards),
        num_generations=len(rewards) // len(prompts),
        max_completion_length=length,
        **config,
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=lambda completions, **_: list(rewards),
        args=arguments,
        train_dataset=Dataset.from_dict({"prompt": list(prompts)}),
        processing_class=tokenizer,
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


def sample(trainer: Any, prompts: Sequence[str], rollouts: int) -> "dict[str, Tensor]":
    """Sample responses and return the inputs of _compute_loss: ids and masks [B, P] and [B, C], advantages [B], and the
    old log-probabilities [B, C], which are those at sampling time."""
    import torch

    torch.manual_seed(3)
    rows = [{"prompt": text} for text in prompts for _ in range(rollouts)]
    inputs: dict[str, Tensor] = trainer._generate_and_score_completions(rows)
    with torch.no_grad():
        inputs["old_per_token_logps"] = logprobs(trainer, inputs)
    return inputs


def logprobs(trainer: Any, inputs: "dict[str, Tensor]") -> "Tensor":
    """Log-probabilities [B, C] of the responses, from TRL's forward pass."""
    import torch

    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    length = inputs["completion_ids"].size(1)
    found: Tensor = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, length)[0]
    return found


@contextlib.contextmanager
def handed(trainer: Any, leaf: "Tensor") -> Iterator[None]:
    """Make the trainer's forward pass return `leaf` [B, C] as the log-probabilities."""
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (leaf, leaf.detach() * 0, None)
    try:
        yield
    finally:
        del trainer._get_per_token_logps_and_entropies


def sft_trainer(
    model: "nn.Module", tokenizer: Any, prompts: Sequence[str], completions: Sequence[str], folder: Path
) -> Any:
    """An SFTTrainer on prompts with completions."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    data = Dataset.from_dict({"prompt": list(prompts), "completion": list(completions)})
    config = SFTConfig(
        **common(folder), per_device_train_batch_size=len(prompts), max_length=None, shuffle_dataset=False
    )
    trainer = SFTTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
    trainer.model.train()
    return trainer
