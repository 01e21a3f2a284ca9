"""Images in tar files: in order, without unpacking, and whatever the file says."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from cli_testing import write_image
from table_makers import write_shard, write_tar

from pscr.runtime.errors import Status
from pscr.tables.inputs import Item
from pscr.tables.tar_file import DamagedTarError, TarFile
from pscr.tables.tar_shards import TarShard


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write_image(tmp_path / "files" / f"{seed}.png", seed, 32) for seed in range(5)]


def items_of(path: Path, *asked: str) -> list[Item]:
    return list(TarShard(str(path), asked))


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz")])
def test_images_come_in_order_and_are_called_by_shard_and_member(
    tmp_path: Path, files: list[Path], name: str, mode: str
) -> None:
    items = items_of(write_shard(tmp_path / name, files, mode))
    assert [item.path for item in items] == [f"{tmp_path}/{name}/{n:04}.png" for n in range(5)]
    assert [item.source for item in items] == [file.read_bytes() for file in files]
    assert all(item.cells == {} for item in items)


def test_what_a_sample_says_stands_beside_its_image(tmp_path: Path, files: list[Path]) -> None:
    items = items_of(write_shard(tmp_path / "a.tar", files), "caption", "n", "txt", "none")
    assert [item.cells for item in items] == [
        {"caption": f"caption {n}", "n": str(n), "txt": f"text {n}", "none": None} for n in range(5)
    ]


def test_texts_may_stand_before_their_image_and_several_images_share_them(tmp_path: Path, files: list[Path]) -> None:
    picture = files[0].read_bytes()
    members = [
        ("d.x/1.json", b'{"n": {"a": [1]}}'),
        ("d.x/1.a.png", picture),
        ("d.x/1.b.png", picture),
        ("d.x/2.png", picture),
    ]
    items = items_of(write_tar(tmp_path / "a.tar", members), "n")
    assert [item.cells["n"] for item in items] == ['{"a": [1]}', '{"a": [1]}', None]


@pytest.mark.parametrize("said", [b'{"n": 1', b"[1]", b"\xff", b"[" * 100_000, b""])
def test_a_broken_json_is_an_empty_cell(tmp_path: Path, files: list[Path], said: bytes) -> None:
    path = write_tar(tmp_path / "a.tar", [("1.png", files[0].read_bytes()), ("1.json", said)])
    assert [item.cells for item in items_of(path, "n")] == [{"n": None}]


def test_a_text_that_is_too_long_is_not_read(tmp_path: Path, files: list[Path]) -> None:
    members = [("1.png", files[0].read_bytes()), ("1.txt", b"x" * (1 << 21)), ("2.png", files[1].read_bytes())]
    items = items_of(write_tar(tmp_path / "a.tar", members), "txt")
    assert [item.cells["txt"] for item in items] == [None, None]
    assert items[1].source == files[1].read_bytes()


@pytest.mark.parametrize("name", ["/etc/a.png", "../a.png", "a/../../b.png", "..", "C:/a.png", "a\\..\\b.png"])
def test_a_name_that_leads_out_is_a_row_that_says_so(tmp_path: Path, files: list[Path], name: str) -> None:
    path = write_tar(tmp_path / "a.tar", [(name, files[0].read_bytes()), ("b.png", files[1].read_bytes())])
    bad, good = items_of(path)
    assert (bad.status, bad.source) == (Status.INVALID_ARGUMENT, None)
    assert "leads out" in bad.problem
    assert good.source == files[1].read_bytes()


def test_dots_in_a_name_do_not_lead_out(tmp_path: Path, files: list[Path]) -> None:
    path = write_tar(
        tmp_path / "a.tar", [("./a..b/..c.x.png", files[0].read_bytes()), ("a...png", files[0].read_bytes())]
    )
    assert [item.problem for item in items_of(path) if not item.path.endswith("..c.x.png")] == [""]


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
    ],
)
def test_links_and_devices_are_rows_that_say_so(tmp_path: Path, files: list[Path], kind: bytes, word: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        odd = tarfile.TarInfo("odd.png")
        odd.type, odd.linkname = kind, str(files[0])
        tar.addfile(odd)
        tar.add(files[0], "good.png")
    bad, good = items_of(tmp_path / "a.tar")
    assert (bad.status, bad.source) == (Status.INVALID_ARGUMENT, None)
    assert word in bad.problem
    assert good.source == files[0].read_bytes()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_folders_and_long_names_of_every_format_are_read(tmp_path: Path, files: list[Path], form: int) -> None:
    name = "d" * 90 + "/" + "ü" * 40 + ".png" if form != tarfile.USTAR_FORMAT else "d" * 90 + "/" + "u" * 90 + ".png"
    if form != tarfile.USTAR_FORMAT:
        name = "e" * 120 + "/" + name
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as tar:
        tar.add(tmp_path / "files", "files", recursive=False)
        tar.add(files[0], name)
        tar.add(files[1], "after.png")
    items = items_of(tmp_path / "a.tar")
    assert [item.path for item in items] == [f"{tmp_path}/a.tar/{name}", f"{tmp_path}/a.tar/after.png"]
    assert [item.source for item in items] == [file.read_bytes() for file in files[:2]]


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz")])
@pytest.mark.parametrize("part", [0.01, 0.35, 0.5, 0.77])
def test_a_shard_cut_short_ends_with_a_sentence_behind_what_came_before(
    tmp_path: Path, files: list[Path], name: str, mode: str, part: float
) -> None:
    path = write_shard(tmp_path / name, files, mode)
    data = path.read_bytes()
    content = len(data) if mode == "w:gz" else data.rindex(b"text 4")
    path.write_bytes(data[: int(part * content)])
    *items, last = items_of(path, "caption")
    assert [item.source for item in items] == [file.read_bytes() for file in files[: len(items)]]
    assert len(items) < 5
    assert (last.path, last.status) == (str(path), Status.DECODE_FAILED)
    assert f"{len(items)} rows of it came before" in last.problem


def test_a_cut_between_two_members_is_told(tmp_path: Path, files: list[Path]) -> None:
    path = write_tar(tmp_path / "a.tar", [("a.png", files[0].read_bytes())])
    size = files[0].stat().st_size
    path.write_bytes(path.read_bytes()[: 512 + size + -size % 512])
    good, last = items_of(path)
    assert good.source == files[0].read_bytes()
    assert "without the mark" in last.problem


def test_a_shard_without_images_and_one_that_is_none_say_so(tmp_path: Path) -> None:
    (only,) = items_of(write_tar(tmp_path / "a.tar", [("a.json", b"{}"), ("._a.png", b"1")]))
    assert "no images" in only.problem
    (tmp_path / "b.tar").write_bytes(b"no tar at all" * 100)
    (other,) = items_of(tmp_path / "b.tar")
    assert other.status is Status.DECODE_FAILED


def test_a_member_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.png")
    info.size = (1 << 28) + 1
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    assert [item.status for item in items_of(path)] == [Status.IMAGE_TOO_LARGE, Status.DECODE_FAILED]


class Endless(io.RawIOBase):
    """A header, then zeros for ever; counts what is asked for at once."""

    def __init__(self, header: bytes) -> None:
        self.rest, self.most = header, 0

    def read(self, size: int = -1) -> bytes:
        self.most = max(self.most, size)
        part, self.rest = self.rest[:size], self.rest[size:]
        return part or bytes(size)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_no_header_makes_it_take_much_memory(kind: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 1 << 40
    stream = Endless(info.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(DamagedTarError, match="extended header"):
        list(TarFile(stream))
    assert stream.most <= 1 << 16


def test_sparse_members_are_refused_by_name(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.png")
    info.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(DamagedTarError, match=r"a\.png is of type"):
        list(TarFile(io.BytesIO(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))))


def test_a_body_need_not_be_read(tmp_path: Path, files: list[Path]) -> None:
    path = write_shard(tmp_path / "a.tar", files)
    with path.open("rb") as stream:
        assert [member.name for member in TarFile(stream)][:4] == ["0000.png", "0000.json", "0000.txt", "0001.png"]
    with path.open("rb") as stream:
        tar = TarFile(stream)
        bodies = {member.name: tar.read(member) for member in tar}
    assert bodies["0004.png"] == files[4].read_bytes()
