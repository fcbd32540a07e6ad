"""A folder of documents, from its files to an answer that names its lines; and the files that want to do harm."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lodestar.build.bundle import Bundle, load_bundle
from lodestar.build.embed import TextEncoder, embed
from lodestar.contracts.errors import UserError
from lodestar.deploy.documents.foreign import read_docx, read_html
from lodestar.deploy.documents.indexing import PASSAGES, encoder_folder, index_folder
from lodestar.deploy.documents.library import Library
from lodestar.deploy.documents.passages import WIDTH, cut, width_of
from lodestar.deploy.documents.reading import Block, read_blocks
from lodestar.model.config import ModelConfig
from lodestar.prepare import train_tokenizer
from lodestar.store.passages import PassageIndex

RULES = """House rules

Breakfast is from seven to ten in the garden room.
The pool closes at nine in the evening. Dogs are welcome
for eight euros a night.
"""
CHINESE = "退房时把钥匙放进门边的盒子。\n泳池晚上九点关门。请勿喧哗。\n"
PAGE = """<!doctype html><html><head><title>Menu</title><style>p {}</style>
<script>alert("soup")</script>
<body><p>The soup of the day
costs <b>five</b> euros &amp; fifty cents.</p><p>Cake &lt;img src=x onerror=alert(1)&gt; is free.</p>
<!-- hidden note --><noscript>no</noscript></body>"""


def word_file(*paragraphs: str, head: str = "") -> bytes:
    name = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "word/document.xml", f'<?xml version="1.0"?>{head}<w:document xmlns:w="{name}"><w:body>{body}</w:body></w:document>'
        )
    return made.getvalue()


def pdf_file(*pages: str) -> bytes:
    """A PDF as small as one can be, a text a page, each line of it set on its own."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids = []
    for text in pages:
        lines = " T* ".join(f"({line}) Tj" for line in text.split("\n"))
        stream = f"BT /F1 12 Tf 14 TL 72 720 Td {lines} ET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects)} 0 R /Resources {font} >>")
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    made, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(made))
        made += f"{number} 0 obj\n{content}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    return (
        made
        + (
            f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\n"
            f"startxref\n{len(made)}\n%%EOF\n"
        ).encode()
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "docs"
    (made / "sub").mkdir(parents=True)
    (made / "rules.md").write_text(RULES)
    (made / "sub" / "规定.txt").write_text(CHINESE)
    (made / "menu.html").write_text(PAGE)
    (made / "letter.docx").write_bytes(word_file("Dear guest,", "the sauna opens on Mondays."))
    (made / "plan.pdf").write_bytes(pdf_file("The gym has\nsix machines.", "The library holds\nnine hundred books."))
    return made


@pytest.fixture
def out(folder: Path, tmp_path: Path) -> Path:
    index_folder(folder, tmp_path / "index")
    return tmp_path / "index"


def no_encoder(folder: Path) -> Bundle:
    raise AssertionError(f"there is no encoder in {folder}")


def ask(out: Path, question: str, **options: Any) -> dict[str, Any]:
    return Library.open(out, no_encoder).answer(question, **options)


# Reading


def test_each_kind_is_read_with_its_lines_and_pages(folder: Path) -> None:
    assert read_blocks(folder / "rules.md") == [Block(RULES, 1)]
    assert [(block.line, block.text) for block in read_blocks(folder / "menu.html")] == [
        (1, "Menu"),
        (3, "The soup of the day\ncosts five euros & fifty cents."),
        (4, "Cake <img src=x onerror=alert(1)> is free."),
    ]
    assert read_blocks(folder / "letter.docx") == [Block("Dear guest,", 1), Block("the sauna opens on Mondays.", 2)]
    pages = read_blocks(folder / "plan.pdf")
    assert [(page.page, page.text.split()) for page in pages] == [
        (1, ["The", "gym", "has", "six", "machines."]),
        (2, ["The", "library", "holds", "nine", "hundred", "books."]),
    ]


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.txt", b"fine\nnot \xff fine", "not UTF-8 in line 2"),
        ("a.txt", b"\0\1\2", "not a text"),
        ("a.exe", b"x", "of a kind that is not read"),
        ("a.pdf", b"%PDF-1.4 nonsense", "a damaged PDF"),
        ("a.docx", b"PK nonsense", "not a Word file"),
        ("a.docx", word_file("x", head='<!DOCTYPE a [<!ENTITY b "c">]>'), "defines entities"),
        ("a.docx", word_file("x" * (129 << 20)), "unpacks to more than"),
    ],
    ids=["encoding", "binary", "kind", "pdf", "docx", "entities", "zip bomb"],
)
def test_what_cannot_be_read_is_told_in_a_few_words(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=why):
        read_blocks(tmp_path / name)


