"""What the paths on the command line stand for."""

from __future__ import annotations

import codecs
import io
import ntpath
import os
import posixpath
from collections import Counter
from pathlib import Path, PureWindowsPath

import pytest

from pscr.console import UsageError
from pscr.tables.inputs import Item, expand, in_words, joined, natural_key, parts_of, read_list


def names(folder: Path, *paths: str) -> list[str]:
    """The expanded paths, as seen from the folder."""
    return [os.path.relpath(item.path, folder) for item in expand(paths)]


def test_folder_stands_for_the_images_below_it_in_natural_order(images: Path) -> None:
    assert names(images, str(images)) == ["below/deep.JPG", "img1.png", "img2.png", "img10.png"]


def test_folder_order_does_not_depend_on_the_order_of_creation(tmp_path: Path) -> None:
    for order in ("abc", "cab"):
        for name in order:
            (tmp_path / order / name).mkdir(parents=True)
            (tmp_path / order / name / "1.png").touch()
    assert names(tmp_path / "abc", str(tmp_path / "abc")) == names(tmp_path / "cab", str(tmp_path / "cab"))


def test_hidden_files_and_folders_are_skipped_in_a_folder_but_can_be_named(images: Path) -> None:
    assert not any(".hidden" in name or ".cache" in name for name in names(images, str(images)))
    assert names(images, str(images / ".hidden.png")) == [".hidden.png"]


def test_a_pattern_is_split_at_both_separators_where_the_system_has_two() -> None:
    assert parts_of(r"runs\**/a\*.png", ntpath) == ("", ["runs", "**", "a", "*.png"])
    assert parts_of(r"runs/a\b/*.png", posixpath) == ("", ["runs", r"a\b", "*.png"])


@pytest.mark.parametrize(
    ("pattern", "start", "first"),
    [
        (r"C:\out\*.png", "C:/", "C:/out"),
        ("C:/out/*.png", "C:/", "C:/out"),
        (r"C:out\*.png", "C:", "C:out"),  # in the working directory of C:
        (r"\\server\share\out\*.png", r"\\server\share/", r"\\server\share/out"),
        (r"\\?\C:\out\*.png", r"\\?\C:/", r"\\?\C:/out"),  # the question mark is no pattern
        (r"\out\*.png", "/", "/out"),
        (r"out\*.png", "", "out"),
    ],
)
def test_a_windows_pattern_starts_from_its_drive_or_share(pattern: str, start: str, first: str) -> None:
    folder, parts = parts_of(pattern, ntpath)
    assert (folder, parts) == (start, ["out", "*.png"])
    below = joined(folder, parts[0], ntpath)
    assert below == first
    assert joined(below, parts[1], ntpath) == f"{first}/*.png"
    assert PureWindowsPath(below, parts[1]) == PureWindowsPath(pattern)


def test_a_pattern_from_the_root_starts_there() -> None:
    assert parts_of("/out/*.png", posixpath) == ("/", ["out", "*.png"])
    assert joined("/", "out", posixpath) == "/out"
    assert parts_of("C:/out/*.png", posixpath) == ("", ["C:", "out", "*.png"]), "a folder may be called C:"


def test_pattern_matches_images_in_natural_order(images: Path) -> None:
    assert names(images, str(images / "img*")) == ["img1.png", "img2.png", "img10.png"]


def test_two_stars_cross_folders(images: Path) -> None:
    assert names(images, str(images / "**" / "*.JPG")) == ["below/deep.JPG"]
    assert len(expand([str(images / "**")])) == 4


def test_existing_file_with_brackets_in_its_name_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "img[1].png"
    path.touch()
    assert expand([str(path)]) == [Item(str(path))]


def test_files_are_taken_as_named_whatever_their_ending_and_in_the_order_given(images: Path) -> None:
    given = [str(images / name) for name in ("notes.txt", "img10.png", "missing.png", "img1.png", "img1.png")]
    assert expand(given) == [Item(path) for path in given]


