"""TRL's side of bench.speed.step: its GRPOTrainer, one step at a time.

    TRL-PYTHON -m bench._peers.adapters.trl_step SPEC.json   (bench.speed.step starts it and requests the steps)

TRL generates with transformers. min_new_tokens = max_new_tokens, so every response has exactly that many tokens. The
reward function returns 0 and 1 in turn, so every sequence has a gradient.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from bench._peers.stepper import Child


def alternate(completions: list[Any], **_: Any) -> list[float]:
    """Rewards 0, 1, 0, 1, ... Groups are consecutive and of even size, so half of each group's rewards are 1."""
    return [float(i % 2) for i in range(len(completions))]


def build(spec: dict[str, Any]) -> Any:
    """The trainer."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    tokenizer = AutoTokenizer.from_pretrained(spec["model"], padding_side="left")
    for text, ids in zip(spec["prompts"], spec["prompt_ids"], strict=True):
        if tokenizer(text).input_ids != ids:
            sys.exit("TRL tokenizes a prompt differently from us, so both sides would not do the same work")
    sequences = len(spec["prompts"]) * spec["rollouts"]
    config = GRPOConfig(
        output_dir=spec["output"],
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        model_init_kwargs={"dtype": "float32"},
        per_device_train_batch_size=spec["micro_batch"],
        gradient_accumulation_steps=sequences // spec["micro_batch"],
        gradient_checkpointing=spec["gradient_checkpointing"],
        num_generations=spec["rollouts"],
        max_completion_length=spec["tokens"],
        generation_kwargs={"min_new_tokens": spec["tokens"]},
        temperature=1.0,
        loss_type="grpo",
        beta=0.0,
        epsilon=0.2,
        num_iterations=1,
        learning_rate=spec["learning_rate"],
        lr_scheduler_type="constant",
        adam_beta1=0.9,
        adam_beta2=0.999,
        adam_epsilon=1e-8,
        weight_decay=0.01,
        max_grad_norm=1.0,
        max_steps=spec["steps"],
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=spec["seed"],
    )
    return GRPOTrainer(
        model=spec["model"],
        reward_funcs=alternate,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": spec["prompts"]}),
        processing_class=tokenizer,
    )


def take_turns(trainer: Any, child: Child) -> None:
    """Pause at the end of every optimizer step and report the seconds of generation."""
    import trl
    from transformers import TrainerCallback

    seconds = {"rollout": 0.0}
    generate = trainer._generate_and_score_completions

    def timed(inputs: Any) -> Any:
        started = time.perf_counter()
        try:
            return generate(inputs)
        finally:
            seconds["rollout"] += time.perf_counter() - started

    class Turns(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            metrics = trainer._metrics["train"]
            child.pause(
                version=trl.__version__,
                seconds_rollout=seconds["rollout"],
                response_tokens=metrics["completions/min_length"][-1],
                longest=metrics["completions/max_length"][-1],
                reward=metrics["reward"][-1],
                groups_without_gradient=metrics["frac_reward_zero_std"][-1],
            )
            seconds["rollout"] = 0.0

    trainer._generate_and_score_completions = timed
    trainer.add_callback(Turns())


if __name__ == "__main__":
    turns = Child()
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    import torch

    torch.set_num_threads(given["threads"])
    made = build(given)
    take_turns(made, turns)
    made.train()
