"""Training on several ranks, started by torchrun and sharded by FSDP2. A single process runs the same program.

Each rank samples the rollouts of its own questions, then the ranks exchange them, so that each has the whole step.
Micro-batches are distributed among the ranks. All ranks must call every collective the same number of times.
"""

import contextlib
import datetime
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from hpt_core.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger("hpt.training.distributed")

Item = TypeVar("Item")

TIMEOUT = datetime.timedelta(hours=2)
"""How long a rank waits for the others, whose rollouts may take long."""


@dataclass(frozen=True)
class World:
    """This process's rank and the number of ranks in the run."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    """Ranks on this machine."""

    @property
    def is_main(self) -> bool:
        """Whether this rank writes the files that only one rank writes."""
        return self.rank == 0

    def all_gather(self, mine: Sequence[Item]) -> list[Sequence[Item]]:
        """The `mine` of every rank, ordered by rank."""
        if self.size == 1:
            return [mine]
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine)
        return found

    def barrier(self) -> None:
        """Wait for every rank."""
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier()

    def mine(self, groups: Sequence[list[int]]) -> list[list[int] | None]:
        """The groups that this rank computes. Every rank gets the same number; None marks a dummy micro-batch, which
        keeps the collectives in step.

        Groups are assigned in serpentine order (0, 1, 2, 2, 1, 0, ...), which balances the load if sorted by size.
        """
        if self.size == 1:
            return list(groups)
        rounds = -(-len(groups) // self.size)
        found: list[list[int] | None] = []
        for turn in range(rounds):
            place = self.rank if turn % 2 == 0 else self.size - 1 - self.rank
            index = turn * self.size + place
            found.append(groups[index] if index < len(groups) else None)
        return found


def world_from_environment() -> World:
    """The world that torchrun's environment variables describe; a single rank without them."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    try:
        rank, size, local_rank, local_size = (
            int(os.environ.get(name, default)) for name, default in zip(names, "0101", strict=True)
        )
    except ValueError as error:
        raise ConfigError(f"{', '.join(names)} must be numbers: {error}", "start with torchrun") from error
    return World(rank, size, local_rank, local_size)


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """The world, with its process group initialized for the duration of the context. Close engines before it ends."""
    import torch
    import torch.distributed as dist

    world = world_from_environment()
    if world.size == 1:
        yield world
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        if world.local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"{world.local_size} ranks on this machine, which has {torch.cuda.device_count()} GPUs",
                "set resources.processes, or torchrun's --nproc-per-node, to the number of GPUs",
            )
        torch.cuda.set_device(world.local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=TIMEOUT)
    try:
        yield world
    finally:
        # An engine may already have destroyed the group, and a failed rank must not wait for the others here.
        with contextlib.suppress(Exception):
            dist.destroy_process_group()


def shard(policy: "nn.Module", world: World, dtype: str) -> "nn.Module":
    """Shard `policy` over all ranks with FSDP2, layer by layer. With one rank, returns it unchanged.

    Master weights, gradients and moments stay in float32. For bfloat16, weights are cast when they are gathered.
    """
    if world.size == 1:
        return policy
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (world.size,))
    narrow = torch.bfloat16 if dtype == "bfloat16" else None
    # Inputs (token ids and float32 temperatures) must not be cast.
    precision = MixedPrecisionPolicy(param_dtype=narrow, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in _layers(policy):
        fully_shard(layer, mesh=mesh, mp_policy=precision)
    fully_shard(policy, mesh=mesh, mp_policy=precision)
    policy.autocast = False  # type: ignore[assignment]
    logger.info("rank %d of %d, sharded by FSDP2", world.rank, world.size)
    return policy


def _layers(policy: "nn.Module") -> list["nn.Module"]:
    """The model's repeated blocks."""
    from hpt_core.training.policy import causal_lm

    blocks = set(getattr(causal_lm(policy), "_no_split_modules", None) or ())
    return [module for module in policy.modules() if type(module).__name__ in blocks]