def test_a_page_in_another_encoding_is_read_as_it_says() -> None:
    page = '<meta charset="gbk"><p>泳池晚上九点关门。'
    assert [block.text for block in read_html(page.encode("gbk"))] == ["泳池晚上九点关门。"]
    assert [block.text for block in read_html("<p>泳池".encode("gb18030"))] == ["泳池"]


def test_a_word_file_has_its_tabs_and_breaks() -> None:
    data = word_file("a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c", "", "d")
    assert [(block.line, block.text) for block in read_docx(data)] == [(1, "a\tb c"), (3, "d")]


# Passages


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab .,\n\t。泳池!中\u00a0"), max_size=400), min_size=1, max_size=4))
def test_passages_hold_the_text_in_its_order_and_know_their_lines(texts: list[str]) -> None:
    blocks, line = [], 1
    for text in texts:
        blocks.append(Block(text, line))
        line += text.count("\n") + 1
    lines = "\n".join(texts).split("\n")
    passages = cut("a", blocks)
    assert "".join("".join(passage.text for passage in passages).split()) == "".join("".join(texts).split())
    for passage in passages:
        assert passage.text.strip()
        assert width_of(passage.text) <= 2 * WIDTH
        assert passage.last_line == passage.first_line + passage.text.count("\n")
        for number, part in enumerate(passage.text.split("\n"), passage.first_line):
            assert "".join(part.split()) in "".join(lines[number - 1].split())


def test_a_passage_never_crosses_a_page_and_a_long_sentence_is_cut_at_blanks() -> None:
    passages = cut("a", [Block("One.", 1, 1), Block("Two. Three.", 1, 2), Block("word " * 400, 1, 3)])
    assert [passage.page for passage in passages[:2]] == [1, 2]
    assert passages[1].text == "Two. Three."
    assert len(passages) > 4
    assert all(set(passage.text.split()) == {"word"} for passage in passages[2:])


# The index


def test_only_what_changed_is_read_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    first = index_folder(folder, out)
    assert sorted(first.added) == ["letter.docx", "menu.html", "plan.pdf", "rules.md", "sub/规定.txt"]
    assert index_folder(folder, out).unchanged == sorted(first.added)
    (folder / "rules.md").write_text("The pool closes at eight.")
    (folder / "menu.html").unlink()
    (folder / "new.txt").write_text("The bar opens at six.")
    again = index_folder(folder, out)
    assert (again.added, again.changed, again.removed, len(again.unchanged)) == (["new.txt"], ["rules.md"], ["menu.html"], 3)
    assert ask(out, "When does the pool close?")["answer"] == "The pool closes at eight."
    assert ask(out, "What does the soup cost?")["answer"] is None


