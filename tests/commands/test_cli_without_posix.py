"""Where the system is not POSIX, images are scored, ranked, compared, tagged and reported on all the same."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).parents[2]

# Python as on Windows, as far as Linux can be it: without the modules, names and flags that Windows has not; files that
# are open can neither be removed nor replaced; folders cannot be opened; no library of C is known without its name.
# The libraries come first: they are built for this system.
ELSEWHERE = """
import ctypes, os, signal, sys
import asyncio, concurrent.futures, logging, multiprocessing.connection, shutil, socket, subprocess, tempfile
import cv2, numpy, onnxruntime
for library in {libraries!r}:
    __import__(library)

for name in list(sys.modules):
    assert not name.startswith("pscr"), name
sys.modules.update(dict.fromkeys(("fcntl", "resource", "grp", "pwd", "termios", "tty", "pty", "syslog")))
for module, names in ((os, {of_os!r}), (signal, {of_signal!r})):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)

def closed(call):
    def checked(*paths, **named):
        for descriptor in os.listdir("/proc/self/fd"):
            held = os.path.realpath("/proc/self/fd/" + descriptor)
            if held in [os.path.realpath(path) for path in paths]:
                raise PermissionError(13, "is open", paths[0])
        return call(*paths, **named)
    return checked

def opened(path, *more, call=os.open, **named):
    if os.path.isdir(path):
        raise PermissionError(13, "is a folder", path)
    return call(path, *more, **named)

class Library(ctypes.CDLL):
    def __init__(self, name, *more, **named):
        if name is None:
            raise TypeError("expected a name")
        super().__init__(name, *more, **named)

for name in ("unlink", "remove", "replace", "rename"):
    setattr(os, name, closed(getattr(os, name)))
