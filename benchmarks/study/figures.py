"""Line charts as SVG, light enough to be part of a repository."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 56, 150, 36, 46
"""Margins: numbers of the y axis, legend, title, and numbers and label of the x axis."""
COLORS = ("#1b57b0", "#c2410c", "#0b6b41", "#7c3aed", "#a16207", "#0e7490", "#be185d", "#4d7c0f", "#475569", "#b91c1c")
DASHES = ("", "6 3", "2 3")
"""Of the first ten lines, the next ten, and so on: no two lines look the same."""
Series = Mapping[str, Sequence[tuple[float, float]]]
"""Name of a line -> its points (x, y)."""


def line_chart(title: str, x_label: str, series: Series, share: bool = False) -> str:
    """The chart as SVG text. With `share`, y runs from 0 to 1 and is shown in percent."""
    known = {name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in series.items()}
    points = [point for line in known.values() for point in line]
    most_x = max((x for x, _ in points), default=1.0) or 1.0
    low, high = (0.0, 1.0) if share else _range([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return LEFT + across * x / most_x, TOP + up * (1 - (y - low) / (high - low))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(title)}</title><desc>{escape(_described(known))}</desc>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="14" font-weight="600" fill="#1a1f29">{escape(title)}</text>',
    ]
    for y in _ticks(low, high):
        _, at = place(0, y)
        text = f"{100 * y:g} %" if share else f"{y:g}"
        parts += [
            f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="#dce1e7"/>',
            f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end" fill="#545d6b">{text}</text>',
        ]
    for x in _ticks(0, most_x):
        at, _ = place(x, low)
        text = _short(x)
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#545d6b">{text}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle" fill="#545d6b">{escape(x_label)}</text>')
    for number, (name, line) in enumerate(known.items()):
        look = f'stroke="{COLORS[number % len(COLORS)]}" stroke-width="2" fill="none"'
        if dash := DASHES[number // len(COLORS) % len(DASHES)]:
            look += f' stroke-dasharray="{dash}"'
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in line)
        parts.append(f'<polyline points="{path}" {look}/>')
        at, x = TOP + 8 + 18 * number, WIDTH - RIGHT + 10
        parts.append(f'<line x1="{x}" y1="{at}" x2="{x + 20}" y2="{at}" {look}/>')
        parts.append(f'<text x="{x + 26}" y="{at + 4}" fill="#1a1f29">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min([0.0, *values]), max(values, default=1.0)
    return low, high if high > low else low + 1


def _ticks(low: float, high: float) -> Iterator[float]:
    """At most six round numbers from `low` to `high`."""
    step = 10 ** math.floor(math.log10((high - low) / 5))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 5)
    first = math.ceil(low / step - 1e-9)
    yield from (round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1))


def _short(value: float) -> str:
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k" if value >= 1e4 else f"{value:g}"


def _described(series: Series) -> str:
    """The chart in words: where each line begins and ends."""
    return "; ".join(f"{name}: {line[0][1]:.3g} to {line[-1][1]:.3g}" for name, line in series.items() if line)
