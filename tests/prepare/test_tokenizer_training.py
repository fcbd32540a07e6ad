"""The round trip is the identity on any string, and the same texts give the same tokenizer."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lodestar.contracts.errors import UserError
from lodestar.contracts.tokenizer import END_OF_TEXT, PAD, Tokenizer
from lodestar.prepare.tokenizer import AheadTokenizer, TokenizerSample, train_character_tokenizer, train_tokenizer

TEXTS = [
    Path(sysconfig.get_path("stdlib"), name).read_text("utf-8") for name in ("argparse.py", "json/decoder.py", "textwrap.py")
] + ["床前明月光，疑是地上霜。举头望明月，低头思故乡。" * 300, "<|endoftext|> and <|pad|> are text here. " * 50]  # fmt: skip
TRICKY = [
    "", " ", "\n",
    "a<|endoftext|>b", "<|pad|><|endoftext|>", "\x00\x01\x7f\x80", "\u200d\u202e\ufeff", "e\u0301é", "👩‍👩‍👧‍👦🇨🇳", "　全角　",
    "\r\n\r",
    "it's we'LL", "12345678", "１２３",
    "    indented\n\t\ttabs  \n\n\n", "日本語テキスト한국어 नमस्ते", "\ufffd\uffff\U0010ffff", " " * 1000 + "x",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained():
    return train_tokenizer(TEXTS, 1000)


@pytest.mark.parametrize("text", TRICKY)
def test_round_trip_of_tricky_strings(trained, text):
    assert trained.decode(trained.encode(text)) == text


@settings(max_examples=400)
@given(st.text(max_size=60) | st.lists(st.sampled_from([*TRICKY, *TEXTS[2].split(" ")[:200]]), max_size=8).map("".join))
def test_round_trip_of_any_string(trained, text):
    ids = trained.encode(text)
    assert trained.decode(ids) == text
    assert all(2 <= one < trained.vocabulary_size for one in ids), "text never becomes a special token"
    assert trained.encode_batch([text]) == [ids]


def test_the_special_tokens_come_first_and_all_bytes_are_known(trained):
    assert (trained.end_of_text, trained.pad, trained.vocabulary_size) == (0, 1, 1000)
    smallest = train_tokenizer(["ab"], 258)
    assert smallest.vocabulary_size == 258
    assert sorted(smallest.encode("".join(map(chr, range(128))))) == sorted(set(smallest.encode("".join(map(chr, range(128))))))
    with pytest.raises(ValueError, match="at least 258 tokens"):
        train_tokenizer(["ab"], 257)


def test_saving_and_loading_changes_nothing(trained, tmp_path):
    (tmp_path / "tokenizer.json").write_text(trained.to_json(), "utf-8")
    loaded = Tokenizer.load(tmp_path)
    for text in TRICKY + TEXTS:
        assert loaded.encode(text) == trained.encode(text)
    assert loaded.to_json() == trained.to_json()


def test_the_same_texts_give_the_same_bytes_in_another_process(trained):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_tokenizer_training as t; "
        "sys.stdout.write(t.train_tokenizer(t.TEXTS, 1000).to_json())"
    )
    command = [sys.executable, "-X", "utf8", "-c", program, str(Path(__file__).parent)]
    again = subprocess.run(command, capture_output=True, check=True, text=True, encoding="utf-8")
    assert again.stdout == trained.to_json()


def test_merges_do_not_cross_words_numbers_and_scripts(trained):
    pieces = [trained.decode([one]) for one in range(2, trained.vocabulary_size)]
    assert " return" in pieces
    assert "明月" in pieces
    for piece in pieces:
        assert sum(sign.isdecimal() for sign in piece) <= 2
        assert " " not in piece.strip(" "), "a blank only leads"
        chinese = [0x4E00 <= ord(sign) <= 0x9FFF for sign in piece if sign != "\ufffd"]
        assert all(chinese) or not any(chinese)


def test_a_damaged_tokenizer_is_refused(tmp_path):
    for content in (b"{", b"\xff", b'{"version": "1.0"}'):
        (tmp_path / "tokenizer.json").write_bytes(content)
        with pytest.raises(UserError, match=r"tokenizer\.json: the tokenizer is damaged"):
            Tokenizer.load(tmp_path)
    with pytest.raises(UserError, match="no tokenizer here"):
        Tokenizer.load(tmp_path / "other")


def test_characters():
    text = "To be, or not\nto be? 好"
    tokenizer = train_character_tokenizer([text, "\t\r"])
    assert tokenizer.vocabulary_size == len(set(text)) + 2 + 3
    assert (tokenizer.end_of_text, tokenizer.pad) == (0, 1)
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert [text[index] for index in sorted(range(len(text)), key=ids.__getitem__)] == sorted(text), "ids are in code point order"
    assert tokenizer.decode(tokenizer.encode("not\tbe\r\n")) == "not\tbe\r\n"
    assert tokenizer.encode("z") == [2]


def test_ahead_answers_as_the_tokenizer_does(trained):
    ahead = AheadTokenizer(trained)
    ahead.prepare(TRICKY)
    for text in [*TRICKY, "not prepared"]:
        assert ahead.encode(text) == trained.encode(text)
    ahead.encode(TRICKY[3]).append(99)
    assert ahead.encode(TRICKY[3]) == trained.encode(TRICKY[3]), "what a caller does to its list stays with the caller"


def test_the_sample_is_bounded_even_and_told(text_task, monkeypatch):
    from lodestar.prepare import tokenizer as module

    examples = [text_task.example(text=f"{number} " + "word " * 20) for number in range(1000)]
    whole = TokenizerSample(text_task.texts, examples, 0)
    assert sorted(whole) == sorted(example.text for example in examples)
    assert (whole.records, whole.bytes) == (1000, sum(len(example.text) for example in examples))
    monkeypatch.setattr(module, "SAMPLE_BYTES", 10_000)
    part = TokenizerSample(text_task.texts, examples, 0)
    numbers = [int(text.split()[0]) for text in part]
    assert 10_000 <= part.bytes < 10_200
    # The mean of 96 of 0…999, within four standard errors.
    assert abs(sum(numbers) / len(numbers) - 499.5) < 4 * 288.7 / len(numbers) ** 0.5
    monkeypatch.setattr(module, "SAMPLE_DISTINCT_BYTES", 30)
    assert len(list(TokenizerSample(text_task.texts, examples, 0))) < 15


def test_end_of_text_and_pad_are_left_out_of_text(trained):
    assert trained.decode([trained.special(END_OF_TEXT), *trained.encode("好"), trained.special(PAD)]) == "好"
