"""An HTTP server's own part: the socket before anything else, and an orderly end on a signal. Loads no model: every server here uses it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from ..contracts.errors import UserError

KEY_VARIABLE = "LODESTAR_API_KEY"
"""The environment variable that holds the API key; unset or empty leaves the API open."""
GRACE_SECONDS = 30
"""How long requests in flight may take to finish after a signal."""
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""What a request calls a server by that listens on loopback."""


class Server(uvicorn.Server):
    """uvicorn's server, which tells when it answers, and which a signal ends without passing the signal on."""

    should_exit: bool
    force_exit: bool

    def __init__(self, app: ASGIApp, started: Callable[[], None]) -> None:
        # Without its own configuration of logging, which would end every handler of the process that the server runs in.
        config = uvicorn.Config(
            app, http="h11", loop="asyncio", ws="none", log_config=None, log_level="warning", access_log=False, server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )  # fmt: skip
        super().__init__(config)
        self._tell_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A first SIGINT or SIGTERM finishes what is in flight; a second one ends at once. uvicorn's own version raises the signal again
        at the end, which would turn an orderly end into a killed process.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A socket that holds the port, before anything expensive is done; UserError where that cannot be."""
    if not 0 <= port <= 65535:
        raise UserError(f"there is no port {port}", where="port", fix="choose one from 1 to 65535, or 0 for a free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError:
        fix = "use 127.0.0.1, or 0.0.0.0 for the whole network"
        raise UserError(f"this machine knows no host {host!r}", where="host", fix=fix) from None
    listener = socket.socket(family, kind, protocol)
    try:
        # A port that a server just left may be taken again at once; one that is being listened on may not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise _refusal(error, host, port) from None
    return listener


def _refusal(error: OSError, host: str, port: int) -> UserError:
    if error.errno == errno.EADDRINUSE:
        with listen(host, 0) as probe:
            free = probe.getsockname()[1]
        return UserError(f"port {port} is in use", where=host, fix=f"choose another one, such as {free}, or end the program that holds it")
    if error.errno == errno.EACCES:
        return UserError(f"port {port} is reserved for the administrator", where=host, fix="choose one above 1023")
    return UserError(f"cannot listen on port {port} ({os.strerror(error.errno or 0)})", where=host, fix="use an address of this machine")


@contextmanager
def in_background(app: ASGIApp, listener: socket.socket) -> Iterator[str]:
    """Serve `app` on a thread of this process; gives the address once it answers, and ends the server on leaving."""
    started = threading.Event()
    server = Server(app, started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="lodestar-server", daemon=True)
    thread.start()
    try:
        while not started.wait(0.05):
            if not thread.is_alive():
                raise RuntimeError("the server ended before it answered; its traceback is above")
        yield address_of(listener)
    finally:
        server.should_exit = True
        thread.join()


def address_of(listener: socket.socket) -> str:
    """The address of a socket that listens, for a browser on this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    return host in ("localhost", "::1") or host.startswith("127.")
