"""What stands before every route: the key, the host, the size of a body, and the headers of a safe answer. A plain ASGI middleware."""

from __future__ import annotations

import hmac
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ApiError

PROTECTED = ("/v1/", "/api/")
"""The page itself is public, since it holds nothing; it asks for the key when an answer needs one."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(self)"),
)


class Guard:
    """Refuses what should never reach a route, and adds the security headers to every response.

    Args:
        api_key: the bearer token that the API asks for; None leaves it open.
        hosts: names that a request may call this server by; None allows any. On loopback it keeps a foreign web page, whose own name
            resolves to this machine (DNS rebinding), from using the model through its visitor's browser.
        body_bytes: the largest body that is read.
        forms: the route that takes files, as multipart forms.
        origins: web pages of other origins that may send such forms.
        protected: the beginnings of the paths that ask for the key.
    """

    def __init__(
        self, app: ASGIApp, *, api_key: str | None, hosts: Collection[str] | None, body_bytes: int, forms: str | None = None,
        origins: Collection[str] = (), protected: tuple[str, ...] = PROTECTED,
    ) -> None:  # fmt: skip
        self.app, self.hosts, self.body_bytes, self.forms, self.origins = app, hosts, body_bytes, forms, origins
        self.protected = protected
        self._key = None if api_key is None else api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        headers = {name.lower(): value for name, value in scope["headers"]}
        refused = self._refuse(scope, headers)
        if refused is not None:
            await refused.response()(scope, receive, send_guarded)
        else:
            await self.app(scope, self._limited(receive), send_guarded)

    def _refuse(self, scope: Scope, headers: dict[bytes, bytes]) -> ApiError | None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        if self.hosts is not None and name not in self.hosts:
            return ApiError(421, f"This server does not answer to the host {name!r}. Call it by {', '.join(sorted(self.hosts))}.")
        if scope["path"].startswith(self.protected) and not self._knows_key(headers):
            return ApiError(
                401, "This server asks for an API key. Send it as the header `Authorization: Bearer <key>`.", code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        if scope["method"] == "POST":
            # Anything but JSON could be sent by a foreign page's form without the browser asking us first (CORS preflight).
            kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
            form = kind == b"multipart/form-data" and scope["path"] == self.forms
            if form and not self._same_origin(headers):
                return ApiError(403, "A page of another origin may not send forms here. Allow its origin where the server is started.")
            if not form and kind != b"application/json":
                return ApiError(415, "The body must be JSON. Send the header `Content-Type: application/json`.")
            length = headers.get(b"content-length", b"0")
            if length.isdigit() and int(length) > self.body_bytes:
                return self._too_large()
        return None

    def _same_origin(self, headers: dict[bytes, bytes]) -> bool:
        """Whether a form comes from no page, from this server's own or from one that is allowed: browsers name the origin of a form."""
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        own = headers.get(b"host", b"").decode("latin-1").lower()
        return not origin or origin.partition("://")[2] == own or origin in self.origins

    def _knows_key(self, headers: dict[bytes, bytes]) -> bool:
        if self._key is None:
            return True
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        # Constant time, so that the key cannot be guessed byte by byte.
        return hmac.compare_digest(given.strip(), self._key) and scheme.lower() == b"bearer"

    def _too_large(self) -> ApiError:
        return ApiError(413, f"The body is larger than the limit of {self.body_bytes} bytes. Send less at once.")

    def _limited(self, receive: Receive) -> Receive:
        """As `receive`, but a body that grows past the limit (chunked, so no length announced it) ends the request."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.body_bytes:
                raise self._too_large()
            return message

        return counted
