"""Figures as SVG: what they say, and that names cannot break them."""

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import PAGE, PRINTED, ChartLine, Mark, Palette, interval_chart, line_chart

NUMBERS = st.floats(-1e9, 1e9)


@pytest.mark.parametrize("palette", [PRINTED, PAGE])
def test_names_are_escaped(palette: Palette) -> None:
    lines = [ChartLine("<script>", [(0, 0.5), (10, 1.0)], 0)]
    chart = line_chart("a < b", "x & y", lines, share=True, palette=palette)
    marks = interval_chart("a < b", [Mark("<script>", 1.0, 0.5, 2.0, 0), Mark("<b>", 3.0, None, None, None)], palette)
    for text in (chart, marks):
        assert "<script>" not in text
        assert ET.fromstring(text).get("role") == "img"
    assert "&lt;script&gt;: 0.5 to 1" in chart
    assert "&lt;script&gt;: 1.0 (0.5 to 2.0); &lt;b&gt;: 3.0" in marks


def test_shares_beyond_one_stay_in_the_figure() -> None:
    chart = line_chart("t", "x", [ChartLine("penalized", [(0, -0.5), (10, 1.4)], 0)], share=True)
    ys = [float(point.split(",")[1]) for point in re.findall(r'points="(.*?)"', chart)[0].split()]
    assert all(0 <= y <= 340 for y in ys)


def test_further_lines_have_dashes() -> None:
    lines = [ChartLine(f"m{n}", [(0, 0.0), (1, 1.0)], n) for n in range(20)]
    looks = re.findall(r"<polyline [^>]*?(stroke=.*?)>", line_chart("t", "x", lines))
    assert len(set(looks)) == 20


@given(st.lists(st.lists(st.tuples(st.floats(0, 1e9), NUMBERS | st.just(float("nan"))), max_size=5), max_size=3))
def test_any_numbers_give_a_figure(points: list[list[tuple[float, float]]]) -> None:
    text = line_chart("t", "x", [ChartLine(f"m{n}", line, n) for n, line in enumerate(points)])
    assert "nan" not in text
    ET.fromstring(text)