def test_links_copies_empty_and_hidden_files_are_told_by_name(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("The treasure lies under the oak.")
    (folder / "link.txt").symlink_to(secret)
    (folder / "there").symlink_to(tmp_path)
    (folder / "zcopy.md").write_text(RULES)
    (folder / "empty.txt").write_text(" \n")
    (folder / "photo.jpg").write_bytes(b"x")
    (folder / ".hidden.txt").write_text("The password is swordfish.")
    (folder / os.fsdecode(b"\xff.txt")).write_text("x")
    skipped = index_folder(folder, tmp_path / "index").skipped
    assert skipped == {
        "link.txt": "a link, which is not followed",
        "there": "a link, which is not followed",
        "zcopy.md": "the same as rules.md",
        "empty.txt": "there is no text in it",
        "photo.jpg": "of a kind that is not read",
        "?.txt": "its name is not UTF-8",
    }
    for question in ("Where does the treasure lie?", "What is the password?"):
        assert ask(tmp_path / "index", question)["answer"] is None


def test_an_index_within_the_folder_does_not_index_itself(folder: Path) -> None:
    out = folder / "index"
    index_folder(folder, out)
    assert len(index_folder(folder, out).unchanged) == 5


def test_a_folder_with_nothing_to_read_is_refused_and_leaves_no_index(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match=r"no file here that can be indexed; a\.jpg: of a kind that is not read"):
        index_folder(tmp_path / "docs", tmp_path / "index")
    assert not (tmp_path / "index").exists()
    with pytest.raises(UserError, match="no such folder"):
        index_folder(tmp_path / "none", tmp_path / "index")


# Answers


@pytest.mark.parametrize(
    ("question", "answer", "file", "page", "line"),
    [
        ("When does the pool close?", "The pool closes at nine in the evening.", "rules.md", None, 4),
        ("Are dogs welcome?", "Dogs are welcome\nfor eight euros a night.", "rules.md", None, 4),
        ("泳池几点关门？", "泳池晚上九点关门。", "sub/规定.txt", None, 2),
        ("What does the soup of the day cost?", "The soup of the day\ncosts five euros & fifty cents.", "menu.html", None, 3),
        ("When does the sauna open?", "the sauna opens on Mondays.", "letter.docx", None, 2),
        ("How many books are in the library?", "The library holds\nnine hundred books.", "plan.pdf", 2, 1),
    ],
)
def test_the_answer_names_where_it_stands(out: Path, question: str, answer: str, file: str, page: int | None, line: int) -> None:
    found = ask(out, question)
    first = found["citations"][0]
    assert answer in found["answer"]
    assert (first["file"], first["page"]) == (file, page)
    assert first["line"] <= line <= first["last_line"]
    assert first["passage"][first["start"] : first["end"]] == found["answer"]


@pytest.mark.parametrize("question", ["Who painted the ceiling of the chapel?", "火车站在哪条街上？", "zebra", "😀", "\u200b?"])
def test_what_is_not_in_the_documents_is_not_answered(out: Path, question: str) -> None:
    found = ask(out, question)
    assert found["answer"] is None
    assert found["citations"] == []


@pytest.mark.parametrize(
    ("question", "message"), [(" \n", "blank"), ("why " * 600, "at most 2,000"), ("a\ud800", "surrogate")], ids=["blank", "long", "half"]
)
def test_what_is_no_question_is_refused(out: Path, question: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ask(out, question)


def reader_of(answers: Mapping[str, tuple[str, float]]) -> Any:
    """A reader that knows what to say of a passage that holds a word."""

    def read(_question: str, texts: list[str]) -> Sequence[Mapping[str, Any]]:
        results: list[Mapping[str, Any]] = []
        for text in texts:
            said = next((said for word, said in answers.items() if word in text), None)
            if said is None:
                results.append({"answer": None, "start": None, "end": None, "score": 0.9})
            else:
                start = text.index(said[0])
                results.append({"answer": said[0], "start": start, "end": start + len(said[0]), "score": said[1]})
        return results

    return read


def test_a_reader_finds_the_words_and_their_line(out: Path) -> None:
    found = ask(out, "When does the pool close?", reader=reader_of({"pool": ("nine in the evening", 0.4)}))
    assert found["answer"] == "nine in the evening"
    assert found["citations"][0]["line"] == found["citations"][0]["last_line"] == 4


def test_the_reader_has_the_last_word_and_alone_must_be_sure(out: Path) -> None:
    assert ask(out, "When does the pool close?", reader=reader_of({}))["answer"] is None
    vague = "Is the pool open late?"
    assert ask(out, vague)["answer"] is None
    assert ask(out, vague, reader=reader_of({"pool": ("nine", 0.3)}))["answer"] is None
    assert ask(out, vague, reader=reader_of({"pool": ("nine", 0.8)}))["answer"] == "nine"


# Vectors


@pytest.fixture(scope="module")
def encoder() -> Bundle:
    torch.manual_seed(0)
    tokenizer = train_tokenizer([RULES, CHINESE], 300)
    config = ModelConfig(tokenizer.vocabulary_size, 32, 1, 2, 64, architecture="encoder")
    return Bundle(TextEncoder(config).eval(), config, tokenizer, {"task": "retrieval"})


def load(folder: Path) -> Bundle:
    return load_bundle(folder, lambda _, config: TextEncoder(config))


def test_with_an_encoder_the_index_holds_it_and_the_vectors_of_its_passages(folder: Path, tmp_path: Path, encoder: Bundle) -> None:
    out = tmp_path / "index"
    index_folder(folder, out)
    assert len(index_folder(folder, out, encoder, identity="one").changed) == 5  # none had a vector
    assert len(index_folder(folder, out, encoder, identity="one").unchanged) == 5
    assert len(index_folder(folder, out, encoder, identity="other").changed) == 5
    assert list(out.glob("encoder-*")) == [encoder_folder(out, "other")]
    with PassageIndex.open(out / PASSAGES) as index:
        numbers, vectors = index.vectors()
        texts = [passage.text for passage in index.passages(numbers.tolist())]
    np.testing.assert_allclose(embed(encoder.model, encoder.tokenizer, texts), vectors, atol=1e-5)
    library = Library.open(out, load)
    # No term in common: the vectors alone name passages, and by a text's own vector it comes first.
    hits = library.find("zzz")
    assert len(hits) == 5
    assert library.find(texts[0])[0].passage.text == texts[0]
    assert library.answer("When does the pool close?")["answer"] == "The pool closes at nine in the evening."


def test_an_index_without_its_encoder_is_refused(folder: Path, tmp_path: Path, encoder: Bundle) -> None:
    out = tmp_path / "index"
    index_folder(folder, out, encoder, identity="one")
    encoder_folder(out, "one").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="the index lacks its encoder"):
        Library.open(out, load)
