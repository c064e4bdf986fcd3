"""The page in a real browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, sync_playwright

from benchmarks.report.build import build
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.page import MOST

pytestmark = pytest.mark.xdist_group("page")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        started = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield started
        started.close()


@pytest.fixture(scope="module")
def site(full_inputs: ReportInputs) -> Path:
    build(full_inputs)
    return full_inputs.output / "site"


@pytest.fixture(scope="module")
def crowded(many: Callable[[int], ReportInputs]) -> str:
    """Address of the page of 20 models."""
    inputs = many(MOST)
    build(inputs)
    return (inputs.output / "site" / "index.html").as_uri()


@pytest.fixture
def page(browser: Browser, site: Path) -> Iterator[Page]:
    """The opened page; at the end, no error was logged and nothing outside of the folder was asked for."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    errors: list[str] = []
    requests: list[str] = []
    page.on("console", lambda m: errors.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: errors.append(str(e)))

    def record(request: Request) -> None:
        requests.append(request.url)

    page.on("request", record)
    page.goto((site / "index.html").as_uri())
    page.wait_for_selector("#averages svg")
    yield page
    context.close()
    assert errors == []
    assert set(requests) == {(site / "index.html").as_uri()}


def labels(page: Page) -> list[str]:
    return page.locator("#leaderboard tbody .label").all_inner_texts()


def values(page: Page, column: int) -> list[float]:
    cells = page.locator(f"#leaderboard tbody tr td:nth-child({column + 1}) .value").all_inner_texts()
    return [float(text.rstrip("†‡¶‖§⚠")) for text in cells]


def head(page: Page, column: int) -> str:
    return f"#leaderboard thead tr:nth-child(2) th:nth-child({column + 1})"


def test_sorting_by_click(page: Page) -> None:
    before = labels(page)
    assert before[:4] == ["Base", "SFT", "GRPO", "HPT"]
    page.click(f"{head(page, 1)} button")
    assert page.get_attribute(head(page, 1), "aria-sort") == "descending"
    descending = values(page, 1)
    assert descending == sorted(descending, reverse=True)
    assert labels(page) != before
    page.click(f"{head(page, 1)} button")
    assert page.get_attribute(head(page, 1), "aria-sort") == "ascending"
    assert values(page, 1) == sorted(descending)
    page.click(f"{head(page, 0)} button")
    assert page.get_attribute(head(page, 0), "aria-sort") == "ascending"
    assert page.get_attribute(head(page, 1), "aria-sort") is None
    assert [label.casefold() for label in labels(page)] == sorted(label.casefold() for label in before)


def test_sorting_by_keyboard(page: Page) -> None:
    page.focus(f"{head(page, 1)} button")
    page.keyboard.press("Enter")
    assert page.get_attribute(head(page, 1), "aria-sort") == "descending"
    assert values(page, 1) == sorted(values(page, 1), reverse=True)
    assert page.inner_text("#sorted") == "Sorted by In distribution average, descending."
    page.keyboard.press("Space")
    assert page.get_attribute(head(page, 1), "aria-sort") == "ascending"


def focused(page: Page) -> str:
    """The number or column that has the focus: the popover it opens, or its text."""
    told = "b.getAttribute('popovertarget') || b.innerText.split('\\n')[0]"
    return str(page.evaluate(f"(b => {told})(document.activeElement)"))


def test_a_table_is_one_stop_of_the_tab_key(page: Page) -> None:
    """Of 205 buttons in four models' tables, the Tab key would have to pass each."""
    assert page.locator("table button").count() > 200
    stops = page.locator("table button:not([tabindex='-1'])")
    assert stops.count() == page.locator("table:has(button)").count()
    page.focus(f"{head(page, 0)} button")
    seen = []
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowLeft", "End", "Home"):
        page.keyboard.press(key)
        seen.append(focused(page))
    average, last = "In distribution average", page.locator("#leaderboard thead tr").nth(1).locator("th").count() - 2
    assert seen == [average, "s-0-0", "s-1-0", "s-1-1", "s-1-0", f"s-1-{last}", "s-1-0"]
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert focused(page) == average, "nothing is above it"
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert focused(page) == average, "the table remembers the place"


