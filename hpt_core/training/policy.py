"""The policy that is trained: a causal language model, and a value head where the algorithm needs one.

Everything that passes through the weights goes through `Policy.forward`, so that wrappers which act on a module's call
(FSDP2 above all) see every use.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from hpt_core.training.attention import LAYOUT, supports_packing, use_packed_attention
from hpt_core.training.batch import MicroBatch
from hpt_core.training.logprobs import TokenStatistics, token_statistics

if TYPE_CHECKING:
    from torch import Tensor, nn


def make_policy(model: "nn.Module", dtype: str, with_values: bool = False) -> "nn.Module":
    """`model` (a transformers causal LM, perhaps with LoRA adapters) as a policy that computes in `dtype`."""
    policy: nn.Module = _policy_class()(model, dtype, with_values)
    return policy


def forward(policy: "nn.Module", batch: MicroBatch) -> TokenStatistics:
    """Statistics of a micro-batch's response tokens."""
    import torch

    found: TokenStatistics = policy(batch)
    if not torch.is_grad_enabled() and hasattr(policy, "reshard"):
        # No backward pass will, and a later pass would compute with what is gathered now, whatever an update changed.
        policy.reshard()  # type: ignore[operator]
    return found


def named_weights(policy: "nn.Module") -> Iterator[tuple[str, "Tensor"]]:
    """Every weight of the language model under each of its Hugging Face names: tied ones twice, as engines need them.

    Adapters are merged into the weights they adapt, and shards gathered: with several ranks, all of them must iterate.
    """
    from hpt_core.training.lora import merged

    for name, tensor in merged(policy.model):  # type: ignore[arg-type]
        yield name, _whole(tensor.detach())


def causal_lm(policy: "nn.Module") -> Any:
    """The transformers model itself, without adapters around it."""
    model: Any = policy.model
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _whole(tensor: "Tensor") -> "Tensor":
    gathered: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return gathered


@cache
def _policy_class() -> Any:
    """The module's class; made on demand, since configs load without torch."""
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
            """Off where the weights themselves come in the compute dtype, as under FSDP2's mixed precision."""
            config: Any = model.config
            self.value_head = torch.nn.Linear(config.hidden_size, 1) if with_values else None
            if self.value_head is not None:
                # Values start at 0: returns are then what the rewards alone say, whatever the seed.
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
                # A sum, where a view would lose FSDP2's hook.
                return found._replace(values=self.value_head(hidden).float().sum(-1))

    return Policy
