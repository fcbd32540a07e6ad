"""Serve a release: the socket first, then the model, then the API and the page, until a signal asks for the end."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from ..contracts.errors import UserError
from ..contracts.language import say
from ..contracts.task import Task
from .api import create_app
from .canary import Canary
from .documents.library import Library
from .engine import Engine, Limits
from .guard import LOOPBACK_HOSTS
from .routes import ApiLimits
from .service import Explainer, Service

KEY_VARIABLE = "LODESTAR_API_KEY"
"""The environment variable that holds the API key; unset or empty leaves the API open."""
GRACE_SECONDS = 30
"""How long requests in flight may take to finish after a signal."""


def serve(
    release: Path,
    task: Task,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    name: str | None = None,
    adapters: Mapping[str, Path] | None = None,
    ready: Callable[[str], None] | None = None,
    on_request: Callable[[dict[str, Any]], None] | None = None,
    answered: Callable[[str], bool] | None = None,
    canary: Canary | None = None,
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
    library: Library | None = None,
    explainer: Explainer | None = None,
    limits: Limits | None = None,
    api_limits: ApiLimits | None = None,
) -> None:
    """Serve the release in `release` until SIGINT or SIGTERM; requests in flight are finished first.

    Args:
        release: the folder of the release: model.safetensors, config.json, tokenizer.json, and its card where it has one.
        task: the task that the release was made for.
        host: the address to listen on; the default answers this machine alone.
        port: 0 takes a free one.
        name: the model's name in the API; the folder's name where absent.
        adapters: folders of adapters trained over this model, by the names that the API is to know them by.
        ready: called with the address once it answers; where absent, a welcome is printed.
        on_request: called with the facts of each finished request (never its text), for the ledger.
        answered: whether an id is of an answer that the ledger knows, on which feedback is taken.
        canary: a second release, which is given a share of the requests.
        hosts: further names that this server may be called by, when it listens on loopback and a proxy stands before it.
        origins: web pages of other origins that may use the API (CORS); none by default.
        library: documents that a reader is asked about.
        explainer: what explains the answers; they are not explained without.

    Raises:
        UserError: when the port is taken or not allowed, the host is unknown, or the release cannot be loaded.
    """
    with _listen(host, port) as listener:
        service = replace(Service.load(release, task, name=name, adapters=adapters), explainer=explainer)
        service = service if library is None else service.with_library(library)
        second = _second(canary, library)
        app = _app(service, host, hosts, origins, on_request, answered, second, limits, api_limits)
        tell = ready or _welcome(service, open_to_all=not _is_loopback(host))
        server = _Server(app, lambda: tell(_address(listener)))
        server.run(sockets=[listener])


@contextmanager
def background(
    release: Path,
    task: Task,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    name: str | None = None,
    adapters: Mapping[str, Path] | None = None,
    on_request: Callable[[dict[str, Any]], None] | None = None,
    answered: Callable[[str], bool] | None = None,
    canary: Canary | None = None,
    limits: Limits | None = None,
    api_limits: ApiLimits | None = None,
) -> Iterator[str]:
    """As `serve`, on a thread of this process; gives the address, and ends the server on leaving."""
    service = Service.load(release, task, name=name, adapters=adapters)
    with serving(
        service, host=host, port=port, on_request=on_request, answered=answered, canary=canary, limits=limits, api_limits=api_limits
    ) as url:
        yield url


@contextmanager
def serving(
    service: Service,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    on_request: Callable[[dict[str, Any]], None] | None = None,
    answered: Callable[[str], bool] | None = None,
    canary: Canary | None = None,
    limits: Limits | None = None,
    api_limits: ApiLimits | None = None,
) -> Iterator[str]:
    """As `background`, with a model that is in memory already."""
    with _listen(host, port) as listener:
        started = threading.Event()
        server = _Server(_app(service, host, (), (), on_request, answered, _second(canary, None), limits, api_limits), started.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="lodestar-server", daemon=True)
        thread.start()
        try:
            while not started.wait(0.05):
                if not thread.is_alive():
                    raise RuntimeError("the server ended before it answered; its traceback is above")
            yield _address(listener)
        finally:
            server.should_exit = True
            thread.join()


def _app(
    service: Service,
    host: str,
    hosts: Sequence[str],
    origins: Sequence[str],
    on_request: Callable[[dict[str, Any]], None] | None,
    answered: Callable[[str], bool] | None,
    canary: tuple[Canary, Service] | None,
    limits: Limits | None,
    api_limits: ApiLimits | None,
) -> FastAPI:
    allowed = {*LOOPBACK_HOSTS, *(name.lower() for name in hosts)} if _is_loopback(host) else None
    key = os.environ.get(KEY_VARIABLE) or None
    return create_app(
        service,
        Engine(limits),
        api_key=key,
        hosts=allowed,
        origins=origins,
        on_request=on_request,
        answered=answered,
        canary=canary,
        limits=api_limits,
    )


def _second(canary: Canary | None, library: Library | None) -> tuple[Canary, Service] | None:
    """The release that is tried out, read."""
    if canary is None:
        return None
    service = canary.load()
    return canary, service if library is None else service.with_library(library)


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it answers, and which a signal ends without passing the signal on."""

    should_exit: bool
    force_exit: bool

    def __init__(self, app: FastAPI, started: Callable[[], None]) -> None:
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


def _listen(host: str, port: int) -> socket.socket:
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
        with _listen(host, 0) as probe:
            free = probe.getsockname()[1]
        return UserError(f"port {port} is in use", where=host, fix=f"choose another one, such as {free}, or end the program that holds it")
    if error.errno == errno.EACCES:
        return UserError(f"port {port} is reserved for the administrator", where=host, fix="choose one above 1023")
    return UserError(f"cannot listen on port {port} ({os.strerror(error.errno or 0)})", where=host, fix="use an address of this machine")


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _welcome(service: Service, *, open_to_all: bool) -> Callable[[str], None]:
    """Prints where the model answers and what to do next."""

    def show(url: str) -> None:
        command = service.curl(url)
        lines = [
            say(f"{service.name} answers at {url}", f"{service.name} 已就绪：{url}"),
            say("  try it:   open that address in a browser", "  试用：在浏览器中打开上面的地址"),
            say(f"  call it:  {command}", f"  调用：{command}"),
            say("  stop it:  Ctrl+C (requests in flight are finished first)", "  停止：Ctrl+C（会先完成进行中的请求）"),
        ]
        if service.adapters:
            known = ", ".join(service.names)
            lines.insert(1, say(f"  models:   {known}", f"  模型：{known}"))
        if os.environ.get(KEY_VARIABLE):
            lines.insert(1, say(f"  an API key is asked for ({KEY_VARIABLE})", f"  需要 API 密钥（{KEY_VARIABLE}）"))
        elif open_to_all:
            en = f"  anyone who reaches this address can use it; set {KEY_VARIABLE} to ask for a key"
            lines.insert(1, say(en, f"  任何能访问该地址的人都可以使用；设置 {KEY_VARIABLE} 可要求密钥"))
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()

    return show
