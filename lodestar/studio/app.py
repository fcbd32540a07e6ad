"""The studio's app: who asks, what they may, and the page they get. Served by the command line."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from ..contracts.clock import timestamp
from ..contracts.errors import UserError
from ..contracts.language import say
from ..store.lock import holder
from ..venture.execution import who_am_i
from ..venture.interview import Interview
from ..venture.status import status
from ..venture.venture import Venture
from ..venture.vision import VENTURE_FILE
from . import access, shell
from .access import SESSION_HOURS, Patience, Person
from .acts import Act
from .begin import Begin
from .flow import tabs
from .guard import LANGUAGE_COOKIE, LANGUAGES, Guard, Speaking
from .overview import overview
from .people_page import people
from .running import Runner
from .steering import ACTS
from .view import views

SESSION_COOKIE = "lodestar_session"
YEAR_SECONDS = 365 * 24 * 3600
PLACES = ("overview", "people")
"""Pages that are no view of a stage."""


def create_app(
    folder: Path, *, hosts: Collection[str] | None, acts: Sequence[Act] = (), interview: Callable[[Path], Interview] | None = None
) -> Starlette:
    """The app of the venture in `folder`, which need not have been begun.

    Args:
        hosts: names that a request may call the studio by. None allows any; then everybody has to log in, users or not.
        acts: what may be done beside what the studio can by itself.
        interview: a new one for a folder, by which a venture is begun where there is none; without it, the page says how to begin.
    """
    studio = Studio(folder, local=hosts is not None, acts=acts, begin=Begin(folder, interview) if interview is not None else None)
    routes = [
        Route("/", studio.overview),
        Route("/login", studio.door),
        Route("/login", studio.log_in, methods=["POST"]),
        Route("/logout", studio.log_out, methods=["POST"]),
        Route("/language/{code}", studio.speak),
        Route("/people", studio.people),
        Route("/do/{name}", studio.act, methods=["POST"]),
        Route("/begin", studio.begin, methods=["POST"]),
        Route("/api/now", studio.now),
        Route("/api/status", studio.status),
        Route("/api/{name}", studio.data),
        Route("/studio.css", studio.style),
        Route("/studio.js", studio.script),
        Route("/icon.svg", studio.icon),
        Route("/{name}", studio.view),
    ]
    handlers = {HTTPException: studio.refused, UserError: studio.wrong}
    return Starlette(routes=routes, middleware=[Middleware(Speaking), Middleware(Guard, hosts=hosts)], exception_handlers=handlers)  # type: ignore[arg-type]


class Studio:
    """The routes. Those that read files or the ledger are plain functions, which Starlette runs on threads."""

    def __init__(self, folder: Path, *, local: bool, acts: Sequence[Act], begin: Begin | None) -> None:
        self._folder, self._local = folder, local
        self._runner = Runner()
        self._acts = {act.name: act for act in (*self._runner.acts, *ACTS, *acts)}
        self._begin = begin
        self._patience = Patience()
        self._said = Said()
        self._opened: tuple[tuple[int, int], Venture] | None = None

    # Pages

    def overview(self, request: Request) -> Response:
        """What to do next."""
        return self._page(request, "overview")

    def people(self, request: Request) -> Response:
        """Who may come in, and one's own password."""
        return self._page(request, "people")

    def view(self, request: Request) -> Response:
        """A view of a stage."""
        name = request.path_params["name"]
        if name not in views():
            raise HTTPException(404)
        return self._page(request, name)

    def _page(
        self, request: Request, place: str, *, code: int = 200, wrong: str = "", tried: tuple[str, Mapping[str, str]] | None = None
    ) -> Response:
        venture = self._venture()
        person = self._person(request, venture)
        if person is None:
            return RedirectResponse(f"/login?to={quote(_here(request) if request.method == 'GET' else '/')}", 303)
        if venture is None:
            return self._nothing_yet(request, person, wrong)
        frame = self._frame(request, person, venture)
        said = self._said.take(request.query_params.get("said", ""))
        forms = shell.panels(list(self._acts.values()), venture, person, place, tried)
        if place == "overview":
            assert frame.status is not None
            heading, stage, body = say("What to do next", "下一步"), None, overview(venture, frame.status, person, forms)
        elif place == "people":
            heading, stage, body = say("People", "成员"), None, people(venture, person) + forms
        else:
            view = views()[place]
            heading, stage = str(view.heading), view.stage
            try:
                inner = view.body(venture, dict(request.query_params))
            except UserError as error:
                inner, code, wrong = "", 400, wrong or str(error)
            body = f"{tabs(view.stage, view.name)}{inner}{forms}"
        return shell.html_response(shell.whole(frame, heading, body, stage=stage, said=said, wrong=wrong), code)

    def _nothing_yet(self, request: Request, person: Person, wrong: str) -> Response:
        """Where there is no venture: the interview that begins one."""
        frame = self._frame(request, person, None)
        if self._begin is not None:
            return self._begin.page(frame)
        told = say("Begin it with `lodestar new NAME --template TASK`.", "请先用 `lodestar new 名称 --template 任务` 新建。")
        heading = say("There is no venture here yet", "这里还没有项目")
        return shell.html_response(shell.whole(frame, heading, f"<h1>{heading}</h1><p>{told}</p>", wrong=wrong))

    def _frame(self, request: Request, person: Person | None, venture: Venture | None) -> shell.Frame:
        """The head of a page; whoever is not logged in is not told the venture's name."""
        if person is None or venture is None:
            return shell.Frame(person, say("Lodestar", "北极星"), None, _here(request))
        return shell.Frame(person, venture.file.name, status(venture), _here(request))

    # The door

    def door(self, request: Request) -> Response:
        """The page to log in."""
        return shell.html_response(shell.log_in_page(self._frame(request, None, None), _inside(request.query_params.get("to", "/"))))

    async def log_in(self, request: Request) -> Response:
        form = await _form(request)
        return await run_in_threadpool(self._log_in, request, form)

    def _log_in(self, request: Request, form: Mapping[str, str]) -> Response:
        venture, name, to = self._venture(), form.get("name", ""), _inside(form.get("to", "/"))
        address = request.client.host if request.client else ""
        try:
            if venture is None:
                raise access.WrongError
            token = access.log_in(venture.ledger.people, self._patience, name, form.get("password", ""), address)
        except access.WaitError as wait:
            seconds = max(1, round(wait.seconds))
            sentence = say(f"Too many wrong passwords; try again in {seconds} seconds.", f"密码错误次数过多，请 {seconds} 秒后再试。")
            page = shell.log_in_page(self._frame(request, None, None), to, name, sentence)
            return shell.html_response(page, 429, {"Retry-After": str(seconds)})
        except access.WrongError:
            sentence = say("This name and password do not belong together.", "姓名或密码不正确。")
            return shell.html_response(shell.log_in_page(self._frame(request, None, None), to, name, sentence), 401)
        response = RedirectResponse(to, 303)
        # The browser says whether it came by TLS, which a proxy may have ended before us.
        secure = request.headers.get("origin", "").startswith("https://")
        response.set_cookie(SESSION_COOKIE, token, max_age=SESSION_HOURS * 3600, httponly=True, samesite="strict", secure=secure)
        return response

    def log_out(self, request: Request) -> Response:
        """End the session, here and in the ledger."""
        venture, token = self._venture(), request.cookies.get(SESSION_COOKIE)
        if venture is not None and token:
            venture.ledger.people.end_session(access.token_hash(token))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
        return response

    def speak(self, request: Request) -> Response:
        """Remember the language that was chosen."""
        code = request.path_params["code"]
        if code not in LANGUAGES:
            raise HTTPException(404)
        response = RedirectResponse(_inside(request.query_params.get("to", "/")), 303)
        response.set_cookie(LANGUAGE_COOKIE, code, max_age=YEAR_SECONDS, httponly=True, samesite="lax")
        return response

    # Acts

    async def act(self, request: Request) -> Response:
        form = await _form(request)
        return await run_in_threadpool(self._act, request, form)

    def _act(self, request: Request, form: Mapping[str, str]) -> Response:
        act = self._acts.get(request.path_params["name"])
        if act is None:
            raise HTTPException(404)
        venture = self._venture()
        person = self._person(request, venture)
        if person is None:
            raise HTTPException(401)
        if venture is None:
            raise HTTPException(404)
        if not person.may(act.least):
            return self._page(request, act.place, code=403, wrong=access.refusal(person, act.least))
        try:
            told = act.do(venture, person, act.answers(venture, form))
        except UserError as error:
            return self._page(request, act.place, code=400, wrong=str(error), tried=(act.name, form))
        place = "/" if act.place == "overview" else f"/{act.place}"
        return RedirectResponse(f"{place}?said={self._said.keep(str(told))}", 303)

    async def begin(self, request: Request) -> Response:
        pairs = await _pairs(request)
        return await run_in_threadpool(self._begun, request, pairs)

    def _begun(self, request: Request, pairs: Sequence[tuple[str, str]]) -> Response:
        """The interview goes on, for whoever may change the vision."""
        if self._begin is None or self._venture() is not None:
            raise HTTPException(404)
        person = self._person(request, None)
        if person is None:
            raise HTTPException(401)
        return self._begin.answer(replace(self._frame(request, person, None), address="/vision"), pairs)

    # For the script, and for machines

    def now(self, request: Request) -> Response:
        """Whether somebody works on the venture: what is live on a page is asked for again then."""
        self._known(request)
        found = holder(self._folder / ".lodestar")
        starting = say("a run is beginning", "运行正在启动") if self._runner.is_starting() else None
        return JSONResponse({"running": starting if found is None else found.words})

    def status(self, request: Request) -> Response:
        """The five stages, and what to do next."""
        return JSONResponse(status(self._known(request)).to_json())

    def data(self, request: Request) -> Response:
        """What a view is drawn of."""
        venture = self._known(request)
        view = views().get(request.path_params["name"])
        if view is None or view.data is None:
            raise HTTPException(404)
        return JSONResponse(view.data(venture, dict(request.query_params)))

    def _known(self, request: Request) -> Venture:
        """The venture, for somebody who may read it."""
        venture = self._venture()
        if self._person(request, venture) is None:
            raise HTTPException(401)
        if venture is None:
            raise HTTPException(404)
        return venture

    async def style(self, _request: Request) -> Response:
        return _file(shell.style(), "text/css")

    async def script(self, _request: Request) -> Response:
        return _file(shell.script(), "text/javascript")

    async def icon(self, _request: Request) -> Response:
        return _file((shell.PAGE / "icon.svg").read_text("utf-8"), "image/svg+xml")

    # What went wrong

    def refused(self, request: Request, error: HTTPException) -> Response:
        sentences = {
            401: say("Log in first.", "请先登录。"),
            404: say(f"There is no {request.url.path} here.", f"这里没有 {request.url.path}。"),
            405: say(f"{request.url.path} does not take {request.method}.", f"{request.url.path} 不接受 {request.method}。"),
        }
        return self._sentence(request, error.status_code, sentences.get(error.status_code, str(error.detail)))

    def wrong(self, request: Request, error: UserError) -> Response:
        """A mistake that stands in a file: the page cannot be drawn before it is mended. It is told to those who may read the file."""
        last = self._opened[1] if self._opened is not None else None
        if self._person(request, last) is None:
            return self._sentence(request, 400, say("The venture's files cannot be read as they are.", "项目文件目前无法读取。"))
        return self._sentence(request, 400, str(error))

    def _sentence(self, request: Request, code: int, sentence: str) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": sentence}, code)
        return shell.html_response(shell.whole(self._frame(request, None, None), sentence, "", wrong=sentence), code)

    # Who asks, and about what

    def _venture(self) -> Venture | None:
        """The venture as venture.yaml says it now; None where there is none yet."""
        try:
            found = (self._folder / VENTURE_FILE).stat()
        except FileNotFoundError:
            return None
        stamp = (found.st_mtime_ns, found.st_size)
        if self._opened is None or self._opened[0] != stamp:
            self._opened = (stamp, Venture.open(self._folder))
        return self._opened[1]

    def _person(self, request: Request, venture: Venture | None) -> Person | None:
        """Who asks; None for somebody who has to log in."""
        people = venture.ledger.people if venture is not None else None
        token = request.cookies.get(SESSION_COOKIE)
        if people is not None and token:
            user = people.in_session(access.token_hash(token), timestamp())
            if user is not None:
                return Person(user.name, user.role)
        if self._local and (people is None or not people.all()):
            return Person(who_am_i(), "founder", local=True)
        return None


