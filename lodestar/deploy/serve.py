"""Serve a release: the socket first, then the model, then the API and the page, until a signal asks for the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from ..contracts.language import say
from ..contracts.task import Task
from .api import create_app
from .canary import Canary
from .documents.library import Library
from .engine import Engine, Limits
from .listening import KEY_VARIABLE, LOOPBACK_HOSTS, Server, address_of, in_background, is_loopback, listen
from .routes import ApiLimits
from .service import Explainer, Service


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
    with listen(host, port) as listener:
        service = replace(Service.load(release, task, name=name, adapters=adapters), explainer=explainer)
        service = service if library is None else service.with_library(library)
        second = _second(canary, library)
        app = _app(service, host, hosts, origins, on_request, answered, second, limits, api_limits)
        tell = ready or _welcome(service, open_to_all=not is_loopback(host))
        server = Server(app, lambda: tell(address_of(listener)))
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
    with listen(host, port) as listener:
        app = _app(service, host, (), (), on_request, answered, _second(canary, None), limits, api_limits)
        with in_background(app, listener) as url:
            yield url


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
    allowed = {*LOOPBACK_HOSTS, *(name.lower() for name in hosts)} if is_loopback(host) else None
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
