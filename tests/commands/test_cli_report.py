"""`pscr report`: one page from folders, patterns, files or results that are there already."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_testing import Cli, command, write_image

pytestmark = pytest.mark.slow


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Two generators, three images each, called alike."""
    for seed, name in enumerate(f"{generator}/{n}.png" for generator in "ab" for n in range(3)):
        write_image(tmp_path / "two" / name, seed)
    return [tmp_path / "two" / generator for generator in "ab"]


def rows(page: Path) -> dict[str, str]:
    """The score of each file in the table of images, as it is shown."""
    table = page.read_text().split('id="images"')[1].split("</table>")[0]
    found = re.findall(r'<th scope="row" class="name"><bdi>(.*?)</bdi>.*?<td class="n">(.*?)</td>', table, re.DOTALL)
    return dict(found)


def test_the_page_has_the_scores_of_pscr_score(cli: Cli, tiny_model: Path, images: Path, tmp_path: Path) -> None:
    page, scores = tmp_path / "report.html", tmp_path / "scores.csv"
    done = cli("report", images, "-o", page, "--model", tiny_model)
    assert done.code == 0
    assert "4 scored, 0 failed" in done.error
    assert cli("score", images, "-o", scores, "--model", tiny_model, "-q").code == 0
    with scores.open() as stream:
        expected = {str(Path(row["path"]).relative_to(images)): row["score"] for row in csv.DictReader(stream)}
    assert rows(page) == {name: f"{float(score):.3f}" for name, score in expected.items()}
    assert 'id="comparison"' not in page.read_text()


