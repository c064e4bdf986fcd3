"""Model FLOPs utilization."""

import pytest

from bench.speed.gpu.cards import peak, utilization


@pytest.mark.parametrize(
    ("card", "flops"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA L40", None),
        ("Tesla T4", None),
        (None, None),
    ],
)
def test_peaks_of_known_cards(card: str | None, flops: float | None) -> None:
    assert peak(card) == flops


def test_utilization() -> None:
    assert utilization(10**9, 1000, 0.012134, "NVIDIA H200") == pytest.approx(0.5, rel=1e-4)
    assert utilization(10**9, 1000, 0.1, None) is None