class Said:
    """What was just done, told once, on the page that follows: by a key, so that no link can put words there."""

    KEPT = 100

    def __init__(self) -> None:
        self._kept: OrderedDict[str, str] = OrderedDict()

    def keep(self, sentence: str) -> str:
        key = secrets.token_urlsafe(8)
        self._kept[key] = sentence
        if len(self._kept) > self.KEPT:
            self._kept.popitem(last=False)
        return key

    def take(self, key: str) -> str:
        return self._kept.pop(key, "")


def _file(text: str, kind: str) -> Response:
    return Response(text, 200, {"Cache-Control": "public, max-age=86400"}, f"{kind}; charset=utf-8")


async def _pairs(request: Request) -> Sequence[tuple[str, str]]:
    """What a form was filled in with, in its order."""
    try:
        return parse_qsl((await request.body()).decode(), keep_blank_values=True, strict_parsing=False)
    except UnicodeDecodeError:
        return []


async def _form(request: Request) -> Mapping[str, str]:
    return dict(await _pairs(request))


def _here(request: Request) -> str:
    """The page's own address, less what it was told once."""
    query = str(request.url.remove_query_params("said").query)
    return f"{request.url.path}?{query}" if query else request.url.path


def _inside(to: str) -> str:
    """A place of the studio; never another site, which a link to the door could name."""
    return to if to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable() else "/"
