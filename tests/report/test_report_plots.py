"""The plots are part of the page: its colours, its font, text as text, names that nothing else has."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from pscr.report import plots
from pscr.report.statistics import compare

HOSTILE = '<script>alert(1)</script> $x^2$ & "q" #010101 \u202e\udcff\x00画像'


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    rng = np.random.default_rng(0)
    scores = [rng.normal(2, 0.5, 90), rng.normal(3, 0.5, 60)]
    names = [HOSTILE, "plain"]
    comparison = compare(
        np.concatenate(scores),
        [name for name, one in zip(names, scores, strict=True) for _ in one],
        range(150),
        resamples=50,
    )
    by_name = dict(zip(names, scores, strict=True))
    rows = [by_name[group.name] for group in comparison.groups]
    return {
        "histogram": plots.histogram(np.concatenate(scores), (0, 5), "score"),
        "groups": plots.groups(comparison.groups, rows, (0, 5), "score"),
    }


def test_colours_are_the_pages_own(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        styles = " ".join(re.findall(r'style="([^"]*)"', svg))
        assert "currentColor" in styles
        assert "var(--accent)" in styles
        assert "var(--mark)" in styles
        assert not re.findall(r"#[0-9a-f]{6}", styles)


def test_text_is_text_in_the_pages_font(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        words = [element.text for element in ElementTree.fromstring(svg).iter("text")]
        assert "score" in words
        assert "DejaVu" not in svg
    assert any("median" in (element.text or "") for element in ElementTree.fromstring(drawn["histogram"]).iter("text"))


def test_a_plot_says_in_words_what_it_shows(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        texts = {element.get("id"): element.text for element in root if element.tag in ("title", "desc")}
        assert texts[root.get("aria-labelledby")]
        assert texts[root.get("aria-describedby")]
    assert "150 images" in drawn["histogram"]


def test_hostile_names_are_text_and_nothing_else(drawn: dict[str, str]) -> None:
    assert "<script" not in drawn["groups"]
    assert not {"\u202e", "\udcff", "\x00"} & set(drawn["groups"])
    words = [element.text or "" for element in ElementTree.fromstring(drawn["groups"]).iter("text")]
    assert any(word.startswith("<script>alert(1)") for word in words)
    assert any("$x" in word for word in words) or any("…" in word for word in words)


def test_no_name_is_used_twice_and_every_reference_leads_somewhere(drawn: dict[str, str]) -> None:
    both = "".join(drawn.values())
    ids = re.findall(r' id="([^"]+)"', both)
    assert len(ids) == len(set(ids))
    references = re.findall(r"url\(#([^)]+)\)", both) + re.findall(r' href="#([^"]+)"', both)
    assert references
    assert set(references) <= set(ids)


def test_nothing_in_a_plot_styles_the_page_or_comes_from_elsewhere(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        assert svg.startswith("<svg")
        assert "<style" not in svg
        assert "metadata" not in svg
        assert "http" not in svg


@pytest.mark.parametrize("scores", [[2.0], [2.0] * 30, [-3.0, 7.5], [0.5, 4.5], [1000.0, 1001.0, -5.0]])
def test_any_scores_can_be_drawn(scores: list[float]) -> None:
    assert f"{len(scores)} images" in plots.histogram(scores, (0, 5), "score")
    edges = plots._edges(np.array(scores), (0.0, 5.0))
    assert edges[0] <= min(scores)
    assert edges[-1] >= max(scores)
    assert len(edges) <= 45
