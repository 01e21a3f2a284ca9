"""The page, in a real headless Chromium: an image that is dropped gets its score and its map, without an error."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from serve_process import Served, serving, until
from serve_testing import picture

import pscr

pytestmark = pytest.mark.slow

SHOTS = os.environ.get("PSCR_SCREENSHOTS")  # a folder, to look at them
TOKEN = "a-token-of-the-tests-0123456789"
DROP = """([selector, name, type, data]) => {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, { type }));
  const event = new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true });
  document.querySelector(selector).dispatchEvent(event);
}"""
PASTE = DROP.replace('DragEvent("drop", { dataTransfer: carried', 'ClipboardEvent("paste", { clipboardData: carried')


def opened(chromium: Any, url: str, **more: Any) -> tuple[Any, list[str]]:
    """A page of the service, and what its console says of errors and warnings."""
    page = chromium.new_context(**more).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not _own(request.url, url) else None)
    page.goto(url)
    return page, said


def _own(asked: str, url: str) -> bool:
    return asked.startswith((url, f"blob:{url}"))


def give(page: Any, script: str, selector: str, name: str, data: bytes, kind: str = "image/jpeg") -> None:
    page.evaluate(script, [selector, name, kind, base64.b64encode(data).decode()])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("form", "width"), [("desktop", 1280), ("phone", 375)])
def test_a_dropped_image_gets_its_score_and_map(
    chromium: Any, served: Served, scorer: pscr.Scorer, scheme: str, form: str, width: int
) -> None:
    page, said = opened(chromium, served.url, color_scheme=scheme, viewport={"width": width, "height": 900})
    data = picture(4, side=256)
    give(page, DROP, "#drop", "one.jpg", data)
    page.wait_for_selector("figure:not([hidden]) img.map")
    assert until(lambda: page.evaluate("document.querySelector('img.map').naturalWidth") > 0)
    score = f"{scorer.score(data).score:.2f}"
    assert page.text_content("article .number") == score
    assert score in page.text_content("[aria-live=polite]")
    assert page.get_attribute("article .scale", "aria-label") == f"{score} on a scale from 0 to 5"
    assert page.get_attribute("img.map", "alt") == "Quality map of one.jpg"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('img.map').clientWidth") > 500, "its legend can be read"
    right = "(box) => box.scrollLeft + box.clientWidth >= box.scrollWidth - 1"
    assert page.eval_on_selector(".wide", right), "where there is no place for both, the map is seen and not the image"
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"page-{form}-{scheme}.png"), full_page=True)
        page.goto(f"{served.url}/docs")
        page.screenshot(path=str(Path(SHOTS) / f"docs-{form}-{scheme}.png"), full_page=True)
    page.goto(f"{served.url}/docs")
    assert "?diagnose=0 | 1" in page.inner_text("main")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert said == []


def test_a_pasted_image_and_chosen_ones_are_scored_and_a_broken_one_says_why(chromium: Any, served: Served) -> None:
    page, said = opened(chromium, served.url)
    give(page, PASTE, "body", "", picture(5, ".png"), "image/png")
    page.wait_for_selector("figure:not([hidden])")
    assert page.text_content("article h2") == "pasted image"
    files = [{"name": f"{n}.jpg", "mimeType": "image/jpeg", "buffer": picture(n)} for n in range(3)]
    page.set_input_files("#files", [*files, {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"no image"}])
    page.locator(".show-map:not([hidden])").nth(2).wait_for()
    page.wait_for_selector(".failed")
    assert "DECODE_FAILED" in page.text_content(".failed .message")
    assert page.locator(".failed h2").text_content() == "notes.jpg"
    page.locator(".show-map:not([hidden])").first.click()
    page.locator("figure:not([hidden])").nth(1).wait_for()
    refused = [line for line in said if "422" not in line]  # Chromium itself writes a line for an answer of 4xx
    assert refused == []


def test_the_page_can_be_used_by_keyboard_alone(chromium: Any, served: Served) -> None:
    page, said = opened(chromium, served.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "docs"
    assert said == []


def test_a_service_with_a_token_asks_for_it(chromium: Any, tiny_model: Path) -> None:
    with serving(tiny_model, token=TOKEN) as served:
        page, said = opened(chromium, served.url)
        assert page.is_visible("#token")
        assert said == []
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("#token-form", state="hidden")
        give(page, DROP, "#drop", "one.jpg", picture(4))
        page.wait_for_selector("figure:not([hidden])")
        assert said == []
