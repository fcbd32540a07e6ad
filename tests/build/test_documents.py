"""Documents translated by translators of every kind: what the layout is stays, and what must not change does not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lodestar.build.documents import translate_document
from lodestar.build.layouts import LAYOUTS
from lodestar.contracts.errors import UserError

MARKDOWN = """---
title: The harbour
---

# The harbour guide #

Welcome to **the harbour**. It has `mooring.rings` and a *small* café; see
[the map](https://example.org/map?x=1&y=2 "Map") or write to
harbour@example.org.

- First, tie the boat. Then
  breathe out.
- [ ] Pay {fee} to %s at the office
    1. On the left
    2. On the right, `a  b` behind ``a ` tick``

> The wind is free.
> So is the view[^1].

| Berth | Price in $ | Note |
|:------|-----------:|------|
| A1 | 12.50 | near `the pub` |
| B2 \\| C | 9 | **quiet** |

```python
price = 12.50  # never translated
```

    indented code stays

Setext heading
--------------

<div align="center">
raw HTML stays
</div>

![A boat](boat.png) and a formula $x = y$.  
A hard break before this line, <b>bold</b> &amp; done.

***

[^1]: On clear days.
[ref]: https://example.org/ref
"""
HTML = """<!DOCTYPE html>
<html><head><title>Stays</title><style>p { color: red }</style></head>
<body class="x">
  <h1>The harbour</h1>
  <p>Welcome to <b>the harbour</b>. It has
     <a href="map.html?x=1&amp;y=2">a map</a> &amp; a caf&eacute;.</p>
  <!-- a comment --><ul><li>First</li><li>Call <code>tie(boat)</code> now</li></ul>
  <pre>  code
    stays </pre><p translate="no">Lodestar</p><p>Ask <span translate="no">Old Tom</span> first.</p>
  <script>if (a < b) { say("hi") }</script>
</body></html>
"""
SUBTITLES = """WEBVTT

NOTE stays

1
00:00:01.000 --> 00:00:04.000 align:start
<v Anna>Good evening. The lamp
is lit already.

2
00:00:05.000 --> 00:00:07.000
- Who lit it?
- <i>I did</i>, {name}.
"""
PLAIN = """The harbour

  Welcome to the harbour, {name}. It has 12 berths and a lamp that is lit at
  dusk by whoever comes first, which is mostly the cat. Ask %(who)s.

  1. Tie the boat.
  2. Pay.

Berth\tPrice\tNote
A1\t12.50\tsee https://example.org/a?b=c.
港口欢迎您。灯在黄昏点亮，谁先来谁点，多半是那只猫先来，然后才是守夜的老人，他总是

\u200b\U0001f600 \u202eabc
"""
DOCUMENTS = {"plain": PLAIN, "markdown": MARKDOWN, "html": HTML, "subtitles": SUBTITLES}


def same(strings: list[str]) -> list[str]:
    return strings


def letters(strings: list[str]) -> list[str]:
    """Every letter outside of what must not change becomes another one, and nothing is lost."""
    return [re.sub(r"(\{[^}]*\}|%\(?\w+\)?s?|<[^>]*>|`+[^`]*`+|\S+@\S+|\]\([^)]*\)|https?:\S+|&\w+;|\\.|\[\^1\]|\$[^$]+\$)|([a-z])",
                   lambda match: match[1] or chr(97 + (ord(match[2]) - 84) % 26), string) for string in strings]  # fmt: skip


def ruin(strings: list[str]) -> list[str]:
    """All signs but letters are lost, as a bad model loses them."""
    return [" ".join(re.findall(r"[^\W\d_]+", string)).upper() for string in strings]


def invent(strings: list[str]) -> list[str]:
    return [f"{string} **{{extra}}** <b> `x` \n\n # y" for string in strings]


def nothing(strings: list[str]) -> list[str]:
    return [""] * len(strings)


