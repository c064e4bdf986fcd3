"""The page as HTML; test_page_browser.py opens it in a browser."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.report.board import Board, make_board
from benchmarks.report.build import build
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.page import MOST, Tables, averages, curves, render
from benchmarks.report.trained import trained
from hpt_core.texts import HIDDEN

Make = Callable[..., ReportInputs]
EVIL = """</script><script>alert(1)</script><img src=x onerror=alert(2)>" onclick="alert(3)" '{{7*7}}"""


class Outline(HTMLParser):
    """Tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.texts.append(data)


def read(html: str) -> Outline:
    outline = Outline()
    outline.feed(html)
    return outline


def relabeled(inputs: ReportInputs, text: str) -> ReportInputs:
    models = tuple(m.model_copy(update={"label": f"{text} {m.label}"}) for m in inputs.models)
    return inputs.model_copy(update={"title": text, "pipeline": text, "notes": (text,), "models": models})


def test_hostile_texts_are_escaped(hand_inputs: Make) -> None:
    plain, hostile = hand_inputs(), relabeled(hand_inputs(), EVIL)
    suites = tuple(s.model_copy(update={"title": f"{EVIL} {s.title}"}) for s in hostile.suites)
    hostile = hostile.model_copy(update={"suites": suites})
    build(plain)
    # A note is a paragraph, a name is isolated, and a long one has spans for its words, and in a figure a title.
    added = ("span", "bdi", "p", "title")
    expected = [tag for tag, _ in read((plain.output / "site/index.html").read_text()).tags if tag not in added]
    build(hostile)
    outline = read((hostile.output / "site/index.html").read_text())
    found = [tag for tag, _ in outline.tags if tag not in added]
    assert found == expected
    assert not [attrs for _, attrs in outline.tags if any(name.startswith("on") for name in attrs)]
    assert EVIL in outline.texts


def test_marks_of_direction_are_shown_and_names_are_isolated(hand_inputs: Make) -> None:
    inputs = relabeled(hand_inputs(), "\u202egnp")
    suites = tuple(s.model_copy(update={"title": f"\u2067{s.title}"}) for s in inputs.suites)
    inputs = inputs.model_copy(update={"suites": suites})
    build(inputs)
    for name in ("leaderboard.md", "site/index.html"):
        text = (inputs.output / name).read_text()
        assert not HIDDEN.search(text)
        assert "\\u202egnp hpt" in text and "\\u2067AIME 2024" in text
    html = (inputs.output / "site/index.html").read_text()
    for found in re.findall(r">([^<>]*\\u202egnp hpt[^<>]*)<", html.partition("<main>")[2]):
        alone = f"<bdi>{found}</bdi>" in html or f"<title>{found}</title>" in html or f"<desc>{found}</desc>" in html
        assert alone or ">" + found + "</text>" in html, found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_no_text_breaks_the_structure(hand_inputs: Make, text: str) -> None:
    inputs = hand_inputs()
    tables = inputs.output / "tables"
    if not tables.exists():
        build(inputs)
    board = make_board(pq.read_table(tables / "scores.parquet"))
    names = ("comparisons", "exclusive", "training_log")
    shown = Tables(*(pq.read_table(tables / f"{name}.parquet") for name in names))
    changed = inputs.model_copy(update={"title": text, "pipeline": text})
    plain = read(render(inputs, board, shown))
    assert [t for t, _ in read(render(changed, board, shown)).tags] == [t for t, _ in plain.tags]


def test_the_page_loads_nothing_from_the_network(hand_inputs: Make) -> None:
    inputs = hand_inputs(published="qwen2.5-math-7b")
    build(inputs)
    html = (inputs.output / "site/index.html").read_text()
    links = [a.get(n) for _, a in read(html).tags for n in ("src", "href") if a.get(n)]
    assert sorted(set(links)) == [
        "../leaderboard.md",
        "../tables/comparisons.parquet",
        "../tables/contamination.parquet",
        "../tables/exclusive.parquet",
        "../tables/scores.parquet",
        "../tables/training_log.parquet",
        "data:,",
    ]
    assert all((inputs.output / "site" / link).resolve().is_file() for link in links if link != "data:,")
    assert "<code>samples.parquet</code>" in html, "it is named without a link, because publishers leave it out"
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def page_of(inputs: ReportInputs) -> str:
    build(inputs)
    return (inputs.output / "site/index.html").read_text()


def test_the_page_of_twenty_models_is_under_2_megabytes(many: Make) -> None:
    html = page_of(many(MOST))
    assert html.count('class="matrix"') == 8
    assert len(html.encode()) < 1.8e6


def test_more_models_have_no_pairs_on_the_page_which_says_where_they_are(many: Make) -> None:
    html = page_of(many(MOST + 1))
    assert 'class="matrix"' not in html
    assert "<code>hpt compare A B</code>" in html
    assert len(html.encode()) < 1.2e6


def board_and_log(inputs: ReportInputs) -> tuple[Board, pa.Table, dict[str, int]]:
    build(inputs)
    tables = inputs.output / "tables"
    board = make_board(pq.read_table(tables / "scores.parquet"))
    colors = {model.name: place for place, model in enumerate(inputs.models)}
    return board, pq.read_table(tables / "training_log.parquet"), colors


def test_figures_show_the_numbers_of_the_tables(hand_inputs: Make) -> None:
    board, log, colors = board_and_log(hand_inputs())
    rewards = log.column("reward").to_pylist()
    found = dict(curves(log, colors))["Reward, mean over rollouts"]
    assert f"{rewards[0]:.3g} to {rewards[-1]:.3g}" in found
    (line,) = re.findall(r'points="(.*?)"', found)
    xs = [float(point.split(",")[0]) for point in line.split()]
    assert len(xs) == 5
    assert max(abs(b - a - (xs[1] - xs[0])) for a, b in pairwise(xs)) < 0.11, "the steps are 1 to 5"
    described = re.findall(r"<desc>(.*?)</desc>", averages(board, colors)[0][1])[0]
    assert [re.findall(r": ([0-9.]+)", row)[0] for row in described.split("; ")] == ["25.0", "75.0"]


def test_averages_have_their_marks_in_the_figure_too(hand_inputs: Make) -> None:
    inputs = hand_inputs()
    others = tuple(
        suite.model_copy(update={"rules": suite.rules.model_copy(update={"k": suite.rules.k + 1})})
        for suite in inputs.suites
    )
    board, _, colors = board_and_log(inputs.model_copy(update={"suites": others}))
    found = averages(board, colors)[0][1]
    assert found.count("hpt †:") == found.count("base † cut 25%:") == 2, "in words and at its mark"


def test_a_metric_without_values_has_no_figure(full_inputs: ReportInputs) -> None:
    _, log, colors = board_and_log(full_inputs)
    lines = {title: re.findall(r"<polyline[^>]*><title>(\w+):", svg) for title, svg in curves(log, colors)}
    assert lines["Reward, mean over rollouts"] == ["GRPO", "HPT"]
    assert lines["Negative log-likelihood of demonstrations, nats a token"] == ["SFT", "GRPO", "HPT"]
    assert "nan" not in "".join(svg for _, svg in curves(log, colors))


def test_the_trainings_are_told_by_quarters(full_inputs: ReportInputs) -> None:
    _, log, _ = board_and_log(full_inputs)
    found = {row.label: row for row in trained(log)}
    assert (found["SFT"].reward, found["SFT"].truncated, found["SFT"].gate) == ("", "", "100 · 100 · 100 · 100")
    rows = [row for row in log.to_pylist() if row["label"] == "HPT"]
    shares = [float(share) for share in found["HPT"].gate.split(" · ")]
    assert shares == [
        round(100 * mean) for mean in np.mean(np.split(np.array([r["demonstration_share"] for r in rows]), 4), axis=1)
    ]
    assert len(found["HPT"].reward.split(" · ")) == 4
    for name in ("leaderboard.md", "site/index.html"):
        text = (full_inputs.output / name).read_text()
        assert all(row.gate in text for row in found.values())


def test_a_single_model_without_training_has_a_page(hand_inputs: Make) -> None:
    inputs = hand_inputs()
    inputs = inputs.model_copy(update={"models": inputs.models[:1]})
    build(inputs)
    html = (inputs.output / "site/index.html").read_text()
    assert "<dt>Measured until</dt><dd><bdi>2026-01-31 06:00 UTC</bdi></dd>" in html
    assert "Differences to" not in html
    assert 'id="curves"' not in html
    assert html.count('class="number best') == 0
    assert html.count('class="number') == 5
