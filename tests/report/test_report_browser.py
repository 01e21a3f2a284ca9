"""The page in headless Chromium: nothing is loaded, nothing fails, and it can be read and used on any screen."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from report_testing import HOSTILE, Opened

pytestmark = pytest.mark.slow

Open = Callable[..., Opened]
WIDTHS = {"desktop": 1280, "phone": 390, "small phone": 320}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_it_opens_without_an_error_a_request_or_sideways_scrolling(
    opened: Open, report: Path, width: int, scheme: str
) -> None:
    shown = opened(report, width, scheme)
    shown.page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    assert shown.problems == []
    assert [url for url in shown.requests if not url.startswith("data:")] == [report.as_uri()]
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
    dark = shown.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert dark == (scheme == "dark")
    ink = shown.page.evaluate("getComputedStyle(document.querySelector('svg.plot text')).fill")
    assert ink == shown.page.evaluate("getComputedStyle(document.body).color")


def test_every_picture_is_in_the_page_and_can_be_decoded(opened: Open, report: Path) -> None:
    shown = opened(report)
    broken = shown.page.evaluate(
        """async () => { const images = [...document.images]; images.forEach((image) => (image.loading = "eager"));
        const done = await Promise.all(images.map((image) => image.decode().then(() => 0, () => 1)));
        return [images.length, done.reduce((a, b) => a + b, 0)]; }"""
    )
    assert broken[0] > 100
    assert broken[1] == 0


def test_nothing_moves_when_pictures_come_into_sight(opened: Open, report: Path) -> None:
    """They are shown when they are scrolled to; what is below must not jump away from a click."""
    shown = opened(report)
    shown.page.evaluate(
        """() => { window.moved = []; new PerformanceObserver((list) => list.getEntries().forEach((entry) =>
        window.moved.push(entry.value))).observe({ type: "layout-shift", buffered: true }); }"""
    )
    assert shown.page.locator(".cards img").count() >= 6
    for place in ("#images thead", "#identical", "#best"):  # as one who follows a link, or presses End
        shown.page.locator(place).scroll_into_view_if_needed()
        shown.page.wait_for_timeout(300)
    shown.page.evaluate("Promise.all([...document.images].slice(0, 12).map((image) => image.decode()))")
    assert shown.page.evaluate("window.moved") == []


def test_headings_sort_both_ways_and_what_has_no_score_comes_last(opened: Open, report: Path) -> None:
    shown = opened(report)
    shown.page.locator("select[name=rows]").select_option("0")
    head = shown.page.locator("th[data-key=score]")
    assert head.get_attribute("aria-sort") == "none"
    for direction, turn in (("descending", -1), ("ascending", 1)):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == direction
        scores = shown.scores()
        assert len(scores) == 249
        assert scores == sorted(scores, key=lambda score: turn * score)
        assert {file.rpartition("/")[2] for file in shown.files()[-2:]} == {"broken.png", "empty.png"}
    shown.page.locator("th[data-key=file]").get_by_role("button").click()
    assert shown.files()[:3] == ["<b>first/0.png", "<b>first/1.png", "<b>first/2.png"]
    assert head.get_attribute("aria-sort") == "none"
    assert shown.page.locator("th[aria-sort=ascending]").count() == 1


def test_the_filters_go_together_and_say_how_many_match(opened: Open, report: Path) -> None:
    shown = opened(report)
    assert shown.status() == "Images 1 to 100 of 251"
    shown.page.locator("select[name=group]").select_option("second")
    assert shown.status() == "Images 1 to 100 of 131 that match, of 251"
    shown.page.get_by_label("Search").fill("prompt 11")
    assert shown.status() == "Images 1 to 11 of 11 that match, of 251"
    shown.page.get_by_label("Score from").fill("1000000")
    assert shown.status() == "No images that match, of 251"
    shown.page.get_by_role("button", name="Clear").click()
    shown.page.wait_for_function("document.querySelector('[role=status]').textContent === 'Images 1 to 100 of 251'")
    shown.page.locator("select[name=status]").select_option("DECODE_FAILED")
    assert sorted(file.rpartition("/")[2] for file in shown.files()) == ["broken.png", "empty.png"]
    assert "not an image" in shown.page.locator("#images tbody").inner_text()


def test_pages_turn_and_their_ends_are_ends(opened: Open, report: Path) -> None:
    shown = opened(report)
    before, after = (shown.page.get_by_role("button", name=name) for name in ("Previous", "Next"))
    assert before.is_disabled()
    seen = set(shown.files())
    after.click()
    seen |= set(shown.files())
    after.click()
    assert shown.status() == "Images 201 to 251 of 251"
    assert after.is_disabled()
    assert len(seen | set(shown.files())) == 251


def test_the_keyboard_reaches_and_works_everything(opened: Open, report: Path) -> None:
    shown = opened(report)
    keyboard = shown.page.keyboard
    keyboard.press("Tab")
    assert shown.page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert shown.page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    keyboard.press("Enter")
    assert shown.page.evaluate("document.activeElement.id") == "main"
    reached = []
    for _ in range(40):
        keyboard.press("Tab")
        reached.append(shown.page.evaluate("document.activeElement.name || document.activeElement.innerText"))
        if reached[-1] == "Score":
            break
    assert {"search", "group", "status", "low", "high", "File"} <= set(reached)
    keyboard.press("Enter")
    assert shown.page.locator("th[data-key=score]").get_attribute("aria-sort") == "descending"
    keyboard.press("Space")
    assert shown.page.locator("th[data-key=score]").get_attribute("aria-sort") == "ascending"
    assert shown.page.evaluate("document.activeElement.innerText") == "Score"
    style = "getComputedStyle(document.activeElement).outlineStyle"
    assert shown.page.evaluate(style) == "solid"


def test_hostile_names_are_shown_and_do_nothing(opened: Open, report: Path) -> None:
    shown = opened(report)
    shown.page.locator("select[name=rows]").select_option("0")
    names = [file.partition("/")[2] for file in shown.files()]
    assert HOSTILE[0] in names
    assert HOSTILE[1] in names
    assert HOSTILE[2] in names
    assert "\\u202egnp.evil.png" in names
    assert "new\\nline\\rreturn.png" in names
    assert HOSTILE[5] in names
    assert "caf\\udce9 \\udcff.png" in names
    assert shown.page.title() == "Image quality report"
    assert shown.page.locator("script").count() == 1
    assert shown.page.locator("#images b, #images svg, #images img[onerror]").count() == 0
    assert 'document.title = "taken"' in shown.page.locator("#images tbody").inner_text()
    assert shown.problems == []


def test_the_policy_in_the_page_forbids_other_scripts_and_the_network(opened: Open, report: Path) -> None:
    shown = opened(report)
    ran = shown.page.evaluate(
        """() => { const script = document.createElement("script"); script.textContent = "window.ran = true";
        document.head.append(script); return window.ran === true; }"""
    )
    assert not ran
    refused = shown.page.evaluate(
        """() => new Promise((done) => { const image = new Image(); image.onload = () => done(false);
        image.onerror = () => done(true); image.src = "http://127.0.0.1:9/x.png"; })"""
    )
    assert refused
    assert any("Content Security Policy" in problem for problem in shown.problems)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_obstacle(opened: Open, report: Path, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    shown = opened(report, width, scheme)
    shown.page.locator("select[name=rows]").select_option("50")
    found = axe.Axe().run(shown.page)
    assert found.violations_count == 0, found.generate_report()


def test_landmarks_and_headings_are_there(opened: Open, report: Path) -> None:
    page = opened(report).page
    for landmark in ("banner", "navigation", "main", "contentinfo", "search"):
        assert page.get_by_role(landmark).count() == 1, landmark
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    links = page.locator("nav a").evaluate_all("links => links.map((a) => a.getAttribute('href'))")
    assert all(page.locator(link).count() == 1 for link in links)


def test_paper_shows_the_table_and_no_controls(opened: Open, report: Path) -> None:
    shown = opened(report, scheme="dark")
    shown.page.emulate_media(media="print")
    assert not shown.page.get_by_label("Search").is_visible()
    assert not shown.page.get_by_role("navigation").is_visible()
    assert shown.page.locator("#images tbody tr").first.is_visible()
    assert shown.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_without_its_script_every_row_is_there(chromium: object, report: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)  # type: ignore[attr-defined]
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("#images tbody tr").count() == 251
    assert page.locator("#images tbody tr").last.is_visible()
    assert not page.locator("#images form").is_visible()
    context.close()