def test_path_stays_spelled_as_it_was_given(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(images)
    assert expand(["./img1.png", "below/../img2.png"]) == [Item("./img1.png"), Item("below/../img2.png")]


def test_folder_without_images_is_one_item_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (item,) = expand([str(tmp_path)])
    assert item.path == str(tmp_path)
    assert "no images in this folder; expected files ending in" in item.problem


def test_pattern_without_a_match_is_one_item_with_a_reason(tmp_path: Path) -> None:
    (item,) = expand([str(tmp_path / "*.png")])
    assert "no file matches this pattern" in item.problem


def test_pattern_that_matches_no_image_says_what_it_matched(images: Path) -> None:
    (item,) = expand([str(images / "*.txt")])
    assert "none of the 1 files" in item.problem


def test_name_too_long_for_the_system_is_taken_as_a_file() -> None:
    assert expand(["x" * 5000]) == [Item("x" * 5000)]


def test_empty_path_is_not_the_working_folder() -> None:
    assert expand([""]) == [Item("")]


def test_linked_folders_are_not_followed_so_a_loop_ends(images: Path) -> None:
    (images / "loop").symlink_to(images)
    assert len(expand([str(images)])) == 4


def test_a_pattern_follows_no_linked_folder_either_and_ends(images: Path) -> None:
    (images / "loop").symlink_to(".")
    (images / "below" / "up").symlink_to(images)
    assert names(images, str(images / "**" / "*.png")) == names(images, str(images / "*.png"))
    assert names(images, str(images / "**")) == names(images, str(images))


def test_a_linked_folder_that_is_named_is_searched(images: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(images)
    assert names(tmp_path, str(tmp_path / "link" / "img*")) == [f"link/img{n}.png" for n in (1, 2, 10)]
    assert len(expand([str(tmp_path / "link")])) == 4


@pytest.mark.parametrize("form", ["{}", "{}/*", "{}/**"])
def test_only_regular_files_are_taken_from_a_folder_and_the_rest_is_counted(tmp_path: Path, form: str) -> None:
    (tmp_path / "one.png").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "photo.HEIC").touch()
    (tmp_path / "link.png").symlink_to("one.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    left_out: Counter[str] = Counter()
    found = expand([form.format(tmp_path)], left_out)
    assert [Path(item.path).name for item in found] == ["gone.png", "link.png", "one.png"]
    assert left_out[".txt"] == left_out["pipe, socket or device"] == 1
    assert "1 .txt" in in_words(left_out)
    assert ".heic" in in_words(left_out) or len(found) == 4


def test_what_was_left_out_is_said_by_kind_the_most_frequent_first() -> None:
    kinds = Counter({".txt": 3, ".json": 9, ".md": 1, ".a": 1, ".b": 1, ".c": 1, ".d": 1})
    assert in_words(kinds) == "17 left out (9 .json, 3 .txt, 1 .md, 1 .a, 1 .b, 2 others)"
    assert in_words(Counter()) == ""


def test_folder_that_cannot_be_listed_is_named(images: Path) -> None:
    closed = images / "below"
    closed.chmod(0)
    try:
        if os.access(closed, os.R_OK):
            pytest.skip("this user may read everything")
        assert expand([str(images)])[-1].problem == "the folder cannot be listed: Permission denied"
    finally:
        closed.chmod(0o755)


def test_list_has_one_path_a_line_with_any_line_ends_and_blank_lines_skipped() -> None:
    assert [item.path for item in read_list(io.BytesIO(b"a.png\r\n\nb c.png\nlast.png"))] == [
        "a.png",
        "b c.png",
        "last.png",
    ]


def test_null_list_keeps_line_feeds_inside_paths() -> None:
    assert [item.path for item in read_list(io.BytesIO(b"a\nb.png\0c.png\0"), null=True)] == ["a\nb.png", "c.png"]


def test_list_keeps_bytes_that_are_not_utf8() -> None:
    (item,) = read_list(io.BytesIO(b"caf\xe9.png\n"))
    assert os.fsencode(item.path) == b"caf\xe9.png"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_list_with_a_byte_order_mark_is_read_in_its_encoding(encoding: str, ends: str) -> None:
    paths = ["größe 画像.png", "b.png"]
    data = ends.join(paths).encode(encoding)
    data = codecs.BOM_UTF16_BE + data if encoding == "utf-16-be" else data
    assert [item.path for item in read_list(io.BytesIO(data))] == paths


@pytest.mark.parametrize("data", ["a.png\nb.png".encode("utf-16-le"), codecs.BOM_UTF16_LE + b"a"])
def test_list_that_is_not_what_it_seems_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"UTF-16|utf-16"):
        list(read_list(io.BytesIO(data)))


def test_list_is_read_as_it_arrives() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream, os.fdopen(writer, "wb", buffering=0) as feed:
        feed.write(b"first.png\nsec")
        items = read_list(stream)
        assert next(items).path == "first.png"
        feed.write(b"ond.png\n")
        assert next(items).path == "second.png"


def test_list_longer_than_one_read_loses_nothing() -> None:
    paths = [f"folder/{number:06}.png" for number in range(20_000)]
    assert [item.path for item in read_list(io.BytesIO("\n".join(paths).encode()))] == paths


def test_natural_order_handles_digits_everywhere() -> None:
    shuffled = ["b/1.png", "a/10.png", "10/x.png", "a/9b.png", "9/x.png", "a/009.png", "A/9.png", ".png"]
    ordered = sorted(shuffled, key=natural_key)
    assert ordered.index("9/x.png") < ordered.index("10/x.png")
    assert ordered.index("a/9b.png") < ordered.index("a/10.png")
    shuffled.reverse()
    assert sorted(shuffled, key=natural_key) == ordered
