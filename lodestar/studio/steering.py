"""The acts on the vision, the plan, the releases and the people: what the commands do, from the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..contracts.errors import UserError
from ..contracts.language import Words
from ..store.files import write_atomic
from ..venture import execution
from ..venture.plan import load_plan
from ..venture.product import Override, gates, read_scorecard, release
from ..venture.venture import Venture
from ..venture.vision import VentureFile
from ..venture.vision_history import record_version
from ..venture.yaml_edit import edit_fields
from ..venture.yaml_file import parse
from .access import ROLE_WORDS, ROLES, Person, add_user, check_password, hash_password, is_password
from .acts import Act, Field

ACTIONS = {
    "start": Words("is begun", "已开始"),
    "done": Words("is done", "已完成"),
    "block": Words("is blocked", "受阻"),
    "open": Words("is to do again", "重新列为待办"),
}


def _vision_fields(venture: Venture) -> Sequence[Field]:
    file = venture.file
    return [
        Field("statement", Words("The promise, in one sentence", "一句话的承诺"), "long", value=file.statement),
        Field("audience", Words("For", "为谁"), value=file.audience),
        Field("values", Words("What we hold to, one a line", "我们的坚持，每行一条"), "long", value="\n".join(file.values), required=False),
        Field(
            "red_lines",
            Words("What we will not do, one a line", "我们的红线，每行一条"),
            "long",
            value="\n".join(file.red_lines),
            required=False,
        ),
        Field("because", Words("Why it is so, or why it changes", "为何如此，或为何改动"), "long"),
    ]


def _change_vision(venture: Venture, person: Person, form: Mapping[str, str]) -> Words:
    """Change what was changed in venture.yaml, and record the vision as its next version."""
    given: dict[str, Any] = {name: form[name] for name in ("statement", "audience")}
    given |= {name: [line.strip() for line in form[name].splitlines() if line.strip()] for name in ("values", "red_lines")}
    changes = {name: value for name, value in given.items() if value != getattr(venture.file, name)}
    with venture.hold("vision"):
        text = edit_fields(venture.path.read_text("utf-8"), changes, where=venture.path)
        after = Venture(venture.folder, VentureFile.parse(parse(text), where=venture.path))
        made = record_version(after, by=person.name, because=form["because"])
        if changes:
            write_atomic(venture.path, text)
    return Words(f"The vision is kept as version {made.number}.", f"愿景已存为第 {made.number} 版。")


def _task_fields(venture: Venture) -> Sequence[Field] | None:
    if not venture.plan_path.exists():
        return None
    tasks = load_plan(venture.plan_path).tasks
    return [
        Field("task", Words("Task", "任务"), "choice", [(task.id, f"{task.title} ({task.owner})") for task in tasks]),
        Field("action", Words("What of it", "进展"), "choice", [(name, str(words)) for name, words in ACTIONS.items()], value="done"),
        Field("because", Words("If blocked: what it waits for", "若受阻：在等什么"), required=False),
    ]


def _change_task(venture: Venture, person: Person, form: Mapping[str, str]) -> Words:
    if form["action"] == "block" and not form["because"]:
        raise UserError("a blocked task waits for something", where=form["task"], fix="say what for")
    action = cast("execution.Action", form["action"])
    with execution.plan_lock(venture):
        execution.change(venture, action, form["task"], who=person.name, because=form["because"])
        execution.look(venture, who=person.name)
    told = ACTIONS[form["action"]]
    return Words(f"Noted: {form['task']} {told.en}.", f"已记录：{form['task']} {told.zh}。")


def _release_fields(venture: Venture) -> Sequence[Field] | None:
    evaluated = venture.evaluation()
    if evaluated is None:
        return None
    failed = [gate.target.metric for gate in gates(venture.file.targets, read_scorecard(evaluated.folder)) if not gate.kept]
    if not failed:
        return []
    names = ", ".join(failed)
    return [Field("because", Words(f"In spite of {names}, because", f"尽管 {names} 未达标，仍发布，理由"), "long")]


def _release(venture: Venture, person: Person, form: Mapping[str, str]) -> Words:
    because = form.get("because")
    with venture.hold("release"):
        made, new = release(venture, Override(who=person.name, why=because) if because else None)
    if new:
        return Words(f"Released {made.name}.", f"已发布 {made.name}。")
    return Words(f"This was released already, as {made.name}.", f"此前已发布为 {made.name}。")


def _user_fields(_venture: Venture) -> Sequence[Field]:
    return [
        Field("name", Words("Name", "姓名")),
        Field("role", Words("Role", "身份"), "choice", [(role, str(ROLE_WORDS[role])) for role in reversed(ROLES)], value="viewer"),
        Field("password", Words("Password, for them to change", "初始密码，由本人更改"), "password"),
    ]


def _add_user(venture: Venture, person: Person, form: Mapping[str, str]) -> Words:
    add_user(venture.ledger.people, form["name"], form["role"], form["password"], by=person.name)
    return Words(f"{form['name']} can log in now.", f"{form['name']} 现在可以登录。")


def _removal_fields(venture: Venture) -> Sequence[Field] | None:
    people = venture.ledger.people.all()
    return [Field("name", Words("Name", "姓名"), "choice", [(each.name, each.name) for each in people])] if people else None


def _remove_user(venture: Venture, _person: Person, form: Mapping[str, str]) -> Words:
    venture.ledger.people.remove(form["name"])
    return Words(f"{form['name']} can no longer log in.", f"{form['name']} 已不能登录。")


def _password_fields(venture: Venture) -> Sequence[Field] | None:
    if not venture.ledger.people.all():
        return None
    return [Field("old", Words("Password", "当前密码"), "password"), Field("new", Words("New password", "新密码"), "password")]


def _change_password(venture: Venture, person: Person, form: Mapping[str, str]) -> Words:
    people = venture.ledger.people
    user = people.find(person.name)
    if user is None or not is_password(form["old"], user.password):
        raise UserError("this is not your password", where="password", fix="type the one that you logged in with")
    check_password(form["new"], person.name)
    people.set_password(person.name, hash_password(form["new"]))
    return Words("Your password is changed; log in with the new one.", "密码已更改，请用新密码登录。")


ACTS = (
    Act(
        "vision", "vision", "founder", Words("Change the vision, or sign it", "修改愿景，或为其署名"), Words("Record it", "记录"),
        _vision_fields, _change_vision,
    ),
    Act(
        "task", "execution", "engineer", Words("Say how a task stands", "更新任务进展"), Words("Note it", "记录"),
        _task_fields, _change_task, in_view=True,
    ),
    Act("release", "product", "founder", Words("Release the model", "发布模型"), Words("Release", "发布"), _release_fields, _release),
    Act("add-user", "people", "founder", Words("Let somebody in", "添加用户"), Words("Add", "添加"), _user_fields, _add_user),
    Act(
        "remove-user", "people", "founder", Words("Let somebody in no longer", "移除用户"), Words("Remove", "移除"),
        _removal_fields, _remove_user,
    ),
    Act(
        "password", "people", "viewer", Words("Change your password", "更改密码"), Words("Change", "更改"),
        _password_fields, _change_password,
    ),
)  # fmt: skip
