"""How the released code of HPT, LUFFY and SRFT splits an update, as far as its losses depend on that.

It cuts each GPU's rows into micro-batches by a token budget. The losses of the micro-batches add up, and FSDP averages
the sums over the GPUs. A sum over tokens is therefore divided by the number of GPUs, and a mean over the tokens of a
micro-batch counts once per micro-batch. (mix_actor.py and mix_fsdp_worker.py of the HPT repository: gradient
accumulation is 1, whatever the number of micro-batches.)

Our updates give the same gradient however they are split, so the number of micro-batches is a setting here.
"""

import math

from pydantic import Field

from hpt_core.base import Frozen


class MicroBatches(Frozen):
    """Micro-batches of an update in the released code."""

    gpus: int = Field(default=8, ge=1)
    """GPUs, over which the losses are averaged."""
    token_budget: int = Field(default=32_768, ge=1)
    """Largest number of tokens in a micro-batch (scripts: 32,768). It counts response tokens here, and those of the
    prompt too in the scripts."""
    count: int | None = Field(default=None, ge=1)
    """Micro-batches of an update, on all GPUs together. None takes as many as the budget needs, at least one a GPU."""

    def of_update(self, tokens: int) -> int:
        """Number of micro-batches of an update with so many response tokens."""
        return self.count or max(self.gpus, math.ceil(tokens / self.token_budget))

    def with_any(self, rows: int, tokens: int) -> float:
        """Expected number of micro-batches that hold at least one of `rows` rows, which are spread at random."""
        count = self.of_update(tokens)
        return count * (1 - (1 - 1 / count) ** rows)
