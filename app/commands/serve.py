"""`pscr serve`: the scorer behind HTTP, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from ..console import err, interruptible, needing
from ..describe import runs_on
from ..runtime.errors import PscrError, Status
from ..runtime.scorer import Scorer
from ..runtime.scorer import open as open_scorer
from . import options as shared

if TYPE_CHECKING:
    from ..serve.limits import Limits

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

Without --token-file the token is the environment's PSCR_TOKEN; without either, everyone who can connect is served.
"""
LEAVING = 5.0  # seconds for the threads to end, when all requests have their answers


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
        PscrError: the model or the device cannot be used, or the extra `serve` is not installed; INVALID_ARGUMENT for
            limits that contradict each other, a token that is none, or an address that cannot be listened on.
    """
    with needing("serve", "'pscr serve'"):
        return _serve(options)


def _serve(options: argparse.Namespace) -> int:
    from ..serve.app import application  # not before: --help needs none of it
    from ..serve.limits import read_token
    from ..serve.server import Server, configuration
    from ..serve.service import Service

    limits = _limits(options)
    token = read_token(options.token_file)
    _log_to_stderr(options.quiet)
    with (
        _listen(options.host, options.port) as listener,
        interruptible(),
        open_scorer(
            options.model, options.device, options.threads, bank=options.bank, max_pixels=limits.pixels
        ) as scorer,
    ):
        service = Service(scorer, limits, batch=options.batch, wait=options.max_wait_ms / 1000, token=token)
        server = Server(configuration(application(service), limits), lambda: _tell(listener, scorer, token))
        service.metrics.gauge("connections", "Open connections", lambda: server.open_connections)
        try:
            server.run(sockets=[listener])
        finally:
            ended = service.close(LEAVING)
        err("pscr: stopped" if ended else "pscr: stopped; a run of the network that did not end was left")
    return 0


def _limits(options: argparse.Namespace) -> Limits:
    from ..serve.limits import MIB, Limits

    if options.max_images > options.queue:
        found = f"--max-images {options.max_images} is above --queue {options.queue}, so such a request never fits"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; raise --queue or lower --max-images")
    if 2 * options.max_mib > options.memory_mib:
        found = f"--max-mib {options.max_mib} is above half of --memory-mib {options.memory_mib}"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; raise --memory-mib or lower --max-mib")
    usual = Limits()
    return replace(
        usual,
        image_bytes=options.max_mib * MIB,
        images=options.max_images,
        pixels=options.max_pixels,
        map_pixels=min(usual.map_pixels, options.max_pixels),
        queue=options.queue,
        held_bytes=options.memory_mib * MIB,
        connections=options.connections,
        idle_seconds=options.idle_seconds,
        body_seconds=options.body_seconds,
        stop_seconds=options.stop_seconds,
    )


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a port that is taken is known before the model is opened.

    Raises:
        PscrError: INVALID_ARGUMENT.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family)
        # Connections inherit it. asyncio sets it only on sockets that name TCP as their protocol, which these do not;
        # without it an answer's body waits for the client to acknowledge its head: 40 ms on a kept connection.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        found = f"cannot listen on {host} port {port} ({error.strerror or error})"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; name another --port or --host") from error


def _tell(listener: socket.socket, scorer: Scorer, token: str | None) -> None:
    """Say where the service is, and warn where anyone may use it."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    guarded = "with a token" if token else "without a token"
    name = f"{scorer.manifest.name} {scorer.manifest.version}"
    err(f"pscr: serving {name} on http://{shown}:{port}, {guarded}; {runs_on(scorer.info)}")
    if token is None and not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        err(f"pscr: warning: everyone who can connect to {shown} is served; set --token-file or PSCR_TOKEN")


def _log_to_stderr(quiet: bool) -> None:
    """Show the service's log, unless --debug shows everything already. Of its libraries, errors only."""
    for name in ("uvicorn", "python_multipart"):  # they log each client's mistake, which the client is told
        logging.getLogger(name).setLevel(logging.CRITICAL if name == "python_multipart" else logging.ERROR)
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("pscr.serve", "uvicorn"):
        logging.getLogger(name).addHandler(handler)
    logging.getLogger("pscr.serve").setLevel(logging.WARNING if quiet else logging.INFO)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a port from 0 to 65535")
    return int(text)


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 10_000:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected milliseconds from 0 to 10000")
    return value
