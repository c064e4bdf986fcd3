"""The site in a real browser, served as `hpt view` serves it."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from bench.stores import MadeUp, drawn
from benchmarks.catalog.compare import compare_models
from benchmarks.catalog.records import Records
from benchmarks.significance import holm
from benchmarks.site.compare import PAIRED
from benchmarks.site.facts import short_id
from flows.view import View
from tasks.execution.catalog import fill

pytestmark = pytest.mark.xdist_group("site")
SUITES = {"aime24": (30, 4), "math500": (60, 1), "gpqa_diamond": (40, 1), "arc_challenge": (30, 1)}
EVIL = "<img src=x onerror=alert(1)>\u202egnp"
LOGS = {
    name: pa.table({"step": range(1, 31), "reward": [step * rise for step in range(1, 31)], "entropy": [1.0] * 30})
    for name, rise in (("hpt_seed_1", 0.02), ("hpt_seed_2", 0.03))
}
WIDTHS = (390, 768, 1280, 1920)


def answers(seed: int, chance: float) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {name: drawn(generator, count, k, chance) for name, (count, k) in SUITES.items()}


class Served:
    """A store and its site."""

    def __init__(self, folder: Path) -> None:
        self.made = MadeUp(folder / "runs")
        self.hashes: dict[str, str] = {}
        self._folder = folder / "site"

    def start(self) -> None:
        self.view = View(self.made.store, self._folder)
        self._thread = threading.Thread(target=self.view.serve)
        self._thread.start()
        self.url = self.view.url

    def stop(self) -> None:
        self.view.close()
        self._thread.join()

    def models(self, *names: str) -> str:
        return "&".join(f"m={short_id(self.hashes[name])}" for name in names)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        started = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield started
        started.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two nights, three seeds of HPT, SFT, a model that lacks a benchmark, a failed stage, a limited run and hostile
    names."""
    found = Served(tmp_path_factory.mktemp("served"))
    part = {name: value for name, value in answers(4, 0.4).items() if name != "aime24"}
    models = {"hpt_seed_1": answers(1, 0.6), "hpt_seed_2": answers(2, 0.55), "hpt_seed_3": answers(8, 0.5)}
    models |= {"sft": answers(3, 0.3), "part": part}
    found.made.run("demo", {"sft": answers(10, 0.7)}, version="0")
    found.hashes |= found.made.run("demo", models, failed={"train.grpo": EVIL}, logs=LOGS)
    found.hashes |= found.made.run(f"hostile{EVIL}", {f"evil{EVIL}": answers(5, 0.4), "long" * 60: answers(6, 0.2)})
    limited = {"math500": drawn(np.random.default_rng(7), 6, 1, 0.9)}
    found.made.run("trial", {"few": limited}, whole={"math500": 60}, evaluate={"limit": 6})
    found.start()
    yield found
    found.stop()


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """A page; at the end, no error was logged, no dialog was shown, and nothing outside of the site was asked for."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    errors: list[str] = []
    requests: list[str] = []
    page.on("console", lambda m: errors.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("dialog", lambda d: (errors.append(d.message), d.dismiss()))
    page.on("request", lambda r: requests.append(r.url))
    yield page
    context.close()
    assert errors == []
    assert all(url.startswith((served.url, "data:", "blob:")) for url in requests)


def board(page: Page, served: Served, query: str = "") -> None:
    whole = next(s for s in served.view.site.board_data()["sections"] if len(s["lines"]) > 1)
    page.goto(f"{served.url}?section={whole['id']}{query}")
    page.wait_for_selector("#board tbody tr")


def labels(page: Page) -> list[str]:
    return page.locator("#board tbody th bdi").all_inner_texts()


def test_the_board_shows_every_line_with_marks(page: Page, served: Served) -> None:
    board(page, served)
    assert labels(page)[0] == "demo/hpt_seed_1"
    assert len(labels(page)) == 7
    assert page.locator("#board td.best").count() > 0
    text = page.inner_text("#missing")
    assert "demo/part: not measured on AIME 2024; no average in distribution" in text
    assert "demo/train.grpo: <img src=x onerror=alert(1)>\\u202egnp" in text


def test_hostile_names_are_text(page: Page, served: Served) -> None:
    board(page, served)
    assert page.locator("#main img").count() == 0
    assert "\u202e" not in page.inner_text("body")
    assert "\\u202e" in page.inner_text("#board")


def test_the_state_of_the_board_is_in_its_address(page: Page, served: Served) -> None:
    board(page, served)
    page.fill("[name=q]", "demo/")
    expect(page.locator("#count")).to_have_text("5 of 7 lines")
    page.click("[data-sort=math500]")
    page.locator("#columns summary").click()
    page.uncheck("[name=column][value=arc_challenge]")
    page.check("[name=seeds]")
    before, address = labels(page), page.url
    assert set(before) == {"demo/hpt", "demo/sft", "demo/part"}
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("#board tbody tr")
    assert labels(page) == before
    assert page.locator("#board thead th").all_inner_texts()[-1].startswith("Cost")
    assert "ARC-Challenge" not in page.inner_text("#board thead")
    assert page.get_attribute("#board thead th:has([data-sort=math500])", "aria-sort") == "descending"
    assert "seeds" in page.inner_text("#board tbody")
    assert page.locator("#board .best").count() == 0, "groups are not tested, so no mark beside them"


def test_groups_of_seeds_are_ordered_by_their_own_score(page: Page, served: Served) -> None:
    """Not by that of their best seed."""
    board(page, served, "&seeds=grouped")
    assert labels(page).index("demo/hpt") < labels(page).index("demo/sft")
    data = served.view.site.board_data()
    for section in data["sections"]:
        for method in section["methods"]:
            method["cells"] = [cell and cell | {"value": 0.01} for cell in method["cells"]]
    page.route("**/data/board.json*", lambda route: route.fulfill(json=data))
    board(page, served, "&seeds=grouped")
    assert labels(page).index("demo/sft") < labels(page).index("demo/hpt")


def test_sorting_by_keyboard(page: Page, served: Served) -> None:
    board(page, served)
    page.focus("[data-sort=math500]")
    page.keyboard.press("Enter")
    place = [c["benchmark"] for c in served.view.site.board_data()["sections"][0]["columns"]].index("math500")
    cells = page.locator(f"#board tbody tr > :nth-child({place + 2})").all_inner_texts()
    values = [float(text.split("\n")[0].rstrip("*")) for text in cells]
    assert values == sorted(values, reverse=True)
    page.keyboard.press("Enter")
    cells = page.locator(f"#board tbody tr > :nth-child({place + 2})").all_inner_texts()
    assert [float(text.split("\n")[0].rstrip("*")) for text in cells] == sorted(values)


def test_a_limited_run_is_labeled(page: Page, served: Served) -> None:
    page.goto(served.url)
    page.wait_for_selector("#board tbody tr")
    assert len(labels(page)) == 7, "what was measured last is partial, and not what a reader looks for first"
    limited = next(s for s in served.view.site.board_data()["sections"] if len(s["lines"]) == 1)
    page.goto(f"{served.url}?section={limited['id']}")
    page.wait_for_selector("#board tbody tr")
    assert "6/60 asked" in page.inner_text("#board")


@pytest.mark.parametrize(("kind", "expected"), [("csv", '"sft"'), ("md", "| demo/sft |"), ("tex", "demo/sft & ")])
def test_exports_hold_what_is_shown(page: Page, served: Served, kind: str, expected: str) -> None:
    board(page, served, "&q=demo/&sort=name&order=asc")
    with page.expect_download() as download:
        page.click(f"[data-export={kind}]")
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert expected in text and "hostile" not in text
    if kind == "csv":
        import csv

        rows = list(csv.DictReader(text.splitlines()))
        assert [row["model"] for row in rows] == ["hpt_seed_1", "hpt_seed_2", "hpt_seed_3", "part", "sft"]
        mean = answers(3, 0.3)["math500"].mean()
        assert float(rows[-1]["MATH-500 pass@1"]) == pytest.approx(mean, rel=1e-5)
        assert rows[3]["AIME 2024 avg@4"] == "", "what is missing is empty, not zero"


def test_models_are_compared_by_clicks(page: Page, served: Served) -> None:
    """The numbers of `hpt compare`, and its lists of questions."""
    board(page, served)
    for name in ("hpt_seed_1", "sft"):
        page.check(f'[aria-label="Compare demo/{name}"]')
    page.click("#compare")
    page.wait_for_selector("#pairs table")
    records, tables = Records(served.made.store.root), fill(served.made.store)
    found = compare_models(records, tables, "demo/hpt_seed_1", "demo/sft")
    rows = page.locator("#pairs tbody tr").all_inner_texts()
    for row, pair in zip(rows, found.pairs, strict=False):
        cells = row.split("\t")
        assert cells[0] == pair.title
        assert cells[3] == f"{100 * pair.found.difference:+.1f}".replace("-", "−")
        assert cells[5] == ("< 0.001" if pair.p_holm < 0.001 else f"{pair.p_holm:.3f}")
        assert cells[6:] == [str(len(pair.only_first)), str(len(pair.only_second))]
    for place, pair in enumerate(pair for pair in found.pairs if pair.only_first or pair.only_second):
        details = page.locator("#pairs details").nth(place)
        details.locator("summary").click()
        shown = details.locator("h3, li")
        expect(shown).to_have_count(2 + len(pair.only_first) + len(pair.only_second))
        texts = shown.all_inner_texts()
        second = texts.index(f"Only B solves {len(pair.only_second)}")
        assert sorted(texts[1:second]) == list(pair.only_first)
        assert sorted(texts[second + 1 :]) == list(pair.only_second)
    kinds = page.locator("#pairs details p").all_inner_texts()
    assert any(text.endswith("hard") for text in kinds) and any(text.endswith("easy") for text in kinds)
    assert page.locator("#lengths figure path").count() == 2 * len(SUITES)


def test_three_models_are_corrected_together(page: Page, served: Served) -> None:
    page.goto(f"{served.url}compare.html?{served.models('sft', 'hpt_seed_1', 'hpt_seed_2')}")
    page.wait_for_selector("#pairs section:nth-child(2) table")
    records, tables = Records(served.made.store.root), fill(served.made.store)
    pairs = [
        compare_models(records, tables, "demo/sft", other).pairs for other in ("demo/hpt_seed_1", "demo/hpt_seed_2")
    ]
    adjusted = holm([pair.found.p_value for found in pairs for pair in found])
    shown = [
        page.locator(f"#pairs section:nth-child({n}) tbody tr:nth-child({row}) td:nth-child(6)").inner_text()
        for n in (1, 2)
        for row in range(1, 5)
    ]
    assert shown == ["< 0.001" if p < 0.001 else f"{p:.3f}" for p in adjusted]


def test_questions_that_one_model_solves_and_another_does_not(page: Page, served: Served) -> None:
    page.goto(f"{served.url}questions.html?{served.models('hpt_seed_1', 'sft')}&benchmark=math500&show=first&order=id")
    page.wait_for_selector("#grid tbody tr")
    found = compare_models(Records(served.made.store.root), fill(served.made.store), "demo/hpt_seed_1", "demo/sft")
    (pair,) = [pair for pair in found.pairs if pair.benchmark == "math500"]
    assert page.locator("#grid tbody th").all_inner_texts() == list(pair.only_first)
    expect(page.locator("#count")).to_have_text(f"{len(pair.only_first)} of 60 questions")


def test_responses_are_side_by_side(page: Page, served: Served) -> None:
    page.goto(f"{served.url}questions.html?{served.models('hpt_seed_1', 'sft')}&benchmark=math500&order=id")
    page.wait_for_selector("#grid tbody tr")
    page.click("#grid tbody tr:nth-child(10) button")
    page.wait_for_selector("#answers article pre")
    assert "question=q0009" in page.url
    assert page.locator("#answers article").count() == 2
    text = page.inner_text("#answers")
    assert "so the answer is 1" in text and "cut at the token limit" in text
    page.fill("[name=least]", "110")
    expect(page.locator("#answers pre")).to_have_count(0)
    page.fill("[name=most]", "109")
    page.fill("[name=least]", "109")
    expect(page.locator("#answers pre")).to_have_count(2)
    page.select_option("[name=cut]", "no")
    expect(page.locator("#answers pre")).to_have_count(0)
    page.reload()
    expect(page.locator("#question")).to_contain_text("samples are correct")
    assert page.locator("#answers pre").count() == 0 and page.input_value("[name=most]") == "109"


def test_the_text_of_a_gated_benchmark_is_not_served(page: Page, served: Served) -> None:
    page.goto(f"{served.url}questions.html?{served.models('hpt_seed_1', 'sft')}&benchmark=gpqa_diamond&question=q0001")
    expect(page.locator("#question")).to_contain_text("texts of this benchmark are not shown")
    assert page.locator("#answers pre").count() == 0


def test_a_model_has_a_page(page: Page, served: Served) -> None:
    page.goto(f"{served.url}model.html?id={short_id(served.hashes['hpt_seed_1'])}")
    page.wait_for_selector("#scores tbody tr")
    assert page.inner_text("h1") == "demo/hpt_seed_1"
    assert "Qwen/Qwen2.5-Math-1.5B" in page.inner_text("#facts")
    assert page.inner_text("#lineage").split() == ["demo/base", "demo/hpt_seed_1"]
    assert page.locator("#curves svg").count() == 1, "only where there are several samples a question"
    assert "% correct" in page.inner_text("#scores")
    assert page.request.get(page.locator("#card").evaluate("link => link.href")).text().startswith("---\nbase_model:")
    page.goto(f"{served.url}model.html?id=../../etc/passwd")
    expect(page.locator("#empty")).to_be_visible()


def test_history_marks_what_got_worse(browser: Browser, tmp_path: Path) -> None:
    served = Served(tmp_path)
    for night, chance in enumerate((0.7, 0.7, 0.2)):
        served.made.run("nightly", {"hpt": answers(night, chance), "sft": answers(9, 0.5)}, version=str(night))
    served.start()
    try:
        page = browser.new_page()
        page.goto(f"{served.url}history.html")
        page.wait_for_selector("#lines svg")
        expect(page.locator("#count")).to_have_text("8 lines")
        page.check("[name=worse]")
        assert all("nightly/hpt" in text for text in page.locator("#lines h2").all_inner_texts())
        assert "worse" in page.locator("#lines tbody tr").first.inner_text()
        assert page.locator("#lines svg").first.get_attribute("aria-label")
    finally:
        served.stop()


def test_history_draws_checkpoints_over_the_steps(browser: Browser, tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.made.run("watched", {f"step-{step}": answers(step, step / 200) for step in (50, 100, 150)})
    fill(served.made.store)
    catalog = served.made.store.root / "catalog"
    for file in (catalog / "records").iterdir():
        content = json.loads(file.read_text())
        for row in content["rows"].get("models", ()):
            row.update(kind="model", swept='{"model.checkpoint.grid": ""}')  # as `hpt watch` has it
        file.write_text(json.dumps(content))
    (catalog / "models.parquet").unlink()
    served.start()
    try:
        page = browser.new_page()
        page.goto(f"{served.url}history.html")
        page.wait_for_selector("#lines svg")
        expect(page.locator("#count")).to_have_text("4 lines")
        line = page.locator("#lines section", has_text="MATH-500")
        expect(line.locator("h2")).to_have_text("watched/step-* on MATH-500, pass@1")
        assert line.locator("svg text").all_text_contents()[-2:] == ["step 50", "step 150"]
        expect(line.locator("summary")).to_have_text("3 checkpoints")
        line.locator("summary").click()
        assert line.locator("tbody a").all_inner_texts() == ["step 150", "step 100", "step 50"]
    finally:
        served.stop()


def test_runs_with_their_stages(page: Page, served: Served) -> None:
    page.goto(f"{served.url}runs.html")
    page.wait_for_selector("#runs section")
    assert page.locator("#runs h2").count() == 4
    page.select_option("[name=outcome]", "failed")
    expect(page.locator("#runs h2")).to_have_count(1)
    assert "<img src=x onerror=alert(1)>\\u202egnp" in page.inner_text("#runs tr:has-text('train.grpo')")


def test_formulas_are_typeset_and_nothing_else_is_made_of_them(page: Page, served: Served) -> None:
    tree = [
        "math",
        {"onclick": "alert(1)"},
        ["script", {}, "alert(1)"],
        ["mi", {"href": "javascript:alert(1)"}, "a<b>"],
    ]
    sample = {"response": [EVIL, "so ", ["$a$", tree]], "left_out": 0, "tokens": 1, "finish_reason": "stop",
              "outcome": "correct", "extracted": "1"}  # fmt: skip
    hostile = {"q0001": {"question": ["What?"], "gold": "1", "fault": EVIL, "samples": [sample]}}
    page.route("**/data/responses/**", lambda route: route.fulfill(json=hostile))
    page.goto(f"{served.url}questions.html?{served.models('sft')}&benchmark=math500&question=q0001")
    page.wait_for_selector("#answers math")
    assert page.locator("#answers math mi").text_content() == "a<b>"
    assert page.locator("#answers script").count() == 0
    told = "Gold answer: 1 (cannot be read: <img src=x onerror=alert(1)>\\u202egnp)"
    assert page.locator("#text p").text_content() == told
    made = page.locator("#answers math, #answers math *")
    assert made.evaluate_all("nodes => nodes.flatMap((n) => n.getAttributeNames())") == []
    page.check("#samples [name=source]")
    expect(page.locator("#answers pre")).to_have_text("<img src=x onerror=alert(1)>\\u202egnpso $a$")


def test_a_run_says_how_to_repeat_it(page: Page, served: Served) -> None:
    page.goto(f"{served.url}runs.html?outcome=failed")
    page.click("#runs h2 a")
    page.wait_for_selector("#stages tbody tr")
    assert page.inner_text("#title").endswith(": failed")
    command, config, _ = page.locator("#again pre").all_text_contents()
    assert re.fullmatch(rf"git checkout {'0' * 40}\nhpt run [\w-]+\.json", command)
    with page.expect_download() as saved:
        page.locator("#again summary").first.click()
        page.click("#again button")
    assert saved.value.suggested_filename == command.split()[-1]
    assert json.loads(Path(saved.value.path()).read_text()) == json.loads(config)
    assert page.locator("#made tbody tr").count() > 10
    assert page.locator("#training figure").count() == 2
    assert page.locator("#training .legend li").all_inner_texts() == ["demo/hpt_seed_1", "demo/hpt_seed_2"]
    label = page.locator("#training svg[role=img]").first.get_attribute("aria-label")
    assert label and "demo/hpt_seed_2: 0.03 to 0.9" in label
    page.locator("#models summary").first.click()
    page.wait_for_selector("#models figure")
    assert page.locator("#models figure").count() == 1 + len(SUITES), "a pass@k curve, and lengths on each benchmark"
    page.click("#models a >> nth=-1")
    page.wait_for_selector("#scores tbody tr")
    page.goto(f"{served.url}run.html")
    expect(page.locator("#empty")).to_be_visible()


def test_curves_of_compared_models_share_a_figure(page: Page, served: Served) -> None:
    page.goto(f"{served.url}compare.html?{served.models('sft', 'hpt_seed_1', 'hpt_seed_2')}")
    page.wait_for_selector("#training figure")
    assert page.locator("#training figure").first.locator("path").count() == 2
    page.goto(f"{served.url}model.html?id={short_id(served.hashes['sft'])}")
    page.wait_for_selector("#scores tbody tr")
    expect(page.locator("#training")).to_be_hidden()


def test_an_old_line_is_marked(page: Page, served: Served) -> None:
    data = served.view.site.board_data()
    data["sections"][0]["lines"][0]["end"] = "2025-11-01T00:00:00Z"
    page.route("**/data/board.json*", lambda route: route.fulfill(json=data))
    page.goto(served.url)
    page.wait_for_selector("#board tbody tr")
    assert page.locator("#board tbody .warning").all_inner_texts() == ["61 days older than the latest"]
    assert "Latest measurement 2026-01-01, " in page.inner_text(".bar")
    assert f"section={data['sections'][0]['id']}" in page.url, "a link to it stays the same"


def test_sixty_suites_on_a_screen_and_twelve_on_paper(browser: Browser, served: Served) -> None:
    data = served.view.site.board_data()
    section = data["sections"][0]
    at = [place for place, column in enumerate(section["columns"]) if column["benchmark"]]

    def widen(count: int, more: str = "") -> None:
        while sum(bool(column["benchmark"]) for column in section["columns"]) < count:
            place, number = at[len(section["columns"]) % len(at)], len(section["columns"])
            column = section["columns"][place]
            section["columns"].append({**column, "benchmark": f"suite{number}", "title": column["title"] + more})
            for line in section["lines"] + section["methods"]:
                line["cells"].append(line["cells"][place])

    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.route("**/data/board.json*", lambda route: route.fulfill(json=data))
    widen(12)
    page.goto(served.url)
    page.wait_for_selector("#board tbody tr")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 1047, "height": 718})  # A4, landscape, without its margins, at 96 pixels an inch
    assert page.evaluate("document.documentElement.scrollWidth") <= 1047
    page.emulate_media(media="screen")
    widen(60, EVIL)
    page.goto(served.url)
    page.wait_for_selector("#board tbody tr")
    assert page.locator("#board thead th").count() == 1 + len(section["columns"]) + 1
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#main img").count() == 0
    page.close()


def test_the_tables_are_linked(page: Page, served: Served) -> None:
    page.goto(f"{served.url}data.html")
    page.wait_for_selector("#files tbody tr")
    addresses = page.locator("#files a").evaluate_all("links => links.map((link) => link.href)")
    assert len(addresses) == 10
    assert all(page.request.get(address).ok for address in addresses)


def every_page(page: Page, served: Served) -> Iterator[str]:
    """Show each page in turn, filled, and give its path."""
    chosen = served.models("hpt_seed_1", f"evil{EVIL}", "long" * 60)
    run = page.request.get(f"{served.url}data/runs.json").json()["runs"][-1]["id"]
    for path, ready in (
        ("index.html", "#board tbody tr"),
        (f"compare.html?{chosen}", "#pairs table"),
        (f"questions.html?{chosen}&benchmark=math500&question=q0001", "#answers pre"),
        (f"model.html?id={short_id(served.hashes['long' * 60])}", "#scores tbody tr"),
        ("runs.html", "#runs section"),
        (f"run.html?id={run}", "#stages tbody tr"),
        ("data.html", "#files tbody tr"),
        ("history.html", "main"),
    ):
        page.goto(served.url + path)
        page.wait_for_selector(ready)
        yield path


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_is_wider_than_its_window(browser: Browser, served: Served, theme: Any) -> None:
    context = browser.new_context(viewport={"width": WIDTHS[0], "height": 800}, color_scheme=theme)
    page = context.new_page()
    for path in every_page(page, served):
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_barrier(browser: Browser, served: Served, theme: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=theme)
    page = context.new_page()
    found = {
        f"{path}: {each['id']}": [node["html"][:200] for node in each["nodes"]][:3]
        for path in every_page(page, served)
        for each in Axe().run(page).response["violations"]
    }
    context.close()
    assert found == {}


def test_an_empty_store_and_its_first_model(browser: Browser, tmp_path: Path) -> None:
    """The open page shows the model once it is evaluated, without a reload."""
    served = Served(tmp_path)
    served.made.store.history.folder.mkdir(parents=True)
    served.start()
    try:
        page = browser.new_page()
        page.goto(served.url)
        expect(page.locator("#empty")).to_be_visible()
        for path in ("compare.html", "questions.html"):
            page.goto(served.url + path)
            expect(page.locator("#empty")).to_have_text("This store holds no score yet.")
        page.goto(served.url)
        expect(page.locator("#empty")).to_be_visible()
        served.made.run("demo", {"hpt": answers(1, 0.5)})
        page.wait_for_selector("#board tbody tr", timeout=60_000)
        assert labels(page) == ["hpt"]
        assert page.locator("#board .best").count() == 0, "one model alone is not the best"
    finally:
        served.stop()


def test_more_models_than_are_compared_in_advance(browser: Browser, tmp_path: Path) -> None:
    served = Served(tmp_path)
    few = {"aime24": (30, 4), "math500": (60, 1)}
    models = {
        f"m{i:02}": {name: drawn(np.random.default_rng(i), n, k, 0.3 + i / 100) for name, (n, k) in few.items()}
        for i in range(PAIRED + 2)
    }
    served.hashes |= served.made.run("sweep", models)
    served.start()
    try:
        page = browser.new_page()
        page.goto(served.url)
        page.wait_for_selector("#board tbody tr")
        assert len(labels(page)) == PAIRED + 2
        page.goto(f"{served.url}compare.html?{served.models('m00', 'm01')}")
        page.wait_for_selector("#pairs table")  # a pair that was not built
    finally:
        served.stop()
