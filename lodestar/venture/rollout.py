"""A staged roll-out: a new release is given a share of the users, watched, and taken back by itself where it is worse.

Three things are watched, each by its own test (sequential.py) at a third of the rate of false alarms: requests that failed, answers that
were slow, and answers that were found bad. All of it is read from the ledger, so that a server that is started again goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..contracts.clock import precise_timestamp
from ..contracts.errors import UserError
from ..contracts.language import Words
from .product import Release
from .sequential import LabelTest, events_needed
from .venture import Venture

if TYPE_CHECKING:
    from ..store.ledger import Event, FeedbackRow, Request

STARTED, TAKEN_BACK = "rollout started", "rollout taken back"
ALPHA = 0.05
"""The rate of false alarms of a whole roll-out, however long it is watched."""
ENOUGH_FOR_A_LIMIT = 100
"""Answers of the current release from which its own slowest twentieth is the limit of what is slow."""
PLANNED_RATIO = 3.0
"""How many times worse a release must be for the plan to say how soon it is found."""

SIGNALS: Mapping[str, Words] = {
    "failed": Words("requests that failed", "失败的请求"),
    "slow": Words("slow answers", "过慢的回答"),
    "bad": Words("answers found bad", "被评为差的回答"),
}


@dataclass(frozen=True)
class Terms:
    """What was agreed when a roll-out began."""

    current: str
    canary: str
    share: float
    slow_ms: float | None
    """What takes longer is slow; None where nothing says what that would be."""
    started: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, event: Event) -> Terms:
        return cls(**event.detail)


@dataclass
class Rollout:
    """One roll-out, as far as it has come."""

    terms: Terms
    tests: dict[str, LabelTest] = field(init=False)
    requests: dict[str, int] = field(init=False)
    """Arm → requests that it was given."""
    _arm_of: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Answer → its arm and its unit: the user, or the answer itself where the client named nobody."""
    _seen: set[tuple[str, str]] = field(default_factory=set)
    """A signal and a unit that has given it."""

    def __post_init__(self) -> None:
        signals = [name for name in SIGNALS if name != "slow" or self.terms.slow_ms is not None]
        self.tests = {name: LabelTest(self.terms.share, ALPHA / len(signals)) for name in signals}
        self.requests = {"current": 0, "canary": 0}

    def request(self, request: Request) -> None:
        """Take a request into account; one that was not drawn changes nothing."""
        if request.arm is None or request.id is None:
            return
        self.requests[request.arm] += 1
        unit = request.user_hash or request.id
        self._arm_of[request.id] = (request.arm, unit)
        if request.status >= 500:
            self._event("failed", request.arm, unit)
        elif request.status < 400 and self.terms.slow_ms is not None and request.latency_ms > self.terms.slow_ms:
            self._event("slow", request.arm, unit)

    def feedback(self, feedback: FeedbackRow) -> None:
        """Take an opinion into account."""
        known = self._arm_of.get(feedback.request)
        if known is not None and feedback.rating == "down":
            self._event("bad", *known)

    def _event(self, signal: str, arm: str, unit: str) -> None:
        if (signal, unit) not in self._seen:
            self._seen.add((signal, unit))
            self.tests[signal] = self.tests[signal].observe(of_new=arm == "canary")

    @property
    def alarm(self) -> str | None:
        """The signal by which the new release is told to be worse; None as long as there is none."""
        return next((name for name, test in self.tests.items() if test.alarmed), None)

    def words(self) -> Words:
        """How it stands, in a sentence."""
        canary, current = self.terms.canary, self.terms.current
        signal = self.alarm
        if signal is None:
            given = f"{self.requests['canary']:,} : {self.requests['current']:,}"
            counts = ", ".join(f"{SIGNALS[name].en} {test.new} : {test.current}" for name, test in self.tests.items())
            counts_zh = "，".join(f"{SIGNALS[name].zh} {test.new} : {test.current}" for name, test in self.tests.items())
            return Words(
                f"{canary} beside {current}, {given} requests: no sign that it is worse ({counts})",
                f"{canary} 与 {current} 并行，请求 {given}：尚无变差的迹象（{counts_zh}）",
            )
        test, name = self.tests[signal], SIGNALS[signal]
        low, high = test.ratio_interval()
        between = f"{low:.2g} to {'any number of' if math.isinf(high) else f'{high:.2g}'}"
        between_zh = f"{low:.2g} 倍以上" if math.isinf(high) else f"{low:.2g} 至 {high:.2g} 倍"
        among = test.new + test.current
        return Words(
            f"{canary} was taken back: {name.en} came {between} times as often as with {current} ({test.new} of {among}, at a share of "
            f"{self.terms.share:.0%}; evidence {test.peak:.0f} to 1)",
            f"{canary} 已自动回退：{name.zh}为 {current} 的 {between_zh}（{among} 次中占 {test.new} 次，流量占比 {self.terms.share:.0%}；"
            f"证据 {test.peak:.0f} 比 1）",
        )


