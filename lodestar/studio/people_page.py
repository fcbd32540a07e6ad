"""Who may come in."""

from __future__ import annotations

from html import escape

from ..contracts.language import Words, say
from ..venture.page import table
from ..venture.venture import Venture
from .access import ROLE_WORDS, ROLES, Person

_MAY = {
    "viewer": Words("reads everything", "查看全部内容"),
    "engineer": Words("also starts and stops runs, and says how the plan's tasks stand", "另可启动、停止运行，更新任务进展"),
    "founder": Words("also chooses, changes the vision, releases, and lets people in", "另可作决策、修改愿景、发布模型、管理成员"),
}


def people(venture: Venture, person: Person) -> str:
    """Everybody with their role, and what each role may do."""
    rows = [
        [f"<b>{escape(user.name)}</b>", escape(str(ROLE_WORDS[user.role])), user.created[:10], escape(user.added_by)]
        for user in venture.ledger.people.all()
    ]
    headings = [say("Name", "姓名"), say("Role", "身份"), say("Since", "加入"), say("Added by", "添加人")]
    told = say(
        "Nobody has to log in yet. The first user must be a founder; from then on everybody logs in.",
        "目前无需登录。首位用户须为创始人；此后所有人都需登录。",
    )
    may = [[f"<b>{escape(str(ROLE_WORDS[role]))}</b>", escape(str(_MAY[role]))] for role in ROLES]
    here = say(f"You are here as {person.name}, {ROLE_WORDS[person.role]}.", f"您是 {person.name}，身份：{ROLE_WORDS[person.role]}。")
    known = table(headings, rows, ["", "short", "short", ""]) if rows else f'<p class="next">{escape(told)}</p>'
    return (
        f"<h1>{say('People', '成员')}</h1><p>{escape(here)}</p>{known}"
        f"{table([say('Role', '身份'), say('May', '权限')], may, ['short', ''])}"
    )
