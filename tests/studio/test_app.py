"""The studio over HTTP: who gets in, what each role may do, and what is refused, by a real server."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta

import httpx
import pytest

from lodestar.contracts import clock
from lodestar.store.lock import holder
from lodestar.studio import access, app, running
from lodestar.studio.view import STAGES, views
from lodestar.venture.plan import load_plan
from lodestar.venture.venture import Venture
from lodestar.venture.vision_history import versions

from .conftest import PASSWORDS, ROLES

READ = ["/", "/people", "/api/status", "/api/now", *(f"/{name}" for name in views())]


def state_of(venture) -> dict[str, str]:
    return {task.id: task.state for task in load_plan(venture.folder / "plan.yaml").tasks}


def test_alone_on_a_machine_nobody_logs_in(venture, serve, client):
    page = client(serve(venture.folder)).get("/")
    assert page.status_code == 200
    assert "whoever sits here is the founder" in page.text
    assert "Listener &lt;b&gt;" in page.text
    assert "Listener <b>" not in page.text


def test_with_users_everybody_logs_in(team, serve, client):
    url = serve(team.folder)
    stranger = client(url)
    for path in READ:
        answer = stranger.get(path)
        if path.startswith("/api/"):
            assert (answer.status_code, answer.json()) == (401, {"error": "Log in first."})
        else:
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/login?to=")
            assert "Listener" not in answer.text
    assert "Listener" not in stranger.get("/login").text
    for name in ROLES:
        friend = client(url, name)
        assert [friend.get(path).status_code for path in READ] == [200] * len(READ)


def test_the_first_user_closes_the_door_at_once(venture, serve, client, quick_hashes):
    founder = client(serve(venture.folder))
    told = founder.post("/do/add-user", data={"name": "Ada", "role": "founder", "password": PASSWORDS["Ada"]})
    assert told.status_code == 303
    assert founder.get("/people").headers["location"] == "/login?to=/people"


@pytest.mark.parametrize(
    ("act", "least"), [("task", 1), ("run", 1), ("stop", 1), ("vision", 2), ("release", 2), ("add-user", 2), ("remove-user", 2)]
)
def test_a_role_that_may_not_is_told_so_and_nothing_happens(team, serve, client, act, least):
    url, names = serve(team.folder), ["小云", "Bo", "Ada"]
    form = {"task": "sign", "action": "done", "name": "Eve", "role": "founder", "password": "let me in, please"}
    before = (team.folder / "plan.yaml").read_bytes()
    for name in names[:least]:
        friend = client(url, name)
        answer = friend.post(f"/do/{act}", data=form)
        assert answer.status_code == 403
        needed = ["an engineer", "a founder"][least - 1]
        assert f"This takes {needed}; you are here as {ROLES[name]}." in answer.text
    assert (team.folder / "plan.yaml").read_bytes() == before
    assert [user.name for user in team.ledger.people.all()] == sorted(ROLES)
    assert holder(team.state) is None
    assert not (team.state / running.LOG_FILE).exists()
    assert client(url).post(f"/do/{act}", data=form).status_code == 401


def test_the_page_offers_what_one_may_do_and_says_what_one_may_not(team, serve, client):
    url = serve(team.folder)
    viewer, founder = client(url, "小云"), client(url, "Ada")
    assert 'action="/do/run"' in founder.get("/").text
    seen = viewer.get("/").text
    assert 'action="/do/run"' not in seen
    assert "This takes an engineer; you are here as viewer." in seen
    assert 'action="/do/password"' in viewer.get("/people").text


def test_an_engineer_notes_how_a_task_stands_as_the_command_does(team, serve, client):
    engineer = client(serve(team.folder), "Bo")
    answer = engineer.post("/do/task", data={"task": "sign", "action": "block", "because": "the bank"}, follow_redirects=True)
    assert "Noted: sign is blocked." in answer.text
    assert load_plan(team.folder / "plan.yaml").task("sign").blocked == "the bank"
    engineer.post("/do/task", data={"task": "sign", "action": "done", "because": ""})
    assert state_of(team) == {"collect": "open", "train": "open", "sign": "done"}
    assert [event.detail["who"] for event in team.ledger.events("plan")][-1] == "Bo"
    # What was just done is told once, and no link can put words there.
    assert "Noted" not in engineer.get(str(answer.url.copy_with(scheme=None, host=None, port=None))).text
    assert "Pay" not in engineer.get("/?said=Pay+here").text


def test_a_founder_changes_the_vision_with_a_name_and_a_reason(team, serve, client):
    founder = client(serve(team.folder), "Ada")
    text = (team.folder / "venture.yaml").read_text("utf-8")
    (team.folder / "venture.yaml").write_text(f"# what people wrote stays\n{text}")
    form = {"statement": "Every shop listens.", "audience": "owners of small shops", "values": "", "because": "we met them"}
    lines = "Never identify a person | or a household.\r\nNever sell what was said."
    told = founder.post("/do/vision", data={**form, "red_lines": lines}, follow_redirects=True)
    assert "The vision is kept as version 1." in told.text
    now = Venture.open(team.folder)
    assert now.file.statement == "Every shop listens."
    assert now.file.red_lines == ["Never identify a person | or a household.", "Never sell what was said."]
    assert now.path.read_text("utf-8").startswith("# what people wrote stays\n")
    assert [(version.by, version.because) for version in versions(now)] == [("Ada", "we met them")]
    again = founder.post("/do/vision", data={**form, "red_lines": lines, "because": "again"})
    assert (again.status_code, "the vision is as version 1 has it" in again.text) == (400, True)
    wrong = founder.post("/do/vision", data={**form, "statement": " ", "red_lines": lines})
    assert (wrong.status_code, "this is not filled in" in wrong.text) == (400, True)
    assert Venture.open(team.folder).file == now.file


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"task": "sign", "action": "block", "because": " "}, "a blocked task waits for something"),
        ({"task": "nothing", "action": "done"}, "is not among the choices"),
        ({"task": "sign", "action": "explode"}, "is not among the choices"),
        ({"action": "done"}, "this is not filled in"),
    ],
)
def test_a_form_that_cannot_be_is_refused_in_a_sentence_and_keeps_its_answers(team, serve, client, form, told):
    before = (team.folder / "plan.yaml").read_bytes()
    answer = client(serve(team.folder), "Bo").post("/do/task", data=form)
    assert answer.status_code == 400
    assert told in answer.text
    assert (team.folder / "plan.yaml").read_bytes() == before


def test_one_answer_for_a_wrong_name_and_a_wrong_password(team, serve, client):
    stranger = client(serve(team.folder))
    answers = [stranger.post("/login", data={"name": name, "password": "wrong password"}) for name in ("Ada", "Eve")]
    assert [answer.status_code for answer in answers] == [401, 401]
    pages = [re.sub(r'value="(Ada|Eve)"', "", answer.text) for answer in answers]
    assert pages[0] == pages[1]
    assert not stranger.cookies


def test_guessing_is_slowed_down(team, serve, client, monkeypatch):
    monkeypatch.setattr(access.Patience, "FREE", 2)
    stranger = client(serve(team.folder))
    codes = [stranger.post("/login", data={"name": "Ada", "password": f"guess {number}"}) for number in range(3)]
    assert [answer.status_code for answer in codes] == [401, 401, 429]
    assert int(codes[-1].headers["retry-after"]) >= 1
    assert "Too many wrong passwords" in codes[-1].text


def test_a_session_ends_by_leaving_and_by_time(team, serve, client, monkeypatch):
    url = serve(team.folder)
    friend = client(url, "Ada")
    cookie = friend.cookies["lodestar_session"]
    assert friend.post("/logout").headers["location"] == "/login"
    thief = httpx.Client(base_url=url, cookies={"lodestar_session": cookie})
    with thief:
        assert thief.get("/").status_code == 303  # what the browser forgot is revoked, too
    friend = client(url, "Ada")
    later = clock.now() + timedelta(hours=access.SESSION_HOURS, seconds=-60)
    monkeypatch.setattr(app, "timestamp", lambda: later.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert friend.get("/").status_code == 200
    later += timedelta(seconds=120)
    assert friend.get("/").status_code == 303


def test_the_cookie_is_for_this_site_and_no_script(team, serve, client):
    url = serve(team.folder)
    stranger = client(url)
    form = {"name": "Ada", "password": PASSWORDS["Ada"], "to": "/people"}
    answer = stranger.post("/login", data=form)
    assert answer.headers["location"] == "/people"
    kept = answer.headers["set-cookie"].lower()
    assert all(part in kept for part in ("httponly", "samesite=strict", "max-age=43200"))
    assert "secure" not in kept
    by_tls = stranger.post("/login", data=form, headers={"origin": url.replace("http:", "https:")})
    assert "secure" in by_tls.headers["set-cookie"].lower()
    for place in ("//evil.example", "https://evil.example", "/\\evil.example", "/x\r\nSet-Cookie: a=b"):
        assert stranger.post("/login", data={**form, "to": place}).headers["location"] == "/"


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "http://127.0.0.1:1"])
def test_a_form_of_another_page_is_refused(team, serve, client, origin):
    url = serve(team.folder)
    friend = client(url, "Ada")
    headers = {} if origin is None else {"origin": origin}
    del friend.headers["origin"]
    for path in ("/do/task", "/login", "/logout"):
        answer = friend.post(path, data={"task": "sign", "action": "done"}, headers=headers)
        assert answer.status_code == 403
        assert "not sent from the studio" in answer.text
    assert state_of(team)["sign"] == "open"
    assert friend.get("/").status_code == 200


def test_another_host_a_great_body_and_bad_addresses_are_refused(team, serve, client):
    url = serve(team.folder)
    friend = client(url, "Ada")
    assert friend.get("/", headers={"host": "evil.example"}).status_code == 421
    assert friend.post("/do/task", data={"task": "x" * 70_000}).status_code == 413
    assert friend.post("/do/task", content=iter([b"task=sign"])).status_code == 413  # of a length that nobody said
    for path in ("/nowhere", "/do/nothing", "/vision/more", "/api/nothing", "/%2e%2e/venture.yaml", "/../venture.yaml", "/language/fr"):
        answer = friend.get(path)
        assert answer.status_code in (404, 405), path
        assert "There is no" in answer.text or "does not take" in answer.text
    assert friend.post("/do/nothing").status_code == 404
    assert friend.get("/api/nothing").json() == {"error": "There is no /api/nothing here."}


def test_every_answer_has_the_headers_of_a_safe_page(team, serve, client):
    url = serve(team.folder)
    for answer in (client(url).get("/login"), client(url, "Ada").get("/"), client(url).get("/nowhere"), client(url).get("/studio.js")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
        assert "form-action 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client(url, "Ada").get("/").headers["cache-control"] == "no-store"


def test_a_broken_file_is_told_to_those_who_may_read_it(team, serve, client):
    url = serve(team.folder)
    friend = client(url, "Ada")
    path = team.folder / "venture.yaml"
    good = path.read_text("utf-8")
    path.write_text(good + "secret_plan: 1\n")
    told, untold = friend.get("/"), client(url).get("/")
    assert (told.status_code, untold.status_code) == (400, 400)
    assert "unknown field" in told.text
    assert "secret_plan" not in untold.text
    path.write_text(good)
    assert friend.get("/").status_code == 200


def test_a_folder_without_a_venture_says_how_to_begin(tmp_path, serve, client):
    page = client(serve(tmp_path)).get("/vision")
    assert page.status_code == 200
    assert "There is no venture here yet" in page.text


def test_a_password_can_be_changed_by_its_owner(team, serve, client):
    url = serve(team.folder)
    viewer = client(url, "小云")
    wrong = viewer.post("/do/password", data={"old": "not the one", "new": "another long one"})
    assert wrong.status_code == 400
    assert "another long one" not in wrong.text
    viewer.post("/do/password", data={"old": PASSWORDS["小云"], "new": "another long one"})
    assert viewer.get("/").status_code == 303
    again = client(url)
    assert again.post("/login", data={"name": "小云", "password": "another long one"}).status_code == 303


def test_the_five_stages_are_a_flow_with_their_states(venture, serve, client):
    page = client(serve(venture.folder)).get("/vision").text
    flow = page[page.index('<nav class="flow"') : page.index("</nav>", page.index('<nav class="flow"'))]
    assert re.findall(r'href="/(\w+)"', flow) == list(STAGES)
    assert re.findall(r'<li class="is-([\w-]+)"', flow) == ["next", "waiting", "under-way", "waiting", "waiting"]
    (venture.folder / "brief.html").write_text("x")
    page = client(serve(venture.folder)).get("/vision").text
    assert re.findall(r'<li class="is-([\w-]+)"', page) == ["done", "next", "under-way", "waiting", "waiting"]
    assert re.search(r'href="/vision" aria-current="page"', page)


HOLD = "import sys, time; from lodestar.store.lock import hold\nwith hold(sys.argv[1], 'run'): print('held', flush=True); time.sleep(600)"


def test_a_run_of_this_machine_is_shown_and_stopped(team, serve, client):
    engineer = client(serve(team.folder), "Bo")
    with subprocess.Popen([sys.executable, "-c", HOLD, str(team.state)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert f"process {process.pid}" in engineer.get("/api/now").json()["running"]
        second = engineer.post("/do/run")
        assert (second.status_code, "at work on this venture already" in second.text) == (400, True)
        assert engineer.post("/do/stop").status_code == 303
        assert process.wait(60) == -15
    assert engineer.get("/api/now").json() == {"running": None}
    assert "no run goes on" in engineer.post("/do/stop").text


def test_a_run_is_begun_as_a_process_of_its_own_and_what_it_says_is_shown(team, serve, client):
    """Its data is not there, so that it soon says what is wrong."""
    engineer = client(serve(team.folder), "Bo")
    assert engineer.post("/do/run").status_code == 303
    while 'action="/do/stop"' in (page := engineer.get("/").text) or "reviews.jsonl" not in page:
        clock.wait(0.5)
    assert "lodestar: " in page
    while 'action="/do/run"' not in engineer.get("/").text:  # it has said so, and ends
        clock.wait(0.1)
