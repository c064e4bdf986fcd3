"""Model FLOPs utilization (MFU): the operations that a step needs over those that the card can do in the same time."""

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}
"""Part of the card's name -> dense bfloat16 FLOP/s from the data sheet. H100: the SXM version."""
OTHERS = ("PCIe", "NVL")
"""Names of H100 versions that are slower than SXM."""
FLOPS = 6
"""Floating-point operations per weight and token, forward and backward."""


def peak(card: str | None) -> float | None:
    """Dense bfloat16 FLOP/s of a card by its CUDA name; None if unknown."""
    if card is None or ("H100" in card and any(part in card for part in OTHERS)):
        return None
    return next((flops for name, flops in PEAKS.items() if name in card), None)


def utilization(parameters: int, tokens: int, seconds: float, card: str | None) -> float | None:
    """Share of the card's peak: 6 x parameters x tokens / `seconds` / peak; None if the card is unknown.

    Embeddings count as parameters. The formula ignores the operations that LoRA saves and those that gradient
    checkpointing adds, because MFU counts only the model's own operations.
    """
    flops = peak(card)
    return None if flops is None else FLOPS * parameters * tokens / (seconds * flops)
