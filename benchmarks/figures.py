"""Figures as SVG: light enough to be part of a page or of a repository, and readable without a script."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

TOP, BOTTOM, LEFT, END, LEGEND = 12, 44, 52, 14, 150
"""Margins: above, below for the numbers and label of the x axis, left for those of the y axis, and right without and
with a legend."""
TITLE = 24
"""Height of a title."""
ROW = 28
"""Height of a row of an interval chart."""
LONGEST = 26
"""Most characters of a name that are shown. The whole name is in its title."""
DASHES = ("", "6 3", "2 3")
"""Of the first lines, one for each color, then of the next: no two lines look the same."""


class Palette(NamedTuple):
    """Colors, as SVG and CSS write them."""

    paper: str | None
    """Background; None for none."""
    ink: str
    soft: str
    line: str
    lines: tuple[str, ...]


PRINTED = Palette(
    "#fff", "#1a1f29", "#545d6b", "#dce1e7",
    ("#4b5563", "#1b57b0", "#c2410c", "#0b6b41", "#7c3aed", "#a16207", "#be185d", "#0e7490"),
)  # fmt: skip
"""For files, which are shown on white."""
PAGE = Palette(None, "var(--ink)", "var(--soft)", "var(--line)", tuple(f"var(--c{number})" for number in range(8)))
"""For figures within a page, with its variables, so that they follow its color scheme."""


class ChartLine(NamedTuple):
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    color: int
    """Place in the palette; further ones begin again with dashes."""


class Mark(NamedTuple):
    """One row of an interval chart."""

    name: str
    value: float
    low: float | None
    """Lower end of its interval; None without one."""
    high: float | None
    color: int | None
    """Place in the palette; None for a hollow mark."""


def line_chart(
    title: str,
    x_label: str,
    lines: Sequence[ChartLine],
    share: bool = False,
    palette: Palette = PRINTED,
    size: tuple[int, int] = (640, 340),
) -> str:
    """Lines over x, which begins at 0. With `share`, y runs from 0 to 1, or as far as the values, in percent. With a
    background it also has its title and a legend; otherwise the page has them."""
    width, height = size
    alone = palette.paper is not None
    top, right = (TOP + TITLE, LEGEND) if alone else (TOP, END)
    known = [line._replace(points=[(x, y) for x, y in line.points if math.isfinite(y)]) for line in lines]
    points = [point for line in known for point in line.points]
    _, most = _range([x for x, _ in points], None)
    low, high = _range([y for _, y in points], 1.0 if share else None)

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = width - LEFT - right, height - top - BOTTOM
        return LEFT + across * x / most, top + up * (1 - (y - low) / (high - low))

    parts = []
    for y in _ticks(low, high):
        _, at = place(0, y)
        parts.append(_rule(LEFT, at, width - right, at, palette.line))
        parts.append(_text(LEFT - 6, at + 4, f"{100 * y:g} %" if share else f"{y:g}", palette.soft, "end"))
    for x in _ticks(0, most):
        parts.append(_text(place(x, low)[0], height - BOTTOM + 18, _short(x), palette.soft, "middle"))
    parts.append(_text((LEFT + width - right) / 2, height - 8, x_label, palette.soft, "middle"))
    for number, line in enumerate(known):
        look = _look(line.color, palette)
        about = f"<title>{escape(_told(line))}</title>"
        if len(line.points) == 1:
            x, y = place(*line.points[0])
            ink = _color(line.color, palette)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{ink}">{about}</circle>')
        else:
            path = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in line.points)
            parts.append(f'<polyline points="{path}" {look}>{about}</polyline>')
        if alone:
            below, left = top + 8 + 18 * number, width - right + 10
            parts.append(f'<line x1="{left}" y1="{below}" x2="{left + 20}" y2="{below}" {look}/>')
            parts.append(_text(left + 26, below + 4, _shortened(line.name, 18), palette.ink))
    return _svg(title, "; ".join(map(_told, known)), (width, height), palette, parts)


def interval_chart(title: str, marks: Sequence[Mark], palette: Palette = PRINTED, width: int = 420) -> str:
    """Values in percent with their intervals, one row each, the first on top."""
    height = TOP + ROW * len(marks) + BOTTOM
    left = 8 + 7 * max((len(_shortened(mark.name)) for mark in marks), default=0)
    most = max([1.0, *(max(mark.value, mark.high or 0.0) for mark in marks)])

    def place(value: float) -> float:
        return left + (width - left - END) * value / most

    parts = []
    for x in _ticks(0, most):
        parts.append(_rule(place(x), TOP, place(x), height - BOTTOM, palette.line))
        parts.append(_text(place(x), height - BOTTOM + 18, _short(x), palette.soft, "middle"))
    parts.append(_text((left + width - END) / 2, height - 8, "percent", palette.soft, "middle"))
    for row, mark in enumerate(marks):
        y, x = TOP + ROW * (row + 0.5), place(mark.value)
        parts.append(_text(left - 8, y + 4, _shortened(mark.name), palette.ink, "end", mark.name))
        ink = palette.soft if mark.color is None else _color(mark.color, palette)
        about = f"<title>{escape(_valued(mark))}</title>"
        if mark.low is not None and mark.high is not None:
            parts.append(_rule(place(mark.low), y, place(mark.high), y, ink, 1.5))
        if mark.color is None:
            parts.append(
                f'<path d="M{x - 5:.1f},{y:.1f}l5,-5l5,5l-5,5z" fill="none" stroke="{ink}" stroke-width="1.5">'
                f"{about}</path>"
            )
        else:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{ink}">{about}</circle>')
    return _svg(title, "; ".join(map(_valued, marks)), (width, height), palette, parts)


def key(color: int, palette: Palette) -> str:
    """A piece of a line, for a page's legend."""
    line = f'<line x1="0" y1="4" x2="24" y2="4" {_look(color, palette)}/>'
    return f'<svg viewBox="0 0 24 8" width="24" height="8" aria-hidden="true">{line}</svg>'