def test_failures_are_told_with_their_reasons_and_the_code_is_1(
    cli: Cli, tiny_model: Path, images: Path, truncated: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    (tmp_path / "empty").mkdir()
    done = cli(
        "report", images, truncated, tmp_path / "gone.png", tmp_path / "empty", "-o", page, "--model", tiny_model
    )
    assert done.code == 1
    text = page.read_text().split('id="failures"')[1]
    assert "3 images without a score: 2 FILE_NOT_FOUND, 1 DECODE_FAILED." in text
    assert "cut short" in text
    assert "no images in this folder" in text


def test_several_folders_are_compared_and_matched_by_name(
    cli: Cli, tiny_model: Path, two: list[Path], tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    assert cli("report", *two, "-o", page, "--model", tiny_model, "--no-maps").code == 0
    text = page.read_text()
    assert "3 file names stand in two groups or more" in text
    assert "paired difference" in text
    assert cli("report", *two, "-o", page, "--model", tiny_model, "--no-maps", "--unpaired").code == 0
    assert "paired difference" not in page.read_text()


def test_a_group_without_any_score_is_said_and_not_compared(
    cli: Cli, tiny_model: Path, two: list[Path], tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    for file in two[1].iterdir():
        file.write_bytes(b"no image")
    assert cli("report", *two, "-o", page, "--model", tiny_model, "--no-maps").code == 1
    assert 'id="comparison"' not in page.read_text()
    assert "only one group has scores" in page.read_text()


def test_more_groups_than_pairs_can_show_have_their_means(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    for n in range(26):
        write_image(tmp_path / "many" / f"{n:02}" / "x.png", n)
    assert cli("report", tmp_path / "many", "--by-folder", "-o", page, "--model", tiny_model, "--no-maps").code == 0
    text = page.read_text()
    assert "26 groups are too many to compare in pairs; the limit is 24." in text
    assert '<th scope="row" class="label"><bdi>25</bdi></th>' in text
    assert "paired difference" not in text


def takes_sigterm(number: int) -> bool:
    """Whether a process has a handler for SIGTERM."""
    caught = Path(f"/proc/{number}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) >> signal.SIGTERM - 1 & 1)


def test_an_interrupted_run_writes_nothing(tiny_model: Path, image: Path, tmp_path: Path) -> None:
    """Of so many images that it is still at it when the signal comes."""
    page = tmp_path / "report.html"
    page.write_text("old")
    words = command("report", *[image] * 3000, "-o", page, "--model", tiny_model, "--threads", "1", "--no-maps")
    with subprocess.Popen(words, stderr=subprocess.PIPE) as running:
        while running.poll() is None and not takes_sigterm(running.pid):
            time.sleep(0.02)
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 143, said
    assert b"interrupted" in said
    assert page.read_text() == "old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.png", "report.html"]


def test_one_folder_is_compared_by_a_csv_of_groups_and_prompts(
    cli: Cli, tiny_model: Path, two: list[Path], tmp_path: Path
) -> None:
    table, page = tmp_path / "labels.csv", tmp_path / "report.html"
    lines = [f"two/{one}/{n}.png,model {one},prompt {n}" for one in "ab" for n in range(3)]
    table.write_text("\n".join(["file,model,text", *lines]))
    columns = ["--path-column", "file", "--group-column", "model", "--prompt-column", "text"]
    done = cli(
        "report", tmp_path / "two", "--groups", table, "--prompts", table, *columns, "-o", page, "--model", tiny_model,
        "--no-maps",
    )  # fmt: skip
    assert done.code == 0
    text = page.read_text()
    assert "Prompts are known: 3 different ones." in text
    assert "<bdi>model a</bdi>" in text
    assert "of 3</td>" in text


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_results_that_are_there_are_not_scored_again(
    cli: Cli, tiny_model: Path, two: list[Path], tmp_path: Path, form: str
) -> None:
    scores, whole, page = tmp_path / f"scores.{form}", tmp_path / "whole.html", tmp_path / "report.html"
    broken = two[0] / "broken.png"
    broken.write_bytes(b"no image")
    assert cli("score", two[0], "-o", scores, "--model", tiny_model, "-q").code == 1
    assert cli("report", two[0], "-o", whole, "--model", tiny_model, "--no-maps").code == 1
    (two[0] / "0.png").unlink()
    write_image(two[0] / "new.png", 9)
    done = cli("report", "--scores", scores, "-o", page, "--model", tiny_model, "--no-maps")
    assert done.code == 1
    assert rows(page) == rows(whole)
    assert "no picture" not in page.read_text().split('id="images"')[1]
    assert cli("report", two[0], "--scores", scores, "-o", page, "--model", tiny_model, "--no-maps").code == 1
    assert set(rows(page)) == {"1.png", "2.png", "broken.png", "new.png"}


def test_results_of_another_model_are_refused(cli: Cli, tiny_model: Path, two: list[Path], tmp_path: Path) -> None:
    scores, page = tmp_path / "scores.csv", tmp_path / "report.html"
    cli("score", two[0], "-o", scores, "--model", tiny_model, "-q")
    text = scores.read_text()
    number = text.splitlines()[1].split(",")[1]
    scores.write_text(text.replace(number, f"{float(number) + 1:.6f}"))
    done = cli("report", "--scores", scores, "-o", page, "--model", tiny_model)
    assert done.code == 2
    assert "another model or bank" in done.error
    assert not page.exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "found no PATH"),
        (["--scores", "scores.txt"], "expected the csv or jsonl file"),
        (["--scores", "none.csv"], "cannot be read"),
        (["{images}", "--groups", "none.csv"], "no such label file"),
        (["{images}", "-o", "out.png"], "a report is one HTML page"),
        (["{images}", "-o", "out.csv"], "a report is one HTML page"),
        (["{images}", "-o", "nowhere/out.html"], "there is no folder"),
        (["{images}", "--show", "0"], "expected a whole number from 1"),
        (["{empty}"], "no images in this folder"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_2(
    cli: Cli, tiny_model: Path, images: Path, tmp_path: Path, words: list[str], expected: str
) -> None:
    (tmp_path / "empty").mkdir()
    filled = [word.format(images=images, empty=tmp_path / "empty") for word in words]
    output = [] if "-o" in filled else ["-o", tmp_path / "report.html"]
    done = cli("report", *filled, *output, "--model", tiny_model)
    assert done.code == 2
    assert expected in done.error


def test_labels_that_name_no_image_are_refused(cli: Cli, tiny_model: Path, images: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("path,group\nelsewhere.png,a\n")
    done = cli("report", images, "--groups", table, "-o", tmp_path / "report.html", "--model", tiny_model)
    assert done.code == 2
    assert "names none of the images" in done.error


def test_the_page_goes_to_standard_output_and_an_old_one_stays_where_writing_fails(
    cli: Cli, tiny_model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = cli("report", images, "-o", "-", "--model", tiny_model, "--no-maps", "-q")
    assert done.code == 0
    assert done.out.startswith("<!DOCTYPE html>")
    page = tmp_path / "report.html"
    page.write_text("old")
    others = tmp_path / "report.html.tmp"
    others.symlink_to(tmp_path / "target")  # a name that a program might write to first
    monkeypatch.setattr("pscr.report.engine.render", lambda report: 1 / 0)
    assert cli("report", images, "-o", page, "--model", tiny_model, "--no-maps", "-q").code == 3
    assert page.read_text() == "old"
    assert not others.exists()


def test_scores_are_kept_where_the_page_cannot_be_drawn_and_go_into_the_next_one(
    cli: Cli, tiny_model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("report", images, "-o", tmp_path / "report.html", "--model", tiny_model, "--no-maps", "-q")
    with monkeypatch.context() as broken:
        broken.setattr("pscr.report.engine.assemble", lambda *words: 1 / 0)
        done = cli(*words)
    kept = tmp_path / "report.html.scores.csv"
    assert done.code == 3
    assert f"--scores {kept}" in done.err
    assert len(kept.read_text().splitlines()) == 5
    assert cli(*words, "--scores", kept).code == 0


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_without_its_libraries_it_names_the_extra_and_scoring_works(
    missing: str, image: Path, tiny_model: Path
) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from pscr.commands.main import main\n"
        f"assert main(['score', {str(image)!r}, '--model', {str(tiny_model)!r}, '-q']) == 0\n"
        f"sys.exit(main(['report', {str(image)!r}, '-o', 'x.html']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "pip install 'pscr[report]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_scoring_and_help_load_nothing_that_the_page_needs(image: Path, tiny_model: Path) -> None:
    code = (
        "import sys\nfrom pscr.commands.main import main\n"
        f"main(['score', {str(image)!r}, '--model', {str(tiny_model)!r}, '-q']); main(['report', '--help'])\n"
        "sys.exit(bool({'jinja2', 'matplotlib', 'pscr.training'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
