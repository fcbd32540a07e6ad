"""What stands before every route: the reader's language, the host, the origin of whoever posts, the size of a body; and safe headers."""

from __future__ import annotations

from collections.abc import Collection

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..contracts.language import Language, language, read_in, say

LANGUAGE_COOKIE = "lodestar_language"
LANGUAGES = ("en", "zh")
BODY_BYTES = 64 * 1024
"""A form's answers; the longest are a few pages of text."""
SAFE_METHODS = ("GET", "HEAD")

CONTENT_SECURITY_POLICY = (
    # Bars and bands are placed by style attributes; style sheets and scripts are files of our own, and none stand in a page.
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


class Speaking:
    """Lets everything behind it speak the reader's language: the one chosen on the page, else the browser's first that is one of ours."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with read_in(_reader(Request(scope))):
            await self.app(scope, receive, send)


def _reader(request: Request) -> Language:
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    if chosen in LANGUAGES:
        return "zh" if chosen == "zh" else "en"
    wanted = []
    for part in request.headers.get("accept-language", "").split(","):
        tag, _, weight = part.strip().partition(";q=")
        if tag[:2].lower() in LANGUAGES:
            wanted.append((float(weight) if weight.replace(".", "", 1).isdigit() else 1.0, tag[:2].lower()))
    best = max(wanted, key=lambda pair: pair[0], default=None)  # of equals the first
    return language() if best is None else "zh" if best[1] == "zh" else "en"


class Guard:
    """Refuses what should never reach a route, and adds the security headers to every response. A plain ASGI middleware.

    Args:
        hosts: names that a request may call this server by; None allows any. On loopback it keeps out a foreign web page whose own name
            resolves to this machine (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] | None) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refuse(scope, headers)
        await (self.app if refused is None else refused)(scope, receive, send_guarded)

    def _refuse(self, scope: Scope, headers: dict[bytes, str]) -> PlainTextResponse | None:
        host = headers.get(b"host", "").lower()
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        if self.hosts is not None and name not in self.hosts:
            return _sentence(421, f"The studio does not answer to the host {name!r}. Call it by {', '.join(sorted(self.hosts))}.")
        if scope["method"] in SAFE_METHODS:
            return None
        # Browsers name the page that a form comes from; a form of another page would act with its visitor's rights (CSRF).
        if not host or headers.get(b"origin", "").lower().partition("://")[2] != host:
            return _sentence(403, say("This form was not sent from the studio's own page.", "该表单并非来自工作室自己的页面。"))
        length = headers.get(b"content-length", "")
        if not length.isdigit() or int(length) > BODY_BYTES:
            return _sentence(
                413, say(f"A form may have {BODY_BYTES} bytes, and must say its length.", f"表单须注明长度，且不超过 {BODY_BYTES} 字节。")
            )
        return None


def _sentence(status: int, sentence: str) -> PlainTextResponse:
    return PlainTextResponse(sentence + "\n", status)