def _svg(title: str, told: str, size: tuple[int, int], palette: Palette, parts: Sequence[str]) -> str:
    width, height = size
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(title)}</title><desc>{escape(told)}</desc>",
    ]
    if palette.paper is not None:
        head.append(f'<rect width="{width}" height="{height}" fill="{palette.paper}"/>')
        head.append(
            f'<text x="{LEFT}" y="20" font-size="14" font-weight="600" fill="{palette.ink}">{escape(title)}</text>'
        )
    return "\n".join([*head, *parts, "</svg>", ""])


def _rule(x: float, y: float, to_x: float, to_y: float, color: str, width: float = 1) -> str:
    ends = f'x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"'
    return f'<line {ends} stroke="{color}" stroke-width="{width:g}"/>'


def _text(x: float, y: float, text: str, color: str, anchor: str = "start", about: str = "") -> str:
    title = f"<title>{escape(about)}</title>" if about and about != text else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{escape(text)}{title}</text>'


def _color(number: int, palette: Palette) -> str:
    return palette.lines[number % len(palette.lines)]


def _look(number: int, palette: Palette) -> str:
    dash = DASHES[number // len(palette.lines) % len(DASHES)]
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'stroke="{_color(number, palette)}" stroke-width="1.75" fill="none"{dashes}'


def _shortened(name: str, most: int = LONGEST) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _told(line: ChartLine) -> str:
    """A line in words: where it begins and ends."""
    if not line.points:
        return f"{line.name}: no values"
    return f"{line.name}: {line.points[0][1]:.3g} to {line.points[-1][1]:.3g}"


def _valued(mark: Mark) -> str:
    interval = "" if mark.low is None or mark.high is None else f" ({mark.low:.1f} to {mark.high:.1f})"
    return f"{mark.name}: {mark.value:.1f}{interval}"


def _range(values: Sequence[float], least: float | None) -> tuple[float, float]:
    """From 0 or below to the highest value, at least to `least`."""
    low, high = min([0.0, *values]), max(values, default=1.0)
    high = high if least is None else max(high, least)
    return low, high if high - low > 1e-12 else low + 1


def _ticks(low: float, high: float) -> Iterator[float]:
    """At most six round numbers from `low` to `high`."""
    step = 10 ** math.floor(math.log10((high - low) / 5))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 5)
    first = math.ceil(low / step - 1e-9)
    yield from (round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1))


def _short(value: float) -> str:
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k" if value >= 1e4 else f"{value:g}"
