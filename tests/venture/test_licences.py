"""Licences: what may not be released as it is meant to is refused, and what is not known is said to be so."""

from __future__ import annotations

import pytest

from lodestar.contracts.errors import UserError
from lodestar.store.files import write_json
from lodestar.venture.licences import licence_of_folder, read_licences
from lodestar.venture.product import Override, release

PRICE = {"currency": "USD", "machine_hour": {"amount": 1, "currency": "USD"}, "price": {"per_request": {"amount": 1, "currency": "USD"}}}


def card(*sources: tuple[str, str | None]) -> dict[str, list[dict[str, str | None]]]:
    return {"sources": [{"source": source, "licence": licence} for source, licence in sources]}


@pytest.mark.parametrize(
    ("licence", "sold", "verdict"),
    [
        ("MIT", True, "fine"), ("CC-BY-4.0", True, "fine"), ("own", True, "fine"), ("Apache-2.0", True, "fine"),
        ("CC-BY-NC-4.0", True, "conflict"), ("CC-BY-NC-4.0", False, "look"), ("CC-BY-ND-4.0", False, "conflict"),
        ("CC-BY-NC-ND-4.0", False, "conflict"), ("CC-BY-SA-4.0", True, "look"), ("GPL-3.0-only", False, "look"),
        ("CC-BY-NC-SA-4.0", True, "conflict"),
        ("Somebody's Own Licence", False, "look"), (None, False, "look"),
    ],
)  # fmt: skip
def test_each_licence_is_read(make_venture, tmp_path, licence, sold, verdict):
    file = make_venture(**({"economics": PRICE} if sold else {})).file
    (found,) = read_licences(file, card(("reviews.jsonl", licence)), tmp_path)
    assert (found.verdict, found.licence) == (verdict, licence)
    assert found.words.zh


def test_what_venture_yaml_says_counts_by_name_or_glob_and_share_alike_under_the_same_licence_is_fine(make_venture, tmp_path):
    file = make_venture(licence="CC-BY-SA-4.0", licences={"*.jsonl": "CC-BY-SA-4.0", "builtin:sample": "own"}).file
    found = read_licences(file, card(("reviews.jsonl", None), ("builtin:sample", "Apache-2.0"), ("notes.txt", None)), tmp_path)
    assert [(each.licence, each.verdict) for each in found] == [("CC-BY-SA-4.0", "fine"), ("own", "fine"), (None, "look")]


def test_the_base_model_s_own_folder_is_asked(make_venture, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# A model\n")
    assert licence_of_folder(base) == "cc-by-nc-4.0"
    file = make_venture(model={"base": "base"}, economics=PRICE).file
    (found,) = read_licences(file, {}, tmp_path)
    assert (found.subject, found.verdict) == ("base", "conflict")
    assert licence_of_folder(tmp_path) is None


def test_a_conflict_is_released_only_in_somebody_s_name(make_venture, write_runs):
    venture = make_venture(economics=PRICE)
    write_runs(venture)
    write_json(venture.latest("prepare").folder / "card.json", card(("reviews.jsonl", "CC-BY-NC-4.0")))
    with pytest.raises(UserError) as caught:
        release(venture)
    assert "reviews.jsonl (CC-BY-NC-4.0) is not for sale, and economics.price sells it" in str(caught.value)
    assert "--override-by WHO" in str(caught.value)
    assert not venture.releases.exists()
    made, _ = release(venture, Override(who="Ada", why="they gave leave"))
    assert made.override is not None
    text = (venture.releases / "v1" / "card.md").read_text()
    assert "by decision of Ada: they gave leave" in text
    assert "| `reviews.jsonl` | CC-BY-NC-4.0 | ✗" in text