def chinese(strings: list[str]) -> list[str]:
    return ["港" * max(len(string) // 3, 1) for string in strings]


TRANSLATORS = {"same": same, "letters": letters, "ruin": ruin, "invent": invent, "nothing": nothing, "chinese": chinese}
HELD = re.compile(
    r"\{name\}|\{fee\}|%s|%\(who\)s|https?://[\w.]+[^\s.\")]*|[a-z]+@[a-z.]+\w|`[^`\n]+`|<[^<>]+>|&amp;|boat\.png|\$x = y\$|\[\^1\]"
)


@pytest.mark.parametrize("form", DOCUMENTS)
def test_a_translator_that_changes_nothing_gives_the_very_document(form: str) -> None:
    for text in (DOCUMENTS[form], DOCUMENTS[form].replace("\n", "\r\n"), DOCUMENTS[form].rstrip()):
        found = translate_document(text, same, form=form)
        assert found.text == text
        assert found.piecewise == found.kept == 0


@pytest.mark.parametrize("form", DOCUMENTS)
@pytest.mark.parametrize("translator", TRANSLATORS)
def test_lines_and_all_that_must_not_change_are_the_same(form: str, translator: str) -> None:
    text = DOCUMENTS[form]
    written = translate_document(text, TRANSLATORS[translator], form=form).text
    assert len(written.splitlines()) == len(text.splitlines())
    assert Counter(HELD.findall(written)) == Counter(HELD.findall(text))
    assert [line[: len(line) - len(line.lstrip())] for line in written.splitlines()] == [
        line[: len(line) - len(line.lstrip())] for line in text.splitlines()
    ]


@pytest.mark.parametrize("translator", TRANSLATORS)
def test_markdown_keeps_its_structure(translator: str) -> None:
    def structure(text: str) -> list[object]:
        parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
        found: list[object] = []
        for token in parser.parse(text):
            inside = [(one.type, one.attrs, one.content if "code" in one.type or "html" in one.type else "")
                      for one in token.children or [] if one.type not in ("text", "softbreak", "hardbreak", "image")]  # fmt: skip
            found.append((token.type, token.tag, token.content if token.type in ("fence", "code_block", "html_block") else "", inside))
        return found

    text = MARKDOWN.replace("[^1]: ", "")  # the reference parser knows no footnotes
    assert structure(translate_document(text, TRANSLATORS[translator], form="markdown").text) == structure(text)


def test_text_is_translated_and_nothing_else() -> None:
    written = translate_document(MARKDOWN, letters, form="markdown").text
    assert written.startswith("---\ntitle: The harbour\n---\n\n# Tur uneobhe thvqr #\n\nWrypbzr gb **gur uneobhe**.")
    for untouched in ("price = 12.50  # never translated", "    indented code stays", "raw HTML stays", "|:------|-----------:|------|"):
        assert untouched in written
    assert "| Bregu | Pevpr va $ | Nbgr |" in written
    assert "- Fvefg, gvr gur obng. Tura\n  oerngur bhg." in written
    page = translate_document(HTML, letters, form="html").text
    assert "<title>Stays</title>" in page
    assert "<p>Wrypbzr gb <b>gur uneobhe</b>." in page
    assert '<p translate="no">Lodestar</p><p>Afx <span translate="no">Old Tom</span> svefg.</p>' in page
    assert "<pre>  code\n    stays </pre>" in page


def test_a_lost_placeholder_has_its_sentence_translated_piecewise() -> None:
    found = translate_document("Hello {name}, you owe %d coins. All is well.", ruin)
    assert found.text == "HELLO {name}, YOU OWE %d COINS ALL IS WELL"
    assert (found.sentences, found.piecewise) == (2, 1)


def test_an_invented_placeholder_is_not_taken() -> None:
    found = translate_document("Hello {name}.", lambda strings: [f"{string} {{other}}" for string in strings])
    assert found.text == "Hello {name}."
    assert found.kept == 1


def test_the_glossary_is_honoured_whatever_the_translator_does() -> None:
    glossary = {"harbour": "Hafen", "harbour master": "Hafenmeister", "灯": "lamp"}
    for translator in TRANSLATORS.values():
        written = translate_document("The harbour master left the harbour. Harbours are kept. 灯亮了。", translator, glossary=glossary).text
        if translator is not same:
            assert written.count("Hafenmeister") == 1
            assert len(re.findall(r"Hafen\b", written)) == 1
            assert written.count("lamp") == 1
    known = lambda strings: [string.replace("harbour", "Hafen") for string in strings]  # noqa: E731
    found = translate_document("The harbour is open.", known, glossary=glossary)
    assert (found.text, found.piecewise) == ("The Hafen is open.", 0)


def test_numbers_are_kept_where_asked() -> None:
    text = "Berth 12 costs 9.50 at 14:30."
    assert translate_document(text, ruin, numbers=True).text == "BERTH 12 COSTS 9.50 AT 14:30."
    assert "12" not in translate_document(text, ruin).text


def test_a_sentence_longer_than_the_window_is_translated_in_parts() -> None:
    text = "the wind went round the tower, and the tower stood, and the lamp was lit by someone {name} knew. " + "x" * 100
    asked: list[str] = []

    def translate(strings: list[str]) -> list[str]:
        asked.extend(strings)
        return [string.upper() for string in strings]

    found = translate_document(text, translate, fits=lambda string: len(string) <= 30)
    assert all(len(string) <= 30 for string in asked)
    assert found.text == text.upper().replace("{NAME}", "{name}")


def test_all_strings_of_a_document_are_asked_about_at_once() -> None:
    calls: list[int] = []

    def translate(strings: list[str]) -> list[str]:
        calls.append(len(strings))
        return strings

    translate_document(MARKDOWN, translate, form="markdown")
    assert len(calls) == 1


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'markdown'"):
        translate_document("x", same, form="markdwn")
    with pytest.raises(UserError, match="give a word for each"):
        translate_document("x", same, glossary={"a": " "})


FRAGMENT = st.sampled_from(
    [
        *"ab 好。.!?\n\t\r*_`#>-|[](){}<>&;:%$\\~=1.\u200b\u202e\u05d0\U0001f600",
        "```\n", "\n\n", "    ", "- ", "1. ", "> ", "](u)", "{x}", "%s", "<b>", "</b>", "<pre>", "</pre>", "&amp;", "&eacute;",
        "https://a.b/c", "00:01.0 --> 00:02.0\n", "<!--", "-->", "|--|--|\n", "Word. Word", "\r\n", "$$\n", "<p>",
    ]
)  # fmt: skip
TEXT = st.one_of(st.text(), st.lists(FRAGMENT, max_size=50).map("".join))


@given(TEXT, st.sampled_from(sorted(LAYOUTS)))
def test_any_text_comes_back_from_a_translator_that_changes_nothing(text: str, form: str) -> None:
    assert translate_document(text, same, form=form, glossary={"word": "word", "Word": "Word"}, numbers=True).text == text


@given(TEXT, st.sampled_from(sorted(LAYOUTS)), st.sampled_from([ruin, invent, nothing, chinese]))
def test_no_placeholder_is_ever_lost_or_made_up(text: str, form: str, translate: Callable[[list[str]], list[str]]) -> None:
    written = translate_document(text, translate, form=form, fits=lambda string: len(string) <= 20).text
    held = re.compile(r"\{x\}|%s(?![A-Za-z])|https://a\.b/c")
    assert held.findall(written) == held.findall(text)


@pytest.mark.parametrize("form", LAYOUTS)
def test_a_hundred_thousand_of_anything_is_done_in_a_moment(form: str) -> None:
    for part in ("x", "`", "*", "[", "](", "<", "<!--", "{", "http://", "|", "> ", "- ", "&", "(", "a@", "%", "\n", "_a", "$", "!["):
        text = part * (100_000 // len(part))
        assert translate_document(text, same, form=form).text == text
