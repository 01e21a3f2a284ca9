"""`pscr serve`'s command line: what is wrong is said in one line before the model is opened."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from serve_process import serving

from pscr.commands.main import main
from pscr.runtime.errors import PscrError, Status
from pscr.serve import engine
from pscr.serve.access import read_token
from pscr.serve.errors import Problem
from pscr.serve.limits import Held, Hold, Limits


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--port", "70000"], "expected a port"),
        (["--max-wait-ms", "soon"], "expected milliseconds"),
        (["--queue", "4", "--max-images", "8"], "raise --queue or lower --max-images"),
        (["--max-mib", "200"], "raise --memory-mib or lower --max-mib"),
        (["--token-file", "no/such/file"], "cannot be read"),
        (["--host", "203.0.113.1"], "cannot listen on 203.0.113.1"),
        (["--formats", "jpeg,psd"], "expected names of jpeg, png"),
        (["--allow-host", "http://pscr.lan:80"], "without a port"),
        (["--nonsense"], "pscr serve --help"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PSCR_TOKEN", raising=False)
    assert main(["serve", *words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err


def test_a_model_that_is_none_is_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "0", "--model", str(tmp_path)]) == 3
    assert "manifest.json" in capsys.readouterr().err


def test_without_the_extra_it_says_which_to_install() -> None:
    program = (
        "import sys; sys.modules['fastapi'] = None; from pscr.commands.main import main; sys.exit(main(['serve']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "pip install 'pscr[serve]'" in done.stderr


def test_help_and_scoring_load_no_web_library() -> None:
    program = (
        "import sys; from pscr.commands.main import main; code = main(['serve', '--help'])\n"
        "found = {'fastapi', 'uvicorn', 'prometheus_client', 'starlette'} & set(sys.modules)\n"
        "sys.exit(f'{code} {found}' if code or found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert done.returncode == 0, done.stderr
    assert "--max-wait-ms" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_on_an_outer_address_without_a_token_it_warns(tiny_model: Path) -> None:
    with serving(tiny_model, "--host", "0.0.0.0") as served:
        pass
    assert any("warning: everyone who can connect" in line for line in served.log)


def test_the_log_has_a_line_for_each_request_and_no_file_names(tiny_model: Path) -> None:
    import httpx

    for quiet in (False, True):
        with serving(tiny_model, *(["-q"] if quiet else [])) as served:
            httpx.post(f"{served.url}/v1/score", files=[("image", ("secret.jpg", b"no image"))] * 2)
            httpx.get(f"{served.url}/secret/path")
        log = "".join(served.log)
        assert "secret" not in log
        assert ("POST /v1/score 200, " in log) == ("GET other 404, " in log) == (not quiet)


@pytest.mark.parametrize("text", ["", "short", "with spaces in the middle", "ümlaut-ümlaut-ümlaut", "x" * 20 + "\ny"])
def test_a_token_that_cannot_be_one_is_refused_and_not_ignored(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    monkeypatch.setenv("PSCR_TOKEN", text)
    for given in (str(file), None):
        with pytest.raises(PscrError, match="holds no token") as refused:
            read_token(given)
        assert refused.value.status is Status.INVALID_ARGUMENT
        assert not text or text not in refused.value.message


def test_a_file_with_a_token_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("token-of-the-file-0123\n")
    monkeypatch.setenv("PSCR_TOKEN", "token-of-the-environment")
    assert read_token(str(tmp_path / "token")) == "token-of-the-file-0123"
    assert read_token(None) == "token-of-the-environment"
    monkeypatch.delenv("PSCR_TOKEN")
    assert read_token(None) is None


def test_bodies_of_all_requests_together_are_bounded_and_given_back() -> None:
    held = Held(100)
    with Hold(held) as one, Hold(held) as two:
        one.add(60)
        two.add(40)
        with pytest.raises(Problem) as refused:
            two.add(1)
        assert (refused.value.status, refused.value.retry_after) == (503, 1)
    assert held.bytes == 0


def test_a_request_may_hold_half_of_the_memory_at_most() -> None:
    assert Limits(image_bytes=100, images=1000, held_bytes=1 << 20).request_bytes == 100 * 1000 + 65536
    assert Limits(image_bytes=1 << 20, images=100, held_bytes=1 << 20).request_bytes == (1 << 19) + 65536


def test_an_answer_does_not_wait_for_the_clients_acknowledgement() -> None:
    """Nagle's algorithm would hold a kept connection's answer back for 40 ms."""
    with engine._listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