def open_rollout(venture: Venture, current: Release, canary: Release, share: float, *, again: bool = False) -> Rollout:
    """Begin a roll-out, or go on with the one that was begun on the same terms.

    Args:
        again: whether a release that was taken back is tried once more, from nothing.

    Raises:
        UserError: the two are one, the share is none, or the release was taken back.
    """
    if current.name == canary.name:
        raise UserError(f"{canary.name} cannot be tried out beside itself", where="--canary", fix="name another release")
    if not 0 < share < 1:
        raise UserError(f"a share of {share:g} leaves nothing to compare", where="--share", fix="give one between 0 and 1, such as 0.1")
    earlier = latest_rollout(venture)
    if earlier is not None and earlier.terms.canary == canary.name:
        if earlier.alarm is not None and not again:
            raise UserError(str(earlier.words().en), where="--canary", fix="release a better one, or try it once more with --again")
        same = (earlier.terms.current, earlier.terms.share) == (current.name, share)
        if same and earlier.alarm is None:
            return earlier
    terms = Terms(current.name, canary.name, share, _slow_ms(venture, current), precise_timestamp())
    venture.ledger.add_event(STARTED, terms.to_json())
    return Rollout(terms)


def latest_rollout(venture: Venture) -> Rollout | None:
    """The last roll-out that was begun, with what the ledger holds of it; None where there is none."""
    begun = venture.ledger.events(STARTED)
    if not begun:
        return None
    last = begun[-1]
    return replay(Terms.of(last), venture.ledger.requests(), venture.ledger.feedback())


def replay(terms: Terms, requests: Sequence[Request], feedback: Sequence[FeedbackRow]) -> Rollout:
    """A roll-out from what was written down: requests and opinions in the order of their time."""
    from ..store.ledger import FeedbackRow

    rollout = Rollout(terms)
    since = datetime.fromisoformat(terms.started)
    written: list[Request | FeedbackRow] = [*requests, *feedback]
    for each in sorted(written, key=lambda row: datetime.fromisoformat(row.time)):
        if datetime.fromisoformat(each.time) < since or rollout.alarm is not None:
            continue
        if isinstance(each, FeedbackRow):
            rollout.feedback(each)
        else:
            rollout.request(each)
    return rollout


def take_back(venture: Venture, rollout: Rollout) -> Words:
    """Note that a release was taken back, and why; returns the sentence."""
    signal = rollout.alarm
    assert signal is not None
    words, test = rollout.words(), rollout.tests[signal]
    venture.ledger.add_event(
        TAKEN_BACK,
        {**rollout.terms.to_json(), "signal": signal, "canary_events": test.new, "current_events": test.current, "evidence": test.peak,
         "words": words._asdict()},
    )  # fmt: skip
    return words


def rollout_value(rollout: Rollout) -> dict[str, Any]:
    """For machines."""
    tests = {name: {"canary": test.new, "current": test.current, "p_value": test.p_value} for name, test in rollout.tests.items()}
    return {
        **rollout.terms.to_json(),
        "requests": rollout.requests,
        "tests": tests,
        "alarm": rollout.alarm,
        "words": rollout.words()._asdict(),
    }


def plan_words(terms: Terms) -> Words:
    """How soon a bad release would be found."""
    signals = 2 + (terms.slow_ms is not None)
    events = events_needed(terms.share, PLANNED_RATIO, 0.8, alpha=ALPHA / signals)
    limit = terms.slow_ms
    slow = Words("", "") if limit is None else Words(f"; slow is above {limit:.0f} ms", f"；超过 {limit:.0f} 毫秒为过慢")
    if events is None:
        return Words(
            f"at this share a release three times worse may never be told{slow.en}", f"在此占比下，差三倍也可能永远看不出{slow.zh}"
        )
    return Words(
        f"a release that fails {PLANNED_RATIO:g} times as often is taken back within {events} failures of both, 4 times in 5{slow.en}",
        f"若失败频率达 {PLANNED_RATIO:g} 倍，两者合计 {events} 次失败内有八成把握自动回退{slow.zh}",
    )


def _slow_ms(venture: Venture, current: Release) -> float | None:
    """What is slow: more than the vision promises, else than 19 of 20 answers of the current release took."""
    promised = next((target.at_most for target in venture.file.targets if target.metric == "latency_ms_p95"), None)
    if promised is not None:
        return promised
    usage = venture.ledger.usage(current.name)
    return usage.latency_ms_p95 if usage.requests - usage.failed >= ENOUGH_FOR_A_LIMIT else None
