"""Nothing that a C library writes reaches the terminal; it becomes the message of the image that it is about."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import pscr
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import load
from pscr.runtime.stderr_capture import in_one_line

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")


def picture(seed: int = 0) -> np.ndarray:
    """A smooth picture [256,256,3]."""
    return cv2.resize(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8), (256, 256))


def damaged_jpeg(seed: int = 0) -> bytes:
    """A JPEG with a gap in the middle of its data, which libjpeg decodes with a warning."""
    data = bytearray(cv2.imencode(".jpg", picture(seed))[1].tobytes())
    data[len(data) // 2 : len(data) // 2 + 20] = bytes(20)
    return bytes(data)


def png_with_bad_profile() -> bytes:
    """A PNG whose colour profile is none, which libpng warns of."""
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, "PNG", icc_profile=bytes(200))
    return stream.getvalue()


@pytest.fixture
def scorer(tiny_model: Path) -> Iterator[pscr.Scorer]:
    with pscr.open(tiny_model, device="cpu", threads=4) as opened:
        yield opened


@pytest.fixture(autouse=True)
def quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """File descriptors 1 and 2 stay empty."""
    yield
    assert capfd.readouterr() == ("", "")


def test_warnings_of_libjpeg_and_libpng_become_the_results_message(scorer: pscr.Scorer) -> None:
    for data, words in ((damaged_jpeg(), "Corrupt JPEG data"), (png_with_bad_profile(), "libpng warning: iCCP")):
        result = scorer.score(data)
        assert result.ok
        assert result.message.startswith("the decoder says: ")
        assert words in result.message
        assert "\n" not in result.message


def test_an_error_says_what_the_library_said() -> None:
    data = bytearray(png_with_bad_profile())
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(PscrError, match="libpng error") as caught:
        load(bytes(data))
    assert caught.value.status is Status.DECODE_FAILED


@pytest.mark.parametrize("batch", [1, 5])
def test_among_many_decoded_at_once_the_message_is_the_right_images(scorer: pscr.Scorer, batch: int) -> None:
    good = cv2.imencode(".jpg", picture())[1].tobytes()
    damaged = [data for n in range(60) if "Corrupt" in scorer.score(data := damaged_jpeg(n)).message]
    assert len(damaged) > 20
    warned = png_with_bad_profile()
    sources = [damaged[n % len(damaged)] if n % 3 == 0 else warned if n % 7 == 0 else good for n in range(80)]
    results = list(scorer.score_many(sources, batch=batch))
    for number, result in enumerate(results):
        expected = "Corrupt JPEG" if number % 3 == 0 else "libpng" if number % 7 == 0 else ""
        assert (expected in result.message) if expected else not result.message, (number, result.message)


def test_no_format_that_is_cut_or_damaged_writes_anything() -> None:
    for name in ("JPEG", "PNG", "TIFF", "GIF", "WEBP", "AVIF", "JPEG2000", "BMP", "TGA", "PCX"):
        stream = io.BytesIO()
        Image.fromarray(picture()).save(stream, name)
        whole = stream.getvalue()
        flipped = bytearray(whole)
        for place in range(40, len(whole), max(len(whole) // 9, 1)):
            flipped[place] ^= 0x55
        for data in (whole[: len(whole) // 2], whole[:-20], bytes(flipped)):
            try:
                load(data)
            except PscrError as error:
                assert error.status in (Status.DECODE_FAILED, Status.IMAGE_TOO_LARGE)  # noqa: PT017


def test_what_pillow_and_its_libraries_say_is_the_images_message() -> None:
    """Its libtiff writes, its Python code warns and logs: all three are caught, for bytes and for an opened image."""
    stream = io.BytesIO()
    fax = Image.fromarray(picture()).convert("1")
    fax.save(stream, "TIFF", compression="tiff_ccitt")
    data = bytearray(stream.getvalue())
    data[len(data) // 2 : len(data) // 2 + 200] = b"\x55" * 200
    for source in (bytes(data), Image.open(io.BytesIO(data))):
        notes: list[str] = []
        load(source, notes=notes)
        assert len(notes) == 1
        assert notes[0].startswith("the decoder says: Fax3")


def test_pillows_log_lines_become_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, "TGA")
    convert = Image.Image.convert

    def talking(image: Image.Image, *words: object, **named: object) -> Image.Image:
        logging.getLogger("PIL.TgaImagePlugin").warning("odd %s", "footer")
        warnings.warn_explicit("truncated tag", UserWarning, Image.__file__, 1)
        return convert(image, *words, **named)

    monkeypatch.setattr(Image.Image, "convert", talking)
    notes: list[str] = []
    load(stream.getvalue(), notes=notes)
    assert notes == ["the decoder says: odd footer; truncated tag"]


def test_a_broken_image_that_was_opened_with_pillow_writes_nothing() -> None:
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, "TIFF", compression="tiff_lzw")
    data = stream.getvalue().replace(stream.getvalue()[2000:2400], b"\xff" * 400)
    with pytest.raises(PscrError) as caught:
        load(Image.open(io.BytesIO(data)))
    assert caught.value.status is Status.DECODE_FAILED


def test_opencvs_own_log_level_is_as_it_was() -> None:
    before = cv2.utils.logging.getLogLevel()
    load(damaged_jpeg())
    assert cv2.utils.logging.getLogLevel() == before


def test_stderr_of_python_and_of_other_programs_is_not_touched(tiny_model: Path) -> None:
    """Both write while four threads decode."""
    program = f"""