def test_a_number_opens_to_its_protocol(page: Page) -> None:
    details = page.locator("#s-3-5")
    assert not details.is_visible()
    button = page.locator('[popovertarget="s-3-5"]')
    assert "95 % interval" in (button.get_attribute("title") or "")
    button.click()
    assert details.is_visible()
    text = details.inner_text()
    for expected in (
        "HPT · MATH-500",
        "95 % interval",
        "vllm 0.32.0",
        "temperature 0.6",
        "120 of 500 questions",
        "math 1",
        "sha256:cdcd",
    ):
        assert expected in text
    box = details.bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= 1280 and box["y"] >= 0
    page.mouse.move(5, 5)
    page.mouse.wheel(0, 300)
    details.wait_for(state="hidden")  # it belongs to a number that has moved away
    button.click()
    assert details.is_visible()
    page.keyboard.press("Escape")
    assert not details.is_visible()


def test_a_number_opens_by_keyboard(page: Page) -> None:
    page.focus('[popovertarget="s-5-3"]')
    page.keyboard.press("Enter")
    assert "arXiv:2509.04419" in page.locator("#s-5-3").inner_text()


def test_only_measured_numbers_are_marked_as_best(page: Page) -> None:
    best = page.locator("#leaderboard .number.best")
    tables = Path(urlsplit(page.url).path).parent.parent / "tables"
    marked = [row for row in pq.read_table(tables / "scores.parquet", columns=["best"]).to_pylist() if row["best"]]
    assert best.count() == len(marked) > 0
    assert page.locator("#leaderboard tr.published .number.best").count() == 0
    assert page.locator("#leaderboard tr.published").count() == 7


def test_curves_are_drawn(page: Page) -> None:
    page.wait_for_selector("#curves svg")
    assert page.locator("#curves figure").count() == 8
    assert page.locator("#averages figure").count() == 2
    reward = page.locator("#curves figure").first
    assert reward.locator("figcaption").inner_text() == "Reward, mean over rollouts"
    assert reward.locator("polyline").count() == 2
    assert page.locator("#averages figure").first.locator("circle, path").count() == 4 + 7


def test_significant_differences_are_colored(page: Page) -> None:
    assert page.locator("#comparisons tbody tr").count() == 3
    assert page.locator("#comparisons .number.better").count() > 0
    first = page.locator("#comparisons .number.better").first
    first.click()
    assert "corrected" in page.locator(f"#{first.get_attribute('popovertarget')}").inner_text()


