"""`pscr serve`: the scorer behind HTTP, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import re

from ..console import needing
from ..serve.formats import FORMATS, USUAL
from . import options as shared

DESCRIPTION = """\
Serve scores over HTTP: POST /v1/score and /v1/map, GET /v1/info, /metrics, /healthz, /readyz, a page at / and a
description at /docs. Images that arrive together are scored together. SIGTERM or Ctrl-C finishes what is under way
and ends with exit code 0.
"""
EPILOG = """\
examples:
  pscr serve                                        http://127.0.0.1:8000, this machine only
  curl --data-binary @image.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/v1/score
  curl -F image=@a.jpg -F image=@b.jpg http://127.0.0.1:8000/v1/score
  pscr serve --host 0.0.0.0 --token-file token.txt  other machines too, with: Authorization: Bearer TOKEN

Without --token-file the token is the environment's PSCR_TOKEN; without either, everyone who can connect is served,
under the names localhost, 127.0.0.1, [::1], that of --host (any address, where that is 0.0.0.0 or ::) and --allow-host.
"""


def add(verbs: shared.Verbs) -> None:
    serve = shared.add_verb(
        verbs,
        "serve",
        "score images over HTTP, with a page to look at (needs pscr[serve])",
        run,
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    add = serve.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)")
    add("--port", type=_port, default=8000, metavar="N", help="0 for one that is free (default: %(default)s)")
    add("--token-file", metavar="FILE", help="clients must send the token in it (default: PSCR_TOKEN, if it is set)")
    add(
        "--allow-host", type=_host, action="append", default=[], metavar="NAME",
        help="a further name that it may be called by without a token, such as pscr.lan; may be repeated",
    )  # fmt: skip
    shared.model(serve)
    shared.device(serve)
    shared.threads(serve)
    shared.bank(serve)
    add("--batch", type=shared.positive, metavar="N", help="most images per run of the network (default: by device)")
    add(
        "--max-wait-ms", type=_milliseconds, default=2.0, metavar="MS",
        help="that a batch which is not full waits for more images (default: %(default)g)",
    )  # fmt: skip
    add("--queue", type=shared.positive, default=64, metavar="N", help="images under way (default: %(default)s)")
    add("--max-images", type=shared.positive, default=16, metavar="N", help="of one request (default: %(default)s)")
    add(
        "--formats", type=_formats, default=USUAL, metavar="NAME,...",
        help=f"of images, of {', '.join(FORMATS)} (default: {','.join(USUAL)})",
    )  # fmt: skip
    add("--max-mib", type=shared.positive, default=32, metavar="N", help="of one image's file (default: %(default)s)")
    add(
        "--max-pixels",
        type=shared.positive,
        default=50_000_000,
        metavar="N",
        help="of one image (default: %(default)s)",
    )
    add(
        "--memory-mib",
        type=shared.positive,
        default=256,
        metavar="N",
        help="of all requests' bodies (default: %(default)s)",
    )
    add("--connections", type=shared.positive, default=256, metavar="N", help="open at once (default: %(default)s)")
    add(
        "--idle-seconds",
        type=shared.positive,
        default=20,
        metavar="N",
        help="for a request to begin (default: %(default)s)",
    )
    add(
        "--body-seconds",
        type=shared.positive,
        default=30,
        metavar="N",
        help="for a request's body (default: %(default)s)",
    )
    add(
        "--stop-seconds",
        type=shared.positive,
        default=30,
        metavar="N",
        help="for what is under way (default: %(default)s)",
    )
    shared.quiet(serve, "warnings and errors only: no line for each request")


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop; returns 0 then.

    Raises:
        PscrError: as `engine.run`, and where the extra `serve` is not installed.
    """
    with needing("serve", "'pscr serve'"):
        from ..serve import engine  # not before: --help needs none of it

        return engine.run(options)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a port from 0 to 65535")
    return int(text)


def _host(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+|\[?[0-9A-Fa-f:.]+]?", text):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a host's name or address, without a port")
    return text.strip("[]")


def _formats(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",")))
    for name in names:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"found {name!r}, expected names of {', '.join(FORMATS)}, with commas")
    return names


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 10_000:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected milliseconds from 0 to 10000")
    return value
