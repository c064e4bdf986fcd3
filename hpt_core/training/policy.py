"""The trained policy: a causal language model, and a value head if the algorithm needs one.

Every use of the weights goes through `Policy.forward`, because FSDP2 gathers shards only when a module is called.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_core.errors import ModelError
from hpt_core.training.attention import LAYOUT, supports_packing, use_packed_attention
from hpt_core.training.batch import MicroBatch, Tokens, collate
from hpt_core.training.logprobs import TokenStatistics, token_statistics

if TYPE_CHECKING:
    from torch import Tensor, nn


def make_policy(model: "nn.Module", dtype: str, with_values: bool = False) -> "nn.Module":
    """A policy that computes in `dtype` with `model`, a transformers causal LM with or without LoRA adapters."""
    policy: nn.Module = _policy_class()(model, dtype, with_values)
    return policy


def forward(policy: "nn.Module", batch: MicroBatch) -> TokenStatistics:
    """Compute the statistics of a micro-batch's response tokens."""
    import torch

    found: TokenStatistics = policy(batch)
    if not torch.is_grad_enabled() and hasattr(policy, "reshard"):
        # FSDP2 reshards in the backward pass. Without one, the next pass would use the gathered, outdated weights.
        policy.reshard()  # type: ignore[operator]
    return found


def require_finite_logprobs(policy: "nn.Module", model: Path, prompt_ids: Sequence[int]) -> None:
    """Raise ModelError if log-probabilities after a prompt are NaN or infinite. Every rank must call this."""
    import torch

    # Any token will do: if one log-probability is not finite, none is.
    batch = collate([Tokens(tuple(prompt_ids), (prompt_ids[-1],))], next(policy.parameters()).device)
    with torch.no_grad():
        found = forward(policy, batch).logprobs
    if not bool(found.isfinite().all()):
        raise ModelError(
            f"the log-probabilities of {model} are NaN or infinite",
            'set dtype = "float32"; if they are NaN there too, fetch or convert the model again',
        )


def named_weights(policy: "nn.Module") -> Iterator[tuple[str, "Tensor"]]:
    """Every weight of the language model by Hugging Face name. Tied weights come under each name, as engines need them.

    Adapters are merged and shards are gathered. With several ranks, all of them must iterate.
    """
    from hpt_core.training.lora import merged

    for name, tensor in merged(policy.model):  # type: ignore[arg-type]
        weight = tensor.detach()
        yield name, weight.full_tensor() if hasattr(weight, "full_tensor") else weight


def causal_lm(policy: "nn.Module") -> Any:
    """The transformers model itself, without adapters around it."""
    model: Any = policy.model
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@cache
def _policy_class() -> Any:
    """The Policy class, defined on demand because configs load without torch."""
    import torch

    class Policy(torch.nn.Module):
        """forward: MicroBatch -> TokenStatistics."""

        def __init__(self, model: "nn.Module", dtype: str, with_values: bool) -> None:
            super().__init__()
            self.model = model
            self.packs = supports_packing(causal_lm(self))
            """Whether micro-batches may be packed."""
            if self.packs:
                use_packed_attention(causal_lm(self))
            self.autocast = dtype == "bfloat16"
            """Whether to use autocast. Off under FSDP2, whose mixed precision casts the weights instead."""
            config: Any = model.config
            self.value_head = torch.nn.Linear(config.hidden_size, 1) if with_values else None
            if self.value_head is not None:
                # Values start at 0, so that the first returns depend only on the rewards and not on the seed.
                torch.nn.init.zeros_(self.value_head.weight)
                torch.nn.init.zeros_(self.value_head.bias)

        def forward(self, batch: MicroBatch) -> TokenStatistics:
            causal = causal_lm(self)
            with torch.autocast(batch.input_ids.device.type, dtype=torch.bfloat16, enabled=self.autocast):
                packing = {} if batch.layout is None else {LAYOUT: batch.layout}
                output = causal.base_model(
                    input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False, **packing
                )
                hidden = output.last_hidden_state.flatten(0, 1).index_select(0, batch.positions)
                head = causal.get_output_embeddings()
                found = token_statistics(hidden, head, batch.targets, batch.temperatures)
                if self.value_head is None:
                    return found
                # sum() instead of squeeze(): a view would lose FSDP2's hook.
                return found._replace(values=self.value_head(hidden).float().sum(-1))

    return Policy