def test_the_page_shows_questions_that_only_one_model_solves(page: Page) -> None:
    assert page.locator("table.matrix").count() == 8
    matrix = page.locator("table.matrix").nth(3)
    assert matrix.locator("thead th").all_inner_texts()[1:] == ["Base", "SFT", "GRPO", "HPT"]
    number = matrix.locator("tbody tr").nth(3).locator("td").first
    total, classes = (number.locator(part).inner_text() for part in (".value", ".interval"))
    assert sum(map(int, classes.split(" · "))) == int(total) > 0
    shades = number.evaluate("cell => getComputedStyle(cell).backgroundColor")
    assert shades != matrix.locator("td").first.evaluate("cell => getComputedStyle(cell).backgroundColor")
    details = page.locator("#pair")
    assert not details.is_visible()
    number.locator("button").focus()  # scrolls
    page.keyboard.press("Enter")
    page.wait_for_timeout(200)
    assert details.is_visible(), "what the focus scrolled does not close it"
    text = details.inner_text()
    for expected in ("HPT, not Base · MATH-500", f"{total} of 120 questions", "Solved by both", "Hard"):
        assert expected in text
    terms, told = (details.locator(part).all_inner_texts() for part in ("dt", "dd"))
    counts = {term: int(value.split(" ")[0]) for term, value in zip(terms, told, strict=True)}
    assert counts["Solved only by it"] + counts["Solved by both"] == counts["Solved by it"]
    assert [counts[name] for name in ("Easy", "Medium", "Hard")] == list(map(int, classes.split(" · ")))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert details.locator("h3").inner_text() == "HPT, not SFT · MATH-500", "one popover for all numbers"
    assert details.is_visible()
    page.keyboard.press("Escape")
    assert not details.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_color_scheme(browser: Browser, site: Path, scheme: str) -> None:
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    page.wait_for_selector("#curves svg")
    background, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    brightness = [sum(int(n) for n in text.removeprefix("rgb(").rstrip(")").split(",")) for text in (background, ink)]
    assert (brightness[0] < 200 and brightness[1] > 600) == (scheme == "dark")
    assert (brightness[0] > 700 and brightness[1] < 150) == (scheme == "light")
    line = "getComputedStyle(document.querySelector('#curves polyline')).stroke"
    before = page.evaluate(line)
    page.emulate_media(color_scheme="light" if scheme == "dark" else "dark")
    for _ in range(100):  # wait_for_function evaluates strings, which the page's security policy forbids
        if page.evaluate(line) != before:
            break
        page.wait_for_timeout(50)
    assert page.evaluate(line) != before
    context.close()


def test_the_page_fits_a_phone(browser: Browser, site: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    page.wait_for_selector("#curves svg")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click('[popovertarget="s-3-0"]')
    box = page.locator("#s-3-0").bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= 390
    assert page.locator("#leaderboard tbody .name").first.is_visible()
    for place in (0, 1):
        average = page.locator(f'[popovertarget="s-0-{place}"]').bounding_box()
        assert average and average["x"] + average["width"] <= 390, "both averages are in sight"
    context.close()


def test_the_table_works_without_scripts(browser: Browser, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    assert page.locator("#leaderboard tbody tr").count() == 11
    page.click('[popovertarget="s-0-0"]')
    assert page.locator("#s-0-0").is_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(browser: Browser, site: Path, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    found = {
        each["id"]: [node["html"][:200] for node in each["nodes"]][:3]
        for each in Axe().run(page).response["violations"]
    }
    context.close()
    assert found == {}


def test_the_headers_stay_in_sight_and_no_two_lines_look_the_same(browser: Browser, crowded: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(crowded)
    for table in ("#leaderboard", "table.matrix >> nth=0"):
        page.locator(table).scroll_into_view_if_needed()
        head, box = page.locator(table).locator("thead"), page.locator(table).locator("xpath=..")
        before = head.bounding_box()
        box.evaluate("box => box.scrollTo(0, 400)")
        assert box.evaluate("box => box.scrollTop") > 100
        assert head.bounding_box() == before
        button = page.locator(table).locator("tbody button.number").first
        button.focus()
        top = button.bounding_box()
        assert top and before and top["y"] >= before["y"] + before["height"], "the header does not hide the focus"
    looks = page.locator(".legend svg").evaluate_all("keys => keys.map((key) => key.innerHTML)")
    assert len(looks) == len(set(looks)) == MOST
    page.close()


def test_nothing_is_wider_than_a4_landscape(browser: Browser, crowded: str) -> None:
    width = 1046  # 297 mm without margins of 1 cm, at 96 dpi
    page = browser.new_page(viewport={"width": width, "height": 718})
    page.goto(crowded)
    page.emulate_media(media="print")
    for selector in ("table", "th", "td .value", "td .interval", "figure svg"):
        ends = page.locator(selector).evaluate_all("all => all.map((each) => each.getBoundingClientRect().right)")
        assert 0 < max(ends) < width + 0.5, selector
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.close()
