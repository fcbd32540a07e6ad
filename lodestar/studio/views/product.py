"""The product: scorecards side by side, the releases with their cards, licences and changes, and the roll-out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations
from pathlib import Path
from typing import Any

from ...contracts.language import Words, say
from ...contracts.record import RECORD_FILE, Scorecard
from ...contracts.score import Score, Target
from ...store.files import read_json
from ...venture.card import override_words
from ...venture.licences import read_licences
from ...venture.measures import words_of
from ...venture.page import bullets, next_step, section, table
from ...venture.pairs import Pair, PairedDifference, read_pair
from ...venture.plot import scores_plot
from ...venture.product import CARD_FILE, Gate, Release, changes_of, gates, read_scorecard, releases
from ...venture.rollout import SIGNALS, Rollout, latest_rollout, rollout_value
from ...venture.success_page import score_html
from ...venture.venture import Venture
from ...venture.words import figure, threshold, unit_words
from ..markdown import markdown_html
from ..view import View

BESIDE = "with."
"""In the address, before the name of what is shown side by side."""
MOST = 4
"""Side by side."""
LAST_EVALUATIONS = 12
"""That can be chosen, beside every release."""


@dataclass(frozen=True)
class Subject:
    """A release, or an evaluation that was not released."""

    name: str
    folder: Path
    id: str
    """Of the evaluation."""
    day: str
    card: Scorecard


def body(venture: Venture, query: Mapping[str, str]) -> str:
    """Everything there is to say of what was made."""
    heading = f"<h1>{say('The product', '产品')}</h1>"
    made = releases(venture)
    known = subjects(venture, made)
    if not known:
        return heading + next_step(
            "lodestar run", say("trains and evaluates a model: its scorecard stands here then", "训练并评测模型，得分卡会显示在这里")
        )
    chosen = _chosen(known, query)
    shown = next((each for each in made if each.name == query.get("release")), made[-1] if made else None)
    return "".join(
        [
            heading,
            section(say("Scorecards side by side", "得分卡对比"), _choices(known, chosen) + _side_by_side(venture, chosen)),
            section(say("Releases", "版本"), _releases(made, shown)),
            _release(venture, shown) if shown else "",
            section(say("Roll-out", "灰度发布"), _rollout(latest_rollout(venture), made)),
        ]
    )


def _chosen(known: Sequence[Subject], query: Mapping[str, str]) -> list[Subject]:
    """What the address asks for, else the two newest; the oldest first, as a difference is told of the newer."""
    asked = [key.removeprefix(BESIDE) for key in query if key.startswith(BESIDE)]
    return ([each for each in known if each.name in asked][:MOST] or list(known[:2]))[::-1]


def subjects(venture: Venture, made: Sequence[Release]) -> list[Subject]:
    """What can be shown side by side, the newest first: every release of `made`, and evaluations that were not released."""
    found = [
        Subject(each.name, venture.releases / each.name, each.runs.get("evaluate", each.name), each.created[:10], each.scorecard)
        for each in made
    ]  # fmt: skip
    known = {each.id for each in found}
    current = venture.evaluation()
    last = [venture.run_folder("evaluate", run.id) for run in venture.ledger.last_runs(LAST_EVALUATIONS, step="evaluate")]
    for folder in [*([current.folder] if current else []), *last]:
        # A folder without a record is unfinished.
        record = read_json(folder / RECORD_FILE) if (folder / RECORD_FILE).is_file() else None
        if record is not None and record["id"] not in known:
            known.add(record["id"])
            name = folder.name.removeprefix("evaluate-")
            found.append(Subject(name, folder, record["id"], record["finished"][:10], read_scorecard(folder)))
    order = {each.name: place for place, each in enumerate(found)}
    return sorted(found, key=lambda each: (each.day, order[each.name]), reverse=True)


def _choices(known: Sequence[Subject], chosen: Sequence[Subject]) -> str:
    boxes = "".join(
        f'<label><input type="checkbox" name="{BESIDE}{escape(each.name)}" value="on"{" checked" if each in chosen else ""}> '
        f"{escape(each.name)} <small>{escape(each.day)}</small></label>"
        for each in known
    )
    lead = say(f"Choose two to {MOST}:", f"选择 2 至 {MOST} 个：")
    return f'<form class="choices" method="get">{lead} {boxes} <button>{say("Show", "显示")}</button></form>'


# Side by side


def _side_by_side(venture: Venture, chosen: Sequence[Subject]) -> str:
    pairs = {(a.id, b.id): read_pair(venture, a.id, b.id) for a, b in combinations(chosen, 2)}
    metrics = dict.fromkeys(score.metric for each in chosen for score in each.card.scores)
    targets = {target.metric: target for target in venture.file.targets}
    held = {each.name: {gate.target.metric: gate for gate in gates(venture.file.targets, each.card)} for each in chosen}
    headings = [say("Measure", "指标"), *(f"{each.name}" for each in chosen), ""]
    says = words_of(venture)
    rows = [_row(metric, says.get(metric), chosen, targets.get(metric), held, pairs) for metric in metrics]
    shown = table(headings, rows, ["", *["figure"] * len(chosen), "picture"])
    return f'<div class="wide">{shown}</div>{_legend(chosen, pairs)}{_missing_pairs(chosen, pairs)}'


def _row(
    metric: str, says: Words | None, chosen: Sequence[Subject], target: Target | None, held: Mapping[str, Mapping[str, Gate]],
    pairs: Mapping[tuple[str, str], Pair | None],
) -> list[str]:  # fmt: skip
    scores = {each.name: each.card.score(metric) for each in chosen}
    known = [(name, score) for name, score in scores.items() if score is not None]
    first = known[0][1]
    better = say("higher is better", "越高越好") if first.better == "higher" else say("lower is better", "越低越好")
    promised = f" · {say('promised', '承诺')} {threshold(target, unit_words(first.unit))}" if target else ""
    words = f"{escape(str(says))}<br>" if says else ""
    cells = [f'<code>{escape(metric)}</code><div class="says">{words}{better}{escape(promised)}</div>']
    best = _best(metric, chosen, pairs)
    for each in chosen:
        score = scores[each.name]
        gate = held[each.name].get(metric)
        cells.append("–" if score is None else _cell(score, gate, _difference(metric, chosen[0], each, pairs), best=each.name == best))
    return [*cells, scores_plot(known, target)]


def _cell(score: Score, gate: Gate | None, difference: PairedDifference | None, *, best: bool) -> str:
    parts = [score_html(score)]
    if gate is not None:
        kept = say("kept", "兑现") if gate.kept else say("not kept", "未兑现")
        parts.append(f'<small><span class="{"kept" if gate.kept else "missed"}" title="{escape(str(gate.reason()))}">{kept}</span></small>')
    if difference is not None:
        parts.append(f"<small>{escape(_difference_words(difference))}</small>")
    if best:
        parts.append(f'<small><span class="best">★ {say("best", "最优")}</span></small>')
    return "".join(parts)


def _difference(metric: str, first: Subject, each: Subject, pairs: Mapping[tuple[str, str], Pair | None]) -> PairedDifference | None:
    """Of a later column less the first."""
    pair = pairs.get((first.id, each.id))
    return pair.of(metric) if pair else None


def _difference_words(found: PairedDifference) -> str:
    if found.value == found.low == found.high == 0:
        return say("alike on every example", "逐例相同")
    told = f"{_signed(found.value)} [{_signed(found.low)}, {_signed(found.high)}]"
    return told if found.told else told + say(": not told from chance", "：无法与随机波动区分")


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")


def _best(metric: str, chosen: Sequence[Subject], pairs: Mapping[tuple[str, str], Pair | None]) -> str | None:
    """The one that is told to be better than each of the others; None where no one is."""
    measured = [each for each in chosen if each.card.score(metric) is not None]
    if len(measured) < 2:
        return None
    beaten: dict[str, int] = {each.name: 0 for each in measured}
    for a, b in combinations(measured, 2):
        pair = pairs.get((a.id, b.id))
        found = pair.of(metric) if pair else None
        if found is not None and found.told is not None:
            beaten[a.name if found.told == "a" else b.name] += 1
    return next((name for name, count in beaten.items() if count == len(measured) - 1), None)


def _legend(chosen: Sequence[Subject], pairs: Mapping[tuple[str, str], Pair | None]) -> str:
    counts = sorted({score.count for each in chosen for score in each.card.scores})
    on = f"{counts[0]:,}" if len(set(counts)) == 1 else f"{counts[0]:,}–{counts[-1]:,}" if counts else "0"
    lines = [
        say(
            f"Measured on {on} examples of the {chosen[0].card.split} split; intervals at 95%. A promise is kept where the worse end "
            "keeps it.",
            f"在 {chosen[0].card.split} 部分的 {on} 个样本上实测；区间为 95%。较差一端满足承诺，方为兑现。",
        )
    ]
    if len({each.card.data for each in chosen}) > 1:
        lines.append(
            say(
                "They were measured on different records: only their order of size can be compared.", "评测所用样本不同，只能比较大致水平。"
            )
        )
    dates = sorted({str(pair.date) for pair in pairs.values() if pair})
    if dates:
        lines.append(
            say(
                f"Differences are from the first column, by a paired test on the same examples, each at 95% ({', '.join(dates)}). "
                "★ stands where one is told from chance to be better than every other; system measures have no pairs.",
                f"差值相对第一列，由同一批样本的成对检验得出，各为 95%（{'、'.join(dates)}）。"
                "★ 表示确实优于其余各项、非随机波动；系统指标不成对。",
            )
        )
    return "".join(f'<p class="legend">{escape(line)}</p>' for line in lines)


def _missing_pairs(chosen: Sequence[Subject], pairs: Mapping[tuple[str, str], Pair | None]) -> str:
    """The commands that tell a difference from chance, where it was not asked yet."""
    missing = [(a, b) for a, b in combinations(chosen, 2) if pairs[a.id, b.id] is None and a.card.data == b.card.data]
    why = say("tells a difference from chance, by a paired test", "用成对检验区分真实差异与随机波动")
    return "".join(next_step(f"lodestar compare {_operand(a)} {_operand(b)}", why) for a, b in missing)


def _operand(each: Subject) -> str:
    """A release by its name, an evaluation by its folder."""
    return each.name if each.name.startswith("v") and each.name[1:].isdigit() else f"runs/evaluate-{each.name}"


# Releases


def _releases(made: Sequence[Release], shown: Release | None) -> str:
    if not made:
        return next_step(
            "lodestar release",
            say("makes a version of what was evaluated last, if every promise is kept", "承诺全部兑现时，把最近评测的模型发布为新版本"),
        )
    headings = [say("Version", "版本"), say("Made", "日期"), say("Gates kept", "通过门槛"), ""]
    rows = []
    for each in reversed(made):
        name = escape(each.name)
        here = ' aria-current="true"' if shown is not None and each.name == shown.name else ""
        kept = f"{sum(gate.kept for gate in each.gates)} / {len(each.gates)}"
        decided = escape(override_words(each)) if each.override else ""
        rows.append([f'<a href="?release={name}"{here}><b>{name}</b></a>', escape(each.created[:10]), kept, decided])
    return table(headings, rows, ["", "short", "figure", ""])


def _release(venture: Venture, made: Release) -> str:
    """What stands behind one release."""
    folder = venture.releases / made.name
    changed = [str(words) for words in changes_of(venture, made)]
    none = say("The first release, or nothing that is measured or set has changed.", "首个版本，或测量与设置均无变化。")
    gate_lines = bullets([f"{'✓' if gate.kept else '✗'} {gate.reason()}" for gate in made.gates])
    return "".join(
        [
            section(say(f"{made.name}: gates when it was released", f"{made.name}：发布时的门槛"), gate_lines),
            section(say(f"{made.name}: changes", f"{made.name}：变更"), bullets(changed) or f"<p>{none}</p>"),
            section(say(f"{made.name}: licences", f"{made.name}：许可"), _licences(venture, made)),
            _folded(say("Model card", "模型卡"), folder / CARD_FILE),
            _folded(say("Data card", "数据卡"), folder / "data-card.md"),
        ]
    )


def _licences(venture: Venture, made: Release) -> str:
    path = venture.releases / made.name / "data-card.json"
    card = read_json(path) if path.is_file() else {}
    marks = {"fine": "kept", "look": "waits", "conflict": "missed"}
    verdicts = {"fine": say("fine", "无碍"), "look": say("to be read", "需查看"), "conflict": say("conflict", "冲突")}
    rows = [
        [
            f"<code>{escape(each.subject)}</code>", escape(each.licence or say("not stated", "未说明")),
            f'<span class="{marks[each.verdict]}">{verdicts[each.verdict]}</span>', escape(str(each.words)),
        ]
        for each in read_licences(venture.file, card, venture.folder)
    ]  # fmt: skip
    headings = [say("Of what", "对象"), say("Licence", "许可"), say("Reading", "判读"), ""]
    note = f'<p class="legend">{say("A first reading, and no legal advice.", "仅为初步核对，不构成法律意见。")}</p>'
    return (table(headings, rows) if rows else f"<p>{say('The data card names no source.', '数据卡未列出来源。')}</p>") + note


def _folded(title: str, path: Path) -> str:
    if not path.is_file():
        return ""
    return f'<details class="sheet"><summary>{escape(title)}</summary>{markdown_html(path.read_text("utf-8"))}</details>'


# The roll-out


def _rollout(found: Rollout | None, made: Sequence[Release]) -> str:
    if found is None:
        if len(made) < 2:
            return f"<p>{say('None yet: it takes two releases.', '尚无：需要两个版本。')}</p>"
        command = f"lodestar serve {made[-2].name} --canary {made[-1].name} --share 0.1"
        return next_step(
            command,
            say(
                "gives the newer one a tenth of the users, and takes it back by itself where it is worse",
                "把新版本分给一成用户，变差则自动回退",
            ),
        )
    terms = found.terms
    state = (
        f'<span class="missed">{say("taken back", "已回退")}</span>'
        if found.alarm
        else f'<span class="kept">{say("going on", "进行中")}</span>'
    )
    share = say(f"{terms.share:.0%} of the users", f"占用户 {terms.share:.0%}")
    headings = [say("Watched", "监测项"), terms.canary, terms.current, say("Evidence", "证据")]
    rows = [
        [
            escape(str(SIGNALS[name])),
            f"{test.new:,}",
            f"{test.current:,}",
            f"{figure(test.peak, '')} : 1<small>p = {test.p_value:.2g}</small>",
        ]
        for name, test in found.tests.items()
    ]
    counted = [[say("requests", "请求"), f"{found.requests['canary']:,}", f"{found.requests['current']:,}", ""]]
    begun = say(f"Begun {terms.started[:10]}; the tests may be looked at at any time.", f"开始于 {terms.started[:10]}；检验可随时查看。")
    return (
        f"<p>{state} {escape(share)}{say('. ', '。')}{escape(str(found.words()))}</p>"
        f"{table(headings, [*counted, *rows], ['', 'figure', 'figure', 'figure'])}"
        f'<p class="legend">{escape(begun)}</p>'
    )


def data(venture: Venture, query: Mapping[str, str]) -> dict[str, Any]:
    """The same as figures: of what is side by side, and of the releases."""
    made = releases(venture)
    chosen = _chosen(subjects(venture, made), query)
    pairs = [read_pair(venture, a.id, b.id) for a, b in combinations(chosen, 2)]
    rollout = latest_rollout(venture)
    return {
        "scorecards": [{"name": each.name, "id": each.id, "day": each.day, **each.card.model_dump(mode="json")} for each in chosen],
        "differences": [pair.model_dump(mode="json") for pair in pairs if pair],
        "releases": [each.model_dump(mode="json", include={"name", "created", "gates", "override"}) for each in made],
        "rollout": rollout and rollout_value(rollout),
    }


VIEW = View("product", "product", Words("Product", "产品"), body, data)
