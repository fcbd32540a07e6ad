"""Unit economics: what is shared out adds up to the cent, and the figures are those of a case worked by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lodestar.cli.main import main
from lodestar.contracts.errors import UserError
from lodestar.contracts.money import EconomicsSettings, Money
from lodestar.contracts.randomness import generator
from lodestar.store.ledger import Request, ServerRow
from lodestar.venture.economics import Economics, allocate, request_micros, unit_economics
from lodestar.venture.economics_words import economics_html, economics_text, economics_value

START = datetime(2026, 12, 1, tzinfo=UTC)
USD = {"currency": "USD"}


def moment(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def request(at: float, seconds: float, *, status: int = 200, tokens: int = 10, release: str = "v1", retries: int = 0) -> Request:
    return Request(
        time=moment(at), release=release, route="/v1/classify", tokens_in=tokens, tokens_out=0, latency_ms=1000 * seconds, status=status,
        retries=retries,
    )  # fmt: skip


def server(start: float, end: float) -> ServerRow:
    return ServerRow(release="v1", started=moment(start), seen=moment(end))


def economics(requests: Sequence[Request], servers: Sequence[ServerRow], hour: float = 3.6, **settings: Any) -> Economics:
    found = unit_economics(requests, servers, EconomicsSettings.parse({**USD, **settings}, where="x"), Money(amount=hour, currency="USD"))
    assert found is not None
    return found


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**9), min_size=1, max_size=60))
def test_shares_add_up_exactly_and_none_is_off_by_one_whole(total, weights):
    shares = allocate(total, weights)
    assert sum(shares) == total
    whole = sum(weights) or len(weights)
    for share, weight in zip(shares, weights if sum(weights) else [1] * len(weights), strict=True):
        assert abs(share - total * weight / whole) < 1
    heavier = sorted(zip(weights, shares, strict=True))
    assert all(a <= b for (v, a), (w, b) in pairwise(heavier) if v < w), "who weighs more never gets less"


def test_a_share_worked_by_hand():
    assert allocate(100, [1, 1, 1]) == [34, 33, 33]
    assert allocate(10, [0, 0]) == [5, 5]
    assert allocate(5, []) == []


@given(
    st.lists(st.tuples(st.floats(0, 5000), st.sampled_from([200, 500])), min_size=1, max_size=40), st.floats(0.01, 500), st.floats(60, 9e4)
)
def test_the_requests_together_cost_the_machine_s_hours_to_the_cent(drawn, hour, seconds):
    requests = [request(number, latency, status=status, release=f"v{number % 3}") for number, (latency, status) in enumerate(drawn)]
    found = economics(requests, [server(0, seconds)], hour)
    assert sum(request_micros(requests, found.machine_cents)) == 10_000 * found.machine_cents
    assert sum(found.by_release.values()) == sum(found.by_route.values()) == 10_000 * found.machine_cents
    assert found.machine_cents == pytest.approx(100 * found.machine_hours * hour, abs=0.5001)


def test_a_case_worked_by_hand():
    """An hour at 3.60 USD is 0.1 cents a second. Of 100 seconds, 30 are in work: 10 s of two answers at once, 15 and 5 of others, one of
    which failed."""
    requests = [
        request(0, 10), request(0, 10, release="v2"), request(20, 15, status=500), request(80, 5, retries=1, tokens=70),
    ]  # fmt: skip
    people = [{"role": "support", "hours_per_week": 16.8, "hour": {"amount": 36, "currency": "USD"}}]
    price = {"per_request": {"amount": 0.2, "currency": "USD"}}
    found = economics(requests, [server(0, 100)], people=people, price=price)
    assert (found.requests, found.answered, found.failed, found.retries, found.tokens) == (4, 3, 1, 1, 90)
    assert found.machine_cents == 10
    assert found.people_cents == 10, "a tenth of the time at ten times the price"
    assert found.utilisation.value == pytest.approx(0.3)
    assert found.per_request.value == pytest.approx(0.2 / 3)
    assert found.per_million_tokens.value == pytest.approx(0.2 / 90 * 1e6)
    assert found.capacity.value == pytest.approx(3 / 30 * 3600)
    assert found.margin is not None
    assert found.margin.value == pytest.approx(2 / 3)
    assert found.margins[0.5].value == pytest.approx(1 / 3)
    month = 365.25 * 24 / 12
    assert found.break_even is not None
    assert found.break_even.value == pytest.approx(7.2 * month / 0.2)
    assert found.can_break_even is True
    assert found.shares["people"] == pytest.approx(0.5)
    assert found.shares["failed"] == pytest.approx(0.15 * 15 / 40)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.by_release == {"v1": 75_000, "v2": 25_000}
    assert found.at_utilisation[0.3].value == pytest.approx(found.per_request.value)
    assert math.isnan(found.per_request.low), "a hundred seconds give no interval"


def test_a_price_by_the_token_and_a_machine_that_is_too_slow():
    price = {"per_million_tokens": {"amount": 10, "currency": "USD"}}
    found = economics([request(0, 50)], [server(0, 100)], price=price)
    assert found.price is not None
    assert found.price.value == pytest.approx(1e-4)
    assert found.can_break_even is False
    assert "cannot answer so many" in "\n".join(economics_text(found))


def test_two_machines_at_once_are_paid_for_twice():
    found = economics([request(0, 1)], [server(0, 3600), server(1800, 3600)])
    assert found.machine_hours == pytest.approx(1.5)
    assert found.machine_cents == 540


def test_currencies_are_converted_by_their_rate_and_refused_without():
    people = [{"role": "support", "hours_per_week": 168, "hour": {"amount": 1, "currency": "EUR"}}]
    with pytest.raises(UserError) as caught:
        EconomicsSettings.parse({**USD, "people": people}, where="venture.yaml")
    assert "people: support is in EUR, and the report counts in USD; say what one EUR is worth in USD, with rates: {EUR: …}" in str(
        caught.value
    )
    assert economics([request(0, 1)], [server(0, 3600)], people=people, rates={"EUR": 1.25}).people_cents == 125
    with pytest.raises(UserError, match="machine_hour is in CNY, and the report counts in USD"):
        unit_economics([], [], EconomicsSettings.parse(USD, where="x"), Money(amount=1, currency="CNY"))


@pytest.mark.parametrize(
    ("economics", "budget", "sentence"),
    [
        ({**USD, "machine_hour": {"amount": 8, "currency": "CNY"}}, None, "machine_hour is in CNY, and the report counts in USD"),
        (USD, None, "economics counts the machine's hours, and no price of one is given; give economics.machine_hour"),
        (USD, {"amount": 1, "currency": "EUR", "per_hour": 2}, "budget is in EUR, and economics counts in USD"),
        ({**USD, "price": {}}, None, "a price has exactly one of per_request and per_million_tokens"),
        ({"currency": "dollars"}, None, "the field 'economics.currency' is 'dollars'"),
        ({**USD, "machine_hour": {"amount": -1, "currency": "USD"}}, None, "the field 'economics.machine_hour.amount' is -1"),
    ],
)
def test_what_cannot_be_counted_is_one_sentence_before_anything_runs(make_venture, capsys, economics, budget, sentence):
    with pytest.raises(UserError) as caught:
        make_venture(economics=economics, **({"budget": budget} if budget else {}))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mistake_in_it_ends_a_command_with_2(venture, capsys):
    text = venture.path.read_text() + "economics: {currency: USD, machine_hour: {amount: 8, currency: CNY}}\n"
    venture.path.write_text(text)
    assert main(["report", "--venture", str(venture.folder)]) == 2
    assert "say what one CNY is worth in USD" in capsys.readouterr().err
    assert sorted(path.name for path in venture.folder.iterdir()) == ["venture.yaml"]


def test_no_server_no_economics():
    settings = EconomicsSettings.parse(USD, where="x")
    assert unit_economics([request(0, 1)], [], settings, Money(amount=1, currency="USD")) is None
    assert unit_economics([request(0, 1)], [server(0, 0)], settings, Money(amount=1, currency="USD")) is None


def a_month(seed: int, hours: int = 24 * 20) -> tuple[list[Request], list[ServerRow]]:
    """A load with a daily rhythm, and days that differ much."""
    random = generator(seed, "load")
    days = random.gamma(2, 0.5, hours // 24 + 1)
    requests = []
    for hour in range(hours):
        load = 4 * days[hour // 24] * (1 + math.sin(hour * math.pi / 12))
        requests += [
            request(3600 * (hour + random.uniform()), random.exponential(2.0), status=500 if random.uniform() < 0.05 else 200)
            for _ in range(random.poisson(load))
        ]
    return requests, [server(0, 3600.0 * hours)]


def test_intervals_hold_the_truth_where_days_differ_and_single_requests_would_not():
    """The truth: the cost of the mean load. Of 30 months, about 95% of the intervals hold it; chance alone leaves 25 or more."""
    expected = 3.6 / (4 * 0.95)
    estimates = [economics(*a_month(seed)).per_request for seed in range(30)]
    held = sum(each.low <= expected <= each.high for each in estimates)
    assert held >= 25
    widths = sorted((each.high - each.low) / each.value for each in estimates)
    independent = 2 * 1.96 / math.sqrt(20 * 24 * 4)
    assert widths[15] > 3 * independent, "the days decide, not the number of requests"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_is_told_in_both_languages_with_pictures(monkeypatch, language):
    monkeypatch.setenv("LODESTAR_LANGUAGE", language)
    price = {"per_request": {"amount": 2, "currency": "USD"}}
    found = economics(*a_month(1), price=price)
    told, page = "\n".join(economics_text(found)), economics_html(found)
    for words in ["an answered request", "margin", "breaks even"] if language == "en" else ["每次回答", "毛利率", "盈亏平衡"]:
        assert words in told
    assert page.count("<figure><svg") == 2
    value = json.loads(json.dumps(economics_value(found), allow_nan=False))
    assert value["block_seconds"] == 86_400
    assert value["blocks"] == 20
    assert value["margins"]["1.0"]["low"] < value["margins"]["1.0"]["high"]
    assert value["per_request"]["low"] < found.per_request.value < value["per_request"]["high"]
