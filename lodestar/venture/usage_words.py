"""What users made of the product, for the terminal, for machines and for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from ..contracts.language import say
from .charts import INK, SOFT, framed, picture, text
from .page import table
from .usage import SMALLEST, Heard, Retention, Share

CELL_WIDTH, CELL_HEIGHT, LEFT, TOP = 30, 24, 118, 30


def heard_value(found: Sequence[Heard]) -> list[dict[str, Any]]:
    """For machines."""
    return [asdict(each) for each in found]


def heard_text(found: Sequence[Heard]) -> list[str]:
    """For the terminal; nothing of a release that nobody spoke about."""
    lines = []
    for each in found:
        if each.good:
            lines.append(say(f"{each.release}: found good {share_words(each.good)}", f"{each.release}：好评 {share_words(each.good)}"))
        if each.succeeded:
            words = share_words(each.succeeded)
            lines.append(say(f"{each.release}: did what it was for {words}", f"{each.release}：达成目的 {words}"))
    return lines


def heard_html(found: Sequence[Heard]) -> str:
    """For the report; nothing where nobody spoke."""
    if not any(each.good or each.succeeded for each in found):
        return ""
    headings = [say("Release", "版本"), say("Answered", "回答"), say("Found good", "好评"), say("Did what it was for", "达成目的")]
    rows = [[escape(each.release), f"{each.answered:,}", _cell(each.good), _cell(each.succeeded)] for each in found]
    return table(headings, rows, ["", "figure", "figure", "figure"])


def share_words(share: Share) -> str:
    """`80% [44%, 97%] of 10`."""
    return say(
        f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}] of {share.whole:,}",
        f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]（共 {share.whole:,} 个）",
    )


def retention_value(found: Retention) -> dict[str, Any]:
    """For machines."""
    value = asdict(found)
    value["cohorts"] = [{**cohort, "first": cohort["first"].isoformat()} for cohort in value["cohorts"]]
    return value


def retention_text(found: Retention) -> list[str]:
    """For the terminal."""
    lines = [
        say(
            f"Users: {found.users:,}, by the {found.period} of their first request; then the share that came back",
            f"用户：{found.users:,} 位，按首次请求的{_period(found)}分组；其后为各{_period(found)}回访比例",
        )
    ]
    for cohort in found.cohorts:
        back = "  ".join("–" if share is None else f"{share:.0%}" for share in cohort.returned)
        lines.append(f"  {cohort.first}  {_users(cohort.users):>6}  {back}".rstrip())
    return lines


def retention_html(found: Retention) -> str:
    """For the report: the picture, and the table that says the same to those who do not see it."""
    most = max((len(cohort.returned) for cohort in found.cohorts), default=0)
    headings = [say("First request", "首次请求"), say("Users", "用户数"), *(f"+{period}" for period in range(1, most + 1))]
    rows = []
    for cohort in found.cohorts:
        cells = ["–" if share is None else f"{share:.0%}" for share in cohort.returned]
        rows.append([str(cohort.first), escape(_users(cohort.users)), *cells, *[""] * (most - len(cells))])
    note = say(
        f"Of a cohort of fewer than {SMALLEST} users nothing is shown. Users are those that a client named, as salted hashes.",
        f"少于 {SMALLEST} 位用户的分组不予显示。用户仅限客户端标明者，以加盐散列保存。",
    )
    shown = table(headings, rows, ["short", "figure", *["figure"] * most])
    return f'{_picture(found, most)}<div class="wide">{shown}</div><p class="legend">{escape(note)}</p>'


def _picture(found: Retention, most: int) -> str:
    """A row for each cohort, darker where more came back."""
    if not most:
        return ""
    title = say(f"The share that came back, by {found.period}s since the first request", f"首次请求后各{_period(found)}的回访比例")
    parts = [text(LEFT + CELL_WIDTH * (period + 0.5) + 11, TOP - 10, f"+{period + 1}", anchor="middle") for period in range(most)]
    for row, cohort in enumerate(found.cohorts):
        y = TOP + CELL_HEIGHT * row
        parts.append(text(8, y + 16, f"{cohort.first}  ({_users(cohort.users)})", color=INK))
        for column, share in enumerate(cohort.returned):
            x = LEFT + 12 + CELL_WIDTH * column
            fill = "#eef1f6" if share is None else f"rgba(58,91,191,{0.08 + 0.9 * share:.2f})"
            parts.append(f'<rect x="{x}" y="{y}" width="{CELL_WIDTH - 2}" height="{CELL_HEIGHT - 2}" rx="3" fill="{fill}"/>')
            shown, color = ("–", SOFT) if share is None else (f"{100 * share:.0f}", "#fff" if share > 0.5 else INK)
            parts.append(text(x + CELL_WIDTH / 2 - 1, y + 15, shown, anchor="middle", color=color))
    return framed(picture(LEFT + 24 + CELL_WIDTH * most, TOP + CELL_HEIGHT * len(found.cohorts) + 6, title, parts), title)


def _cell(share: Share | None) -> str:
    if share is None:
        return "–"
    of = say(f"of {share.whole:,}", f"共 {share.whole:,}")
    return f"{share.value:.0%}<small>[{share.low:.0%}, {share.high:.0%}] {of}</small>"


def _users(users: int | None) -> str:
    return f"< {SMALLEST}" if users is None else f"{users:,}"


def _period(found: Retention) -> str:
    return {"day": "日", "week": "周"}[found.period]
