"""docs/learn is executed: each chapter's code runs, prints what the chapter shows, and draws the pictures that it shows.

`python tests/test_learn.py` runs all of it and writes what it prints and draws into the chapters of both languages.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shutil
import socket
import sys
import tempfile
import tokenize
import urllib.parse
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from lodestar.contracts.progress import track

ROOT = Path(__file__).parents[1]
LEARN, PICTURES = ROOT / "docs" / "learn", ROOT / "docs" / "pictures" / "learn"
CHAPTERS = sorted(path for path in LEARN.glob("[0-9]*.md") if not path.stem.endswith(".zh"))
PAGES = sorted(LEARN.glob("*.md"))
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+\.\d+(?:e[-+]?\d+)?(?![\w.])")
MOST_COLUMNS = 120
"""Of a line of code: as much as a page shows."""


class Step(NamedTuple):
    """A block of code and the output that stands below it."""

    line: int
    """Of its first line, from 0."""
    code: str
    shown: str


def steps(page: Path) -> list[Step]:
    """The Python of a page, each block with the `text` block that follows it at once."""
    text = page.read_text("utf-8")
    block = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
    return [Step(text[: found.start()].count("\n") + 1, found[1], found[2] or "") for found in block.finditer(text)]


def run(page: Path) -> Iterator[tuple[Step, str]]:
    """Execute the blocks of a page in this folder, in one namespace; each with what it prints."""
    namespace: dict[str, Any] = {"__name__": "chapter"}
    for step in steps(page):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            # The empty lines make a traceback point into the page.
            exec(compile("\n" * step.line + step.code, str(page), "exec"), namespace)
        yield step, printed.getvalue()


def same(shown: str, printed: str) -> bool:
    """Equal, but for one unit in the last place of a number with a decimal point: machines round sums differently."""
    if NUMBER.sub("0.0", shown) != NUMBER.sub("0.0", printed):
        return False
    pairs = zip(map(Decimal, NUMBER.findall(shown)), map(Decimal, NUMBER.findall(printed)), strict=True)
    return all(abs(one - other) <= last_place(one) for one, other in pairs)


def last_place(number: Decimal) -> Decimal:
    """One unit of it."""
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    return Decimal((0, (1,), exponent))


@pytest.mark.parametrize(
    ("shown", "printed", "equal"),
    [
        ("loss 1.23\n", "loss 1.24\n", True),
        ("loss 1.23\n", "loss 1.25\n", False),
        ("12 steps\n", "13 steps\n", False),
        ("[0.09, -1.50]\n", "[0.10, -1.51]\n", True),
        ("[0.09, -1.50]\n", "[0.09, 1.50]\n", False),
        ("1.2e-05\n", "1.3e-05\n", True),
        ("1.2e-05\n", "1.2e-04\n", False),
        ("1.0 True\n", "1.0 False\n", False),
        ("", "1.0\n", False),
    ],
)
def test_an_output_may_differ_by_one_in_its_last_place(shown: str, printed: str, equal: bool) -> None:
    assert same(shown, printed) is equal


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_prints_and_draws_what_it_shows(chapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for step, printed in run(chapter):
        assert same(step.shown, printed), f"{chapter.name}:{step.line} prints\n{printed}\nand the page shows\n{step.shown}"
    assert set(drawn(tmp_path)) == {Path(name).name for name in images(chapter) if "pictures/learn/" in name}


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_both_languages_show_the_same(chapter: Path) -> None:
    chinese = chapter.with_suffix(".zh.md")
    assert [(without_comments(one.code), one.shown) for one in steps(chapter)] == [
        (without_comments(other.code), other.shown) for other in steps(chinese)
    ]
    assert shell(chapter) == shell(chinese)
    assert images(chapter) == images(chinese)
    assert headings(chapter) == headings(chinese)


def test_the_chapters_are_in_the_contents() -> None:
    for index, ending in (("README.md", ".md"), ("README.zh.md", ".zh.md")):
        linked = [link for link in links(LEARN / index) if re.match(r"\d\d-", link)]
        assert linked == [f"{chapter.stem}{ending}" for chapter in CHAPTERS]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_and_pictures_are_there(page: Path) -> None:
    for link in [*links(page), *images(page)]:
        if not urllib.parse.urlsplit(link).scheme:
            assert (page.parent / link.split("#")[0]).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_code_fits_the_page(page: Path) -> None:
    assert [line for step in steps(page) for line in step.code.splitlines() if len(line) > MOST_COLUMNS] == []


def test_no_picture_is_left_over() -> None:
    shown = {Path(name).name for page in PAGES for name in images(page)}
    assert {path.name for path in PICTURES.iterdir()} <= shown


def test_pictures_are_small() -> None:
    for path in PICTURES.iterdir():
        assert path.stat().st_size < 120_000, path


@pytest.mark.slow
@pytest.mark.parametrize("chapter", [path for path in CHAPTERS if "```sh" in path.read_text("utf-8")], ids=lambda path: path.stem)
def test_its_commands_run_as_written(chapter: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    printed = "".join(docs().run_tour(block.replace("8000", port), tmp_path, "en") for block in shell(chapter))
    assert "Released v1" in printed
    assert '"object":"text_completion"' in printed
    assert "success" in printed


def docs() -> ModuleType:
    """The tests of the other guides, which know how a reader runs commands."""
    spec = importlib.util.spec_from_file_location("test_docs", Path(__file__).with_name("test_docs.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix in (".png", ".svg"))


def without_comments(code: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return [token.string for token in tokens if token.type not in (tokenize.COMMENT, tokenize.NL)]


def outside_code(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def shell(page: Path) -> list[str]:
    """The commands of a page, as `without_comments`."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [re.sub(r" +# .*$", "", block, flags=re.MULTILINE) for block in blocks]


def images(page: Path) -> list[str]:
    return re.findall(r"!\[[^]]*\]\(([^)]+)\)", outside_code(page))


def links(page: Path) -> list[str]:
    return re.findall(r"(?<!!)\[[^]]*\]\(([^)]+)\)", outside_code(page))


def headings(page: Path) -> list[int]:
    """How deep each one is."""
    return [len(marks) for marks in re.findall(r"^(#+) ", outside_code(page), re.MULTILINE)]


def write_outputs(page: Path, outputs: list[str]) -> None:
    """Put what was printed below the blocks of a page."""
    given = iter(outputs)
    text = re.sub(
        r"^(```python\n.*?^```\n)(?:\n```text\n.*?^```\n)?",
        lambda found: found[1] + (f"\n```text\n{printed}```\n" if (printed := next(given)) else ""),
        page.read_text("utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
    page.write_text(text, "utf-8")


def main(names: list[str]) -> None:
    """Run the chapters whose names begin so (all, where none is given), and write what they print and draw."""
    asked = [chapter for chapter in CHAPTERS if not names or chapter.name.startswith(tuple(names))]
    for chapter in track(asked, "learn", "chapter"):
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            outputs = [printed for _, printed in run(chapter)]
            for name in drawn(Path(folder)):
                shutil.copy(name, PICTURES / name)
        for page in (chapter, chapter.with_suffix(".zh.md")):
            if page.exists():
                write_outputs(page, outputs)


if __name__ == "__main__":
    main(sys.argv[1:])
