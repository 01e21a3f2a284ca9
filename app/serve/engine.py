"""The service from its options: limits, a socket that listens, an open model, and a server until it is stopped."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import socket
import sys
from dataclasses import replace

from ..console import err, interruptible
from ..describe import runs_on
from ..runtime.errors import PscrError, Status
from ..runtime.scorer import Scorer
from ..voting import opened
from .access import Access, Names, read_token
from .app import application
from .limits import MIB, Limits
from .server import Server, configuration
from .service import Service

LEAVING = 5.0  # seconds for the threads to end, when all requests have their answers


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; returns 0 then.

    Raises:
        PscrError: the model or the device cannot be used; INVALID_ARGUMENT for limits that contradict each other, a
            token that is none, or an address that cannot be listened on.
    """
    limits = _limits(options)
    token = read_token(options.token_file)
    _log_to_stderr(options.quiet)
    with (
        _listen(options.host, options.port) as listener,
        interruptible(),
        opened(options, max_pixels=limits.pixels) as scorer,
    ):
        scorer.check_scores(False)
        checked = token is None or options.allow_host
        names = Names.of(options.host, listener.getsockname()[0], options.allow_host) if checked else None
        access = Access(token, names)
        service = Service(scorer, limits, access, batch=options.batch, wait=options.max_wait_ms / 1000)
        server = Server(configuration(application(service), limits), lambda: _tell(listener, scorer, token))
        service.metrics.gauge("connections", "Open connections", lambda: server.open_connections)
        try:
            server.run(sockets=[listener])
        finally:
            ended = service.close(LEAVING)
        err("pscr: stopped" if ended else "pscr: stopped; a run of the network that did not end was left")
    return 0


def _limits(options: argparse.Namespace) -> Limits:
    if options.max_images > options.queue:
        found = f"--max-images {options.max_images} is above --queue {options.queue}, so such a request never fits"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; raise --queue or lower --max-images")
    if 2 * options.max_mib > options.memory_mib:
        found = f"--max-mib {options.max_mib} is above half of --memory-mib {options.memory_mib}"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; raise --memory-mib or lower --max-mib")
    usual = Limits()
    return replace(
        usual,
        formats=options.formats,
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

    On `::` it takes IPv4 connections too, where the system can.

    Raises:
        PscrError: INVALID_ARGUMENT.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        both = address[0] == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server(address[:2], family=family, dualstack_ipv6=both)
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
    if host == "::" and listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        guarded += ", to IPv6 only"
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
