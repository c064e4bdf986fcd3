"""Attention of packed rows."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hpt_core.training.attention import LAYOUT, Layout, Segments, Span, _fits_kernel, attend, segments

HEADS, KEY_HEADS, SIZE = 4, 2, 16
NO_MODULE: Any = SimpleNamespace()


@st.composite
def some_spans(draw: st.DrawFn) -> tuple[Span, ...]:
    span = st.tuples(st.integers(1, 5), st.lists(st.integers(0, 6), max_size=4))
    shapes = draw(st.lists(span, min_size=1, max_size=4))
    starts = itertools.accumulate((prompt + sum(own) for prompt, own in shapes), initial=0)
    return tuple(Span(start, prompt, tuple(own)) for start, (prompt, own) in zip(starts, shapes, strict=False))


def inputs(spans: tuple[Span, ...], device: str = "cpu", dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Query, key and value [1, H, T, D] for the tokens of `spans`."""
    torch.manual_seed(0)
    tokens = spans[-1].starts[-1]
    return [
        torch.randn(1, heads, tokens, SIZE, device=device, dtype=dtype, requires_grad=True)
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    ]


def attended(tensors: list[Tensor], layout: Layout) -> Tensor:
    query, key, value = tensors
    options: dict[str, Any] = {LAYOUT: layout}
    return attend(NO_MODULE, query, key, value, None, **options)[0]


def by_segments(tensors: list[Tensor], found: Segments) -> Tensor:
    """What the kernel is to compute, [1, T, H, D], with one dense mask for each segment."""
    query, key, value = tensors
    key, value = (x.repeat_interleave(HEADS // KEY_HEADS, dim=1)[0] for x in (key, value))
    if found.gathered is not None:
        key, value = key[:, found.gathered], value[:, found.gathered]
    parts = []
    for (a, b), (c, d) in zip(itertools.pairwise(found.queries), itertools.pairwise(found.keys), strict=True):
        n, m = int(b - a), int(d - c)
        assert (n, m) <= found.longest
        seen = torch.ones(n, m, dtype=torch.bool).tril(m - n)
        scores = query[0, :, a:b] @ key[:, c:d].transpose(1, 2) / SIZE**0.5
        parts.append(scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value[:, c:d])
    return torch.cat(parts, dim=1).transpose(0, 1)[None]


@given(spans=some_spans())
def test_segments_and_spans_mean_the_same(spans: tuple[Span, ...]) -> None:
    tensors = inputs(spans)
    expected = attended(tensors, Layout(spans))
    torch.testing.assert_close(by_segments(tensors, segments(spans, "cpu")), expected)


def test_rows_that_share_no_prompt_need_no_copy_of_their_keys() -> None:
    found = segments((Span(0, 3, (4,)), Span(7, 2, ()), Span(9, 1, (0, 2))), "cpu")
    assert found.gathered is None
    assert found.queries.tolist() == found.keys.tolist() == [0, 7, 9, 12]
    assert found.longest == (7, 7)


@pytest.mark.parametrize(
    ("sizes", "dtype", "fits"),
    [
        ((64, 64, 64), torch.bfloat16, True),
        ((256, 256, 256), torch.bfloat16, True),
        ((64, 64, 64), torch.float32, False),
        ((192, 192, 128), torch.bfloat16, False),
        ((20, 20, 20), torch.bfloat16, False),
        ((512, 512, 512), torch.bfloat16, False),
    ],
)
def test_other_precisions_and_sizes_are_computed_row_by_row(
    sizes: tuple[int, int, int], dtype: torch.dtype, fits: bool
) -> None:
    assert _fits_kernel(*(torch.zeros(1, 1, 2, size, dtype=dtype) for size in sizes)) == fits


def distance(found: Tensor, expected: Tensor) -> float:
    """Relative to the expected."""
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_kernel_agrees_with_one_call_for_each_row() -> None:
    spans = (Span(0, 40, (70, 1, 33)), Span(144, 7, (90,)), Span(241, 12, ()))
    exact = inputs(spans, "cuda", torch.float64)
    narrow = [x.detach().to(torch.bfloat16).requires_grad_() for x in exact]
    layout = Layout(spans).on("cuda")
    assert layout.segments is not None
    expected, found = attended(exact, Layout(spans)), attended(narrow, layout)
    assert distance(found, expected) < 0.01
    weights = torch.randn_like(expected)
    for output in (found, expected):
        (output.double() * weights).sum().backward()  # type: ignore[no-untyped-call]
    for one, other in zip(narrow, exact, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert distance(one.grad, other.grad) < 0.02