os.open, ctypes.CDLL = opened, Library
sys.argv[:] = ["pscr", *sys.argv[1:]]
"""
OF_OS = (
    *("O_ASYNC", "O_CLOEXEC", "O_DIRECT", "O_DIRECTORY", "O_DSYNC", "O_LARGEFILE", "O_NDELAY", "O_NOATIME", "O_NOCTTY"),
    *("O_NOFOLLOW", "O_NONBLOCK", "O_PATH", "O_RSYNC", "O_SYNC", "O_TMPFILE", "SEEK_DATA", "SEEK_HOLE", "WNOHANG"),
    *("chown", "chroot", "copy_file_range", "fchdir", "fchmod", "fchown", "fdatasync", "fork", "forkpty", "fpathconf"),
    *("fstatvfs", "get_blocking", "getegid", "geteuid", "getgid", "getgroups", "getloadavg", "getpgid", "getpgrp"),
    *("getpriority", "getresuid", "getsid", "getuid", "getxattr", "initgroups", "killpg", "lchown", "listxattr"),
    *("lockf", "major", "memfd_create", "minor", "mkfifo", "mknod", "nice", "openpty", "pathconf", "pidfd_open"),
    *("pipe2", "posix_fadvise", "posix_fallocate", "posix_spawn", "pread", "preadv", "pwrite", "pwritev", "readv"),
    *(
        "register_at_fork",
        "sched_getaffinity",
        "sched_setaffinity",
        "sched_yield",
        "sendfile",
        "set_blocking",
        "setpgid",
    ),
    *("setpriority", "setsid", "setuid", "setxattr", "splice", "statvfs", "sync", "sysconf", "tcgetpgrp", "uname"),
    *("wait3", "wait4", "waitid", "writev"),
)
OF_SIGNAL = (
    *("SIGALRM", "SIGBUS", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGTSTP"),
    *("SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2", "SIGWINCH", "alarm", "getitimer", "pause", "pthread_kill"),
    *("pthread_sigmask", "setitimer", "sigpending", "sigtimedwait", "sigwait"),
)
VERBS = "from pscr.commands.main import main\nsys.exit(main(sys.argv[1:]))\n"


PICTURE = "写真 é.png"  # the first word has no letter in the encoding below, the second one has


def elsewhere(program: str, *words: str | Path, libraries: tuple[str, ...] = ()) -> subprocess.CompletedProcess[bytes]:
    """Run a program there, its streams in the encoding of Western Europe's Windows; it tells of no error of ours."""
    begun = ELSEWHERE.format(of_os=OF_OS, of_signal=OF_SIGNAL, libraries=libraries)
    done = subprocess.run(
        [sys.executable, "-c", begun + program, *map(os.fspath, words)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252:strict"},
        timeout=120,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode("cp1252")
    return done


def run(*words: str | Path, libraries: tuple[str, ...] = ()) -> bytes:
    """What the command line writes to standard output there."""
    done = elsewhere(VERBS, *words, libraries=libraries)
    assert done.returncode == 0, done.stderr.decode("cp1252")
    return done.stdout


def rows(data: bytes) -> list[dict[str, str]]:
    """The rows of csv as pscr writes it, with the same bytes on every system."""
    assert data.endswith(b"\n")
    assert b"\r" not in data
    return list(csv.DictReader(data.decode("utf-8").splitlines()))


@pytest.fixture
def model(tiny_model: Path) -> tuple[str | Path, ...]:
    return "--model", tiny_model, "--device", "cpu"


@pytest.fixture
def picture(images: Path, tmp_path: Path) -> Path:
    """An image in a folder of its own, both with names for which the streams' encoding has no letters."""
    folder = tmp_path / "画像"
    folder.mkdir()
    return Path(shutil.copy(images / "img1.png", folder / PICTURE))


def test_a_file_of_results_is_written_and_gone_on_with(
    model: tuple[str | Path, ...], images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scores.csv"
    run("score", images / "img1.png", *model, "-o", output)
    run("score", images, *model, "-o", output, "--resume")
    found = rows(output.read_bytes())
    assert len(found) == 4
    assert {row["status"] for row in found} == {"OK"}


def test_failed_images_are_tried_again_in_the_same_file(
    model: tuple[str | Path, ...], images: Path, tmp_path: Path
) -> None:
    output, late = tmp_path / "scores.csv", images / "late.png"
    words = ("score", images / "img1.png", late, *model, "-o", output)
    assert elsewhere(VERBS, *words).returncode == 1
    shutil.copy(images / "img2.png", late)
    run(*words, "--resume", "--retry-failed")
    assert [row["status"] for row in rows(output.read_bytes())] == ["OK", "OK"]


def test_a_file_that_was_begun_in_vain_is_removed(tmp_path: Path) -> None:
    program = "from pscr.tables.results_file import ResultsFile\nResultsFile(sys.argv[1]).close()\n"
    done = elsewhere(program, tmp_path / "scores.csv")
    assert done.returncode == 0, done.stderr.decode()
    assert not list(tmp_path.iterdir())


def test_files_and_rows_are_utf_8_whatever_the_streams_encoding(model: tuple[str | Path, ...], picture: Path) -> None:
    (row,) = rows(run("score", picture, *model, "--format", "csv"))
    assert row["path"] == os.fspath(picture)
    assert PICTURE in run("score", picture, *model, "--format", "table").decode("utf-8")
    assert json.loads(run("score", picture, *model, "--format", "jsonl"))["path"] == os.fspath(picture)


@pytest.mark.parametrize("verb", ["rank", "compare", "tag"])
def test_words_for_people_are_escaped_where_the_streams_encoding_has_no_letters(
    model: tuple[str | Path, ...], picture: Path, verb: str
) -> None:
    folder = picture.parent
    shutil.copy(picture, folder / "2.png")
    said = run(verb, *([folder] if verb != "compare" else [folder, folder]), *model).decode("cp1252")
    assert r"\u753b\u50cf" in said, "the folder's name"
    assert ("\xe9" in said) == (verb != "compare"), "what the encoding has is written as it is"


def test_a_report_is_written(model: tuple[str | Path, ...], images: Path, picture: Path, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    libraries = ("jinja2", "matplotlib.pyplot")
    run("report", images, picture.parent, *model, "-o", output, libraries=libraries)
    assert PICTURE in output.read_text("utf-8")


def test_images_are_put_aside(model: tuple[str | Path, ...], images: Path, tmp_path: Path) -> None:
    low = tmp_path / "low"
    run("score", images, *model, "--min-score", "1000", "--move-to", low)
    assert len(list(low.iterdir())) == 4


def test_ray_is_refused_by_name(model: tuple[str | Path, ...], images: Path, tmp_path: Path) -> None:
    done = elsewhere(VERBS, "score", images, *model, "--engine", "ray", "-o", tmp_path / "scores")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--engine ray does not run on this system" in done.stderr


def test_a_map_is_drawn_over_an_earlier_one(model: tuple[str | Path, ...], images: Path, tmp_path: Path) -> None:
    output = tmp_path / "map.png"
    for _ in range(2):
        run("map", images / "img1.png", *model, "-o", output)
    assert cv2.imread(os.fspath(output)) is not None


PIXELS = """
import pscr
pixels = numpy.arange(2 * 96 * 96 * 3).reshape(2, 96, 96, 3).astype(numpy.uint8)
with pscr.open(sys.argv[1], device="cpu") as scorer:
    batch = [result.score for result in scorer.score_pixels(pixels)]
    assert batch == [scorer.score(image, pixel_format="rgb").score for image in pixels]
    (result,) = scorer.score_many([b"no image"])
    assert result.status is pscr.Status.DECODE_FAILED
"""


def test_a_batch_of_pixels_is_scored(tiny_model: Path) -> None:
    done = elsewhere(PIXELS, tiny_model)
    assert done.returncode == 0, done.stderr.decode()


NODES = """
import torch
sys.path.insert(0, sys.argv[1])
import pscr_nodes
images = torch.rand(2, 96, 96, 3)
for name, more in (("Score", {}), ("BestOfN", {"k": 1}), ("MapOverlay", {})):
    node = pscr_nodes.NODE_CLASS_MAPPINGS["Pscr" + name]()
    getattr(node, node.FUNCTION)(images=images, model="agiqa3k-lite0", device="cpu", **more)
"""


@pytest.mark.slow
def test_the_nodes_for_comfyui_run() -> None:
    done = elsewhere(NODES, ROOT / "examples" / "comfyui", libraries=("torch",))
    assert done.returncode == 0, done.stderr.decode()