import os, subprocess, sys, threading
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_stderr_capture import damaged_jpeg
from pscr.runtime.image import load
data, stop = damaged_jpeg(), threading.Event()
def work():
    while not stop.is_set():
        load(data)
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
for n in range(20):
    print("python", n, file=sys.stderr, flush=True)
    os.write(2, b"descriptor %d\\n" % n)
    subprocess.run(["sh", "-c", "echo program %d >&2" % n])
stop.set()
[thread.join() for thread in threads]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    expected = [f"{who} {n}" for n in range(20) for who in ("python", "descriptor", "program")]
    assert done.stderr.splitlines() == expected


def test_stderr_of_c_is_given_back_after_each_image() -> None:
    program = f"""
import ctypes, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_stderr_capture import damaged_jpeg
from pscr.runtime.image import load
load(damaged_jpeg())
ctypes.CDLL(None).perror(b"from C")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stderr.startswith("from C: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_child_made_by_fork_catches_too() -> None:
    load(damaged_jpeg())
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        notes: list[str] = []
        load(damaged_jpeg(), notes=notes)
        os.write(writer, "|".join(notes).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as stream:  # noqa: PTH123
        assert b"Corrupt JPEG" in stream.read()
    assert os.waitpid(child, 0)[1] == 0


def test_events_are_logged_and_nothing_is_shown_unless_asked_for(
    tiny_model: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(damaged_jpeg())
    with caplog.at_level(logging.INFO, "pscr"), pscr.open(tiny_model, device="cpu", threads=1) as scorer:
        scorer.score(tmp_path / "a.jpg")
    messages = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert messages[0][1].startswith("opened tiny 0.0.1 on cpu")
    assert messages[1][0] == "WARNING"
    assert "a.jpg: the decoder says: Corrupt JPEG" in messages[1][1]
    assert messages[-1][1] == "closed tiny 0.0.1"
    assert all(record.name.startswith("pscr.") for record in caplog.records)


def test_a_program_without_logging_sees_nothing(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(damaged_jpeg())
    program = (
        f"import pscr\nwith pscr.open({str(tiny_model)!r}, device='cpu') as s: s.score({str(tmp_path / 'a.jpg')!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


TALKING = """
import logging, sys
from PIL import Image
from pscr.commands.main import main
convert = Image.Image.convert
def talking(image, *words, **named):
    logging.getLogger("PIL.TgaImagePlugin").warning("odd footer")
    return convert(image, *words, **named)
Image.Image.convert = talking
sys.exit(main(sys.argv[1:]))
"""


def test_what_pillow_logs_is_in_the_row_and_not_on_the_terminal(tiny_model: Path, tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.tga")
    words = ["score", "-q", "--format", "csv", "--model", str(tiny_model), str(tmp_path / "a.tga")]
    done = subprocess.run([sys.executable, "-c", TALKING, *words], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the decoder says: odd footer" in done.stdout.splitlines()[-1]


def test_many_words_become_one_bounded_line() -> None:
    assert in_one_line("one\n\n two  words \none\n") == "one; two words"
    assert in_one_line("a\nb\nc\nd\ne") == "a; b; c and 2 more"
    assert len(in_one_line("x" * 10_000)) == 300
    assert in_one_line("") == ""
