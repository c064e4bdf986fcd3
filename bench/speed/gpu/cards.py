"""Model FLOPs utilization: the arithmetic that a step must do over what the card could have done in its time."""

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}
"""Dense bfloat16 FLOP/s by a part of the card's name, from the makers' data sheets; of the H100 the SXM's."""
OTHERS = ("PCIe", "NVL")
"""Parts of the names of H100s that are slower than the SXM."""
FLOPS = 6
"""Floating-point operations for each weight and token, forward and backward."""


def peak(card: str | None) -> float | None:
    """Dense bfloat16 FLOP/s of a card by the name that CUDA gives it; None where it is not known."""
    if card is None or ("H100" in card and any(part in card for part in OTHERS)):
        return None
    return next((flops for name, flops in PEAKS.items() if name in card), None)


def utilization(parameters: int, tokens: int, seconds: float, card: str | None) -> float | None:
    """Share of the card's peak: 6 x parameters x tokens over `seconds`; None where the card is not known.

    Embeddings count as parameters. Operations that LoRA spares, and those that gradient checkpointing adds, are left
    out on purpose: the measure is of the model's arithmetic.
    """
    flops = peak(card)
    return None if flops is None else FLOPS * parameters * tokens / (seconds * flops)
