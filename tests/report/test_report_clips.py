"""The report on clips: a curve and a strip for each, what has none, and how it looks in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_testing import Cli, write_image
from clip_makers import write_animation, write_clip
from report_testing import Opened

import pscr
from pscr.report.film_strip import film_strip
from pscr.report.plots import curve
from pscr.runtime.clip import ClipResult
from pscr.runtime.frame_sampling import FrameSampling

pytestmark = pytest.mark.slow

Open = Callable[..., Opened]


@pytest.fixture
def renders(tmp_path: Path) -> Path:
    """A folder with an image, two clips and a text that is called like one."""
    folder = tmp_path / "renders"
    (folder / "b").mkdir(parents=True)
    write_clip(folder / "a.avi", 40)
    write_clip(folder / "b" / "<b>b.avi", 12)
    write_image(folder / "still.png")
    (folder / "text.mp4").write_text("no video")
    return folder


def clips_of(page: Path) -> list[str]:
    """The part of the page for each clip."""
    part = page.read_text().partition('<section id="clips"')[2].partition("</section>")[0]
    return part.split('<div class="clip">')[1:]


def test_each_clip_has_a_curve_a_strip_and_its_lowest_second(
    cli: Cli, tiny_model: Path, renders: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    done = cli("report", renders, "--frames", 12, "-o", page, "--model", tiny_model)
    assert done.code == 1
    assert "3 scored, 1 failed" in done.error
    with pscr.open(tiny_model, "cpu") as scorer:
        names = ("a.avi", "b/<b>b.avi")
        found = {name: pscr.score_clip(scorer, renders / name, 12) for name in names}
    shown = clips_of(page)
    assert len(shown) == 2
    for text, (name, clip) in zip(shown, sorted(found.items(), key=lambda one: one[1].score), strict=True):
        assert f"<bdi>{name.replace('<', '&lt;').replace('>', '&gt;')}</bdi>: {clip.score:.2f}" in text
        assert clip.message in text
        assert text.count("<svg") == 1
        time, score = clip.lowest
        assert f"lowest {score:.2f} at {time:.2f} s" in text
        frames = re.findall(r"<b>(.*?)</b> <span>(.*?) s(, lowest)?</span>", text)
        assert len(frames) == 8
        assert [one[:2] for one in frames if one[2]] == [(f"{score:.2f}", f"{time:.2f}")]
        known = {f"{at:.2f}": f"{result.score:.2f}" for at, result in zip(clip.times, clip.results, strict=True)}
        assert all(known[at] == value for value, at, _ in frames)
    text = page.read_text()
    assert "1 image and 3 clips, scored by" in text
    assert "no video that can be read" in text.split('id="failures"')[1]
    assert "conventions of pooling" in text


def test_a_named_clip_alone_has_a_page_and_a_folder_its_images(
    cli: Cli, tiny_model: Path, renders: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    assert cli("report", renders / "a.avi", "-o", page, "--model", tiny_model, "-q").code == 0
    assert len(clips_of(page)) == 1
    assert "1 clip, scored by" in page.read_text()
    assert cli("report", renders, "-o", page, "--model", tiny_model, "-q", "--no-maps").code == 0
    assert clips_of(page) == []
    assert "1 image, scored by" in page.read_text()


def test_an_animation_is_a_clip_where_an_option_is_of_clips(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    six, page = write_animation(tmp_path / "six.webp"), tmp_path / "report.html"
    assert cli("report", six, "-o", page, "--model", tiny_model, "-q", "--no-maps").code == 0
    assert clips_of(page) == []
    assert cli("report", six, "--every", 0.2, "-o", page, "--model", tiny_model, "-q").code == 0
    (text,) = clips_of(page)
    assert text.count("<img") == 6


def test_without_pictures_the_curve_is_left(cli: Cli, tiny_model: Path, renders: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    words = ("report", renders / "a.avi", "--thumbnails", 0, "-o", page, "--model", tiny_model, "-q")
    assert cli(*words).code == 0
    (text,) = clips_of(page)
    assert "<svg" in text
    assert "<img" not in page.read_text()


@pytest.mark.parametrize("name", ["clip.avi", "six.gif"])
def test_results_of_pscr_score_are_taken_as_they_are(cli: Cli, tiny_model: Path, tmp_path: Path, name: str) -> None:
    clip, scores, page = tmp_path / name, tmp_path / "scores.csv", tmp_path / "report.html"
    write_animation(clip) if name.endswith("gif") else write_clip(clip)
    assert cli("score", clip, "--frames", 5, "-o", scores, "--model", tiny_model, "-q").code == 0
    score = float(scores.read_text().splitlines()[1].split(",")[1])
    assert cli("report", "--scores", scores, "-o", page, "--model", tiny_model, "-q").code == 0
    assert clips_of(page) == []
    assert f'<td class="n">{score:.3f}</td>' in page.read_text()


def test_a_strip_shows_the_lowest_frame_wherever_it_is(tiny_model: Path, tmp_path: Path) -> None:
    path, sampling = write_clip(tmp_path / "clip.avi", 40), FrameSampling(20)
    with pscr.open(tiny_model, "cpu") as scorer:
        clip = pscr.score_clip(scorer, path, 20)
    for place in range(20):
        scores = [1.0 - (number == place) for number in range(20)]
        results = tuple(
            pscr.Result(score, 0.0, one.width, one.height) for score, one in zip(scores, clip.results, strict=True)
        )
        made = ClipResult(0.95, 0.2, clip.times, results, (clip.times[place], 0.0), 0.0, str(path))
        strip = film_strip(made, sampling, 64, 128, 10**6)
        assert [frame.time for frame in strip.frames if frame.lowest] == [clip.times[place]]
        assert len(strip.frames) == 8
        assert strip.thumbnail
        assert strip.large
    path.unlink()
    assert film_strip(clip, sampling, 64, 128, 10**6).frames == ()


def test_the_curve_of_a_long_clip_stays_small() -> None:
    scores = np.random.default_rng(0).random(20_000).tolist()
    lowest = scores.index(min(scores))
    drawn = curve([n / 10 for n in range(20_000)], scores, (lowest / 10, scores[lowest]), (0, 1), "score", "long")
    assert len(drawn) < 500_000


@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_nothing_fails_or_scrolls_sideways_and_frames_are_seen(
    cli: Cli, opened: Open, tiny_model: Path, renders: Path, tmp_path: Path, width: int
) -> None:
    page = tmp_path / "report.html"
    assert cli("report", renders, "--frames", 12, "-o", page, "--model", tiny_model, "-q").code == 1
    shown = opened(page, width)
    assert shown.problems == []
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
    shown.page.locator("#clips").scroll_into_view_if_needed()
    for strip in shown.page.locator(".strip").all():
        boxes = [frame.bounding_box() for frame in strip.locator("li").all()]
        assert len({round(box["y"]) for box in boxes}) == (1 if width > 700 else 2)
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    assert shown.page.locator("#clips b b").count() == 0  # a hostile name is a name
    ids = shown.page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
