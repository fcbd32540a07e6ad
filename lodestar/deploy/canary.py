"""A second release beside the first: it is given a share of the users, at random and for good, until somebody stops it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import Body, Request, Response

from ..contracts.task import Task
from .chat import ChatBody
from .protocol import CompletionBody
from .routes import Routes
from .service import Service

Arm = Literal["current", "canary"]


@dataclass
class Canary:
    """The release that is tried out."""

    folder: Path
    task: Task
    share: float
    """The share of users that it is given."""
    key: str
    """What a user's place is drawn with; another key draws other users."""
    stopped: bool = field(default=False)

    def load(self) -> Service:
        """Read the release; raises `UserError` where it cannot be."""
        return Service.load(self.folder, self.task)

    def takes(self, user: str | None) -> bool:
        """Whether a request is the canary's: always the same for a user, drawn anew for a request of nobody."""
        place = hashlib.blake2b((user or uuid4().hex).encode(), key=self.key.encode()[:64], digest_size=8).digest()
        return int.from_bytes(place, "big") < self.share * 2**64

    def stop(self) -> None:
        """Give it no request any more; those under way are finished."""
        self.stopped = True


class SplitRoutes:
    """The handlers of two releases: each request is handled by the one that it is given to.

    Who asks for the canary by its own name gets it, and is no part of the comparison; who asks for the current release, or for none, is
    given one of the two.
    """

    def __init__(self, current: Routes, canary: Routes, plan: Canary) -> None:
        self.current, self.canary, self.plan = current, canary, plan

    async def completions(self, body: CompletionBody, request: Request) -> Response:
        """Continue one or several prompts, as OpenAI's route of this name does."""
        return await self._for(request, body.user, body.model).completions(body, request)

    async def chat(self, body: ChatBody, request: Request) -> Response:
        """Say what comes next in a conversation, as OpenAI's route of this name does."""
        return await self._for(request, body.user, body.model).chat(body, request)

    async def whole(self, body: Annotated[dict[str, Any], Body()], request: Request) -> Response:
        """The task's own answer to a body."""
        return await self._for(request, body.get("user"), body.get("model")).whole(body, request)

    async def explain(self, body: Annotated[dict[str, Any], Body()], request: Request) -> Response:
        """Which words an answer rests on, and how far that may be believed; always of the current release, whose page asks for it."""
        return await self.current.explain(body, request)

    async def transcriptions(self, request: Request) -> Response:
        """Write down a recording, as OpenAI's route of this name does. The form is not read yet: each request is drawn by itself."""
        return await self._for(request, None, None).transcriptions(request)

    async def speech(self, body: Annotated[dict[str, Any], Body()], request: Request) -> Response:
        """Say a text, as OpenAI's route of this name does."""
        return await self._for(request, body.get("user"), body.get("model")).speech(body, request)

    async def images(self, body: Annotated[dict[str, Any], Body()], request: Request) -> Response:
        """Make pictures of what is asked for, as OpenAI's route of this name does."""
        return await self._for(request, body.get("user"), body.get("model")).images(body, request)

    def _for(self, request: Request, user: object, model: object) -> Routes:
        if model == self.canary.service.name:
            return self.canary
        if self.plan.stopped or model not in (None, self.current.service.name):
            return self.current
        canary = self.plan.takes(user if isinstance(user, str) else None)
        arm: Arm = "canary" if canary else "current"
        request.state.arm = arm
        return self.canary if canary else self.current
