"""The whole step: from files to a prepared folder, or to one sentence and nothing written."""

import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lodestar.contracts.errors import UserError
from lodestar.contracts.record import RunRecord
from lodestar.contracts.settings import DataSettings
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.prepare import PackedLoader, open_split, prepare
from lodestar.store.files import read_json


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def notes(count, start=0):
    return jsonl({"text": f"note {number}: 第{number}条"} for number in range(start, start + count))


def texts(folder, split, task):
    return [example.text for example in open_split(folder, split).examples(task)]


def all_texts(folder, task):
    return [text for split in ("train", "validation", "test") if (folder / split).exists() for text in texts(folder, split, task)]


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_holds_every_record_once_with_its_tokens(write, tmp_path, text_task):
    write("data/notes.jsonl", notes(300))
    out = tmp_path / "out"
    record = prepare(text_task, DataSettings(sources=["data"], validation=0.1, test=0.2, vocabulary=400), tmp_path, out)
    assert sorted(all_texts(out, text_task)) == sorted(f"note {number}: 第{number}条" for number in range(300))
    assert sorted(path.name for path in out.iterdir()) == [
        "card.json", "card.md", "record.json", "task.json", "test", "tokenizer.json", "train", "validation"
    ]  # fmt: skip
    tokenizer = Tokenizer.load(out)
    assert tokenizer.vocabulary_size <= 400
    for name in ("train", "validation", "test"):
        split = open_split(out, name)
        for place, example in enumerate(split.examples(text_task)):
            ids = split.tokens[split.offsets[place] : split.offsets[place + 1]].tolist()
            assert ids == [*tokenizer.encode(example.text), tokenizer.end_of_text]
    assert RunRecord.parse(read_json(out / "record.json"), where="record") == record
    assert record.outputs == {
        name: hashlib.sha256(data).hexdigest() for name, data in content(out).items() if name != "record.json"
    }  # fmt: skip
    PackedLoader(open_split(out, "train"), rows=2, context=16, seed=0).next_batch()


def test_a_task_learns_its_state_from_train_and_its_numbers_are_kept(write, tmp_path, label_task):
    write("data/a.csv", "title,text,label\n" + "".join(f"t,review {n},{'好坏'[n % 2]}\n" for n in range(100)))
    prepare(label_task, DataSettings(sources=["data/a.csv"], vocabulary=300), tmp_path, tmp_path / "out", context=4)
    assert read_json(tmp_path / "out" / "task.json") == {"task": "", "options": {}, "state": {"labels": ["坏", "好"]}}
    split = open_split(tmp_path / "out", "train")
    labels = [label_task.state["labels"][index] for index in split.numbers["label"]]
    assert labels == [example.label for example in split.examples(label_task)]
    assert split.sequences["places"][:3].tolist() == [0, 1, 2]
    card = read_json(tmp_path / "out" / "card.json")
    assert card["ignored_columns"] == {"title": 100}
    assert card["splits"]["train"]["truncated"] == int((split.lengths > 4).sum()) > 0


def test_the_same_work_is_not_done_twice_and_other_work_takes_its_place(write, tmp_path, label_task):
    write("data/a.jsonl", jsonl({"text": f"review {n}", "label": str(n % 2)} for n in range(50)))
    settings, out = DataSettings(sources=["data"], vocabulary=300), tmp_path / "out"
    first = prepare(label_task, settings, tmp_path, out)
    before, made = content(out), (out / "record.json").stat().st_mtime_ns
    os.utime(tmp_path / "data" / "a.jsonl", (0, 0))
    fresh = type(label_task)()
    assert prepare(fresh, settings, tmp_path, out) == first
    assert fresh.state == {"labels": ["0", "1"]}, "what it would have learnt"
    assert (out / "record.json").stat().st_mtime_ns == made
    for changed in (settings.model_copy(update={"test": 0.2}), settings.model_copy(update={"vocabulary": 280})):
        assert prepare(label_task, changed, tmp_path, out).id != first.id
    again = prepare(label_task, settings, tmp_path, out)
    assert (again.id, again.outputs) == (first.id, first.outputs)
    assert {name: data for name, data in content(out).items() if name != "record.json"} == {
        name: data for name, data in before.items() if name != "record.json"
    }, "the same input gives the same bytes"
    write("data/a.jsonl", jsonl({"text": f"review {n}", "label": str(n % 2)} for n in range(51)))
    assert prepare(label_task, settings, tmp_path, out).id != first.id


def test_records_keep_their_split_when_more_come(write, tmp_path, text_task):
    settings = DataSettings(sources=["data"], validation=0.2, test=0.2, vocabulary=300)
    write("data/b.jsonl", notes(100))
    prepare(text_task, settings, tmp_path, tmp_path / "small")
    write("data/a.jsonl", notes(200, start=100))
    prepare(text_task, settings, tmp_path, tmp_path / "large")
    for split in ("train", "validation", "test"):
        assert set(texts(tmp_path / "small", split, text_task)) <= set(texts(tmp_path / "large", split, text_task))


def test_duplicates_are_dropped_before_the_split_and_counted(write, tmp_path, text_task):
    write("data/a.jsonl", notes(50) + notes(10) + jsonl([{"text": " note 1: 第1条\r\n"}, {"text": "  "}, {"text": ""}]))
    card = {}
    for mode, kept, dropped in (("exact", 50, 11), ("no", 61, 0)):
        settings = DataSettings(sources=["data"], deduplicate=mode, vocabulary=300)
        prepare(text_task, settings, tmp_path, tmp_path / mode)
        card = read_json(tmp_path / mode / "card.json")
        assert card["dropped"] == {"duplicates": dropped, "near_duplicates": 0, "leaked": 0, "blank": 2}
        assert len(all_texts(tmp_path / mode, text_task)) == kept
    words = " ".join(f"w{n}" for n in range(200))
    write("data/b.jsonl", jsonl([{"text": words}, {"text": words + " more"}]))
    prepare(text_task, DataSettings(sources=["data"], deduplicate="near", vocabulary=300), tmp_path, tmp_path / "near")
    dropped_now = read_json(tmp_path / "near" / "card.json")["dropped"]
    assert dropped_now["duplicates"] == 11
    assert dropped_now["near_duplicates"] >= 1
    assert sum(text.startswith("w0 w1 ") for text in all_texts(tmp_path / "near", text_task)) == 1


@pytest.mark.parametrize("mode", ["exact", "no"])
def test_explicit_splits_are_respected_and_what_they_judge_is_not_trained_on(write, tmp_path, text_task, mode):
    write("data/train.jsonl", notes(100))
    write("data/val.jsonl", notes(30, start=90))
    write("data/test.jsonl", notes(30, start=110))
    settings = DataSettings(
        sources=["data"], splits={"validation": ["data/val.jsonl"], "test": ["data/test.jsonl"]}, deduplicate=mode, vocabulary=300
    )
    prepare(text_task, settings, tmp_path, tmp_path / "out")
    numbers = {
        split: [int(text.split(":")[0].removeprefix("note ")) for text in texts(tmp_path / "out", split, text_task)]
        for split in ("train", "validation", "test")
    }
    assert numbers == {"train": [*range(90)], "validation": [*range(90, 110)], "test": [*range(110, 140)]}
    assert read_json(tmp_path / "out" / "card.json")["dropped"]["leaked"] == 20
    page = (tmp_path / "out" / "card.md").read_text("utf-8")
    assert "20 dropped: an evaluation split holds the same record" in page
    assert "删除 20 条：评估划分中有相同记录" in page


def test_passages_of_plain_files_and_their_paths(write, tmp_path, page_task):
    for name in ("a.py", "b/c.py"):
        write(f"code/{name}", f"# {name}\n")
    write("code/long.md", "line of text\n" * 10_000)
    prepare(page_task, DataSettings(sources=["code"], validation=0, test=0, vocabulary=300), tmp_path, tmp_path / "out")
    paths = [example.path for example in open_split(tmp_path / "out", "train").examples(page_task)]
    assert paths == ["code/a.py", "code/b/c.py", "code/long.md", "code/long.md#2"]
    with pytest.raises(UserError, match=r"no test split here; give it a share with data\.validation"):
        open_split(tmp_path / "out", "test")


def test_the_sample_and_a_single_small_file_fill_every_split(write, tmp_path, text_task):
    prepare(text_task, DataSettings(sources=["builtin:sample"], vocabulary=300), tmp_path, tmp_path / "sample")
    assert len(all_texts(tmp_path / "sample", text_task)) == 30
    write("poems.txt", "\n\n".join(f"第{number}首：春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。" for number in range(60)))
    prepare(text_task, DataSettings(sources=["poems.txt"], vocabulary=300), tmp_path, tmp_path / "poems")
    for split in ("train", "validation", "test"):
        assert texts(tmp_path / "poems", split, text_task)


def test_real_sets_keep_their_splits(shared_data, tmp_path, label_task):
    """ChnSentiCorp as it is published: compressed CSV, its own splits, labels 0 and 1."""
    folder = shared_data / "classification" / "chnsenticorp-hotel-zh"
    settings = DataSettings(
        sources=[str(folder)], vocabulary=300,
        splits={"validation": [str(folder / "val.csv.gz")], "test": [str(folder / "test.csv.gz")]},
    )  # fmt: skip
    record = prepare(label_task, settings, tmp_path, tmp_path / "out")
    splits, dropped = record.facts["splits"], record.facts["dropped"]
    assert label_task.state == {"labels": ["0", "1"]}
    assert splits["test"]["records"] <= 854
    assert sum(split["records"] for split in splits.values()) + sum(dropped.values()) == 5429 + 560 + 854
    assert all(split["east_asian_share"] > 0.7 for split in splits.values())
    assert str(folder) not in (tmp_path / "out" / "train" / "examples.jsonl").read_text("utf-8")


# Bad input: one sentence, nothing half-written


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"the file is empty; give a file with records\.$"),
        (b"\n\n", r"data\.sources: the sources hold no records; give records with text in them\.$"),
        (b'{"text": " "}\n', r"data\.sources: the only record is blank; give records with text in them\.$"),
        (b'{"text": " "}\n{"text": ""}\n', r"data\.sources: all 2 records are blank; give records with text in them\.$"),
        (b'{"text": "a"}\n{"text": "b"\n', r"data\.jsonl:2: bad JSON: .+; correct the record\.$"),
        (b'{"text": "a"}\n{"txt": "b"}\n',
         r"data\.jsonl:2: no column 'text'; the columns found are txt; set data\.columns: \{text: txt\}\.$"),
        (b'{"text": 1}\n', r"data\.jsonl:1: the field 'text' is 1: input should be a valid string; correct the record, .+\.$"),
        (b'{"text": "\xff"}\n', r"data\.jsonl:1: not UTF-8 at byte 10; save the file as UTF-8 .+\.$"),
        (b'{"text": "\\ud800"}\n', r"data\.jsonl:1: half a surrogate pair, which is no character; correct the escape .+\.$"),
        (b'{"text": "a"}\n{"text": "b"}\n',
         r"data: 2 records are too few to fill train, validation, test \(.+\); give more records, .+\.$"),
    ],
)  # fmt: skip
def test_bad_records_are_refused(write, text_task, refusal, content, sentence):
    import re

    write("data.jsonl", content)
    assert re.search(sentence, refusal(text_task, sources=["data.jsonl"]))


def test_bad_sources_and_settings_are_refused(write, text_task, refusal, tmp_path):
    write("data/a.jsonl", notes(10))
    assert "no such file or folder; did you mean data." in refusal(text_task, sources=["date"])
    assert "unknown field 'txt'; did you mean 'text'?" in refusal(text_task, columns={"txt": "body"})
    write("data/b.txt.gz", gzip.compress(b"text")[:-4])
    assert "b.txt.gz: the compressed file is damaged" in refusal(text_task)
    with pytest.raises(UserError, match=r"validation \(0\.6\) and test \(0\.4\) leave nothing to train on; lower one"):
        DataSettings.parse({"sources": ["data"], "validation": 0.6, "test": 0.4}, where="venture.yaml")


def test_what_is_only_in_evaluation_splits_cannot_train(write, text_task, refusal):
    write("data/a.jsonl", notes(10))
    write("data/b.jsonl", notes(10))
    sentence = refusal(text_task, splits={"test": ["data/b.jsonl"]}, validation=0, deduplicate="no")
    assert sentence == "data.splits: every training record is in an evaluation split, too; give other records to train on."


def test_a_context_longer_than_the_data_is_refused(write, text_task, tmp_path):
    write("data/a.jsonl", notes(20))
    with pytest.raises(UserError, match=r"model\.context: the train split has \d+ tokens, too few for one row of the context 4096"):
        prepare(text_task, DataSettings(sources=["data"], vocabulary=300), tmp_path, tmp_path / "out", context=4096)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_failed_run_leaves_the_last_good_one(write, text_task, tmp_path):
    write("data/a.jsonl", notes(20))
    settings = DataSettings(sources=["data"], vocabulary=300)
    prepare(text_task, settings, tmp_path, tmp_path / "out")
    before = content(tmp_path / "out")
    write("data/a.jsonl", notes(20) + "{")
    with pytest.raises(UserError):
        prepare(text_task, settings, tmp_path, tmp_path / "out")
    assert content(tmp_path / "out") == before


def test_too_little_disk_space_is_told_before_anything_is_read(tmp_path, text_task, refusal):
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(8 << 40)  # a sparse file of 8 TiB takes no space itself
    assert " on disk, and " in refusal(text_task, sources=["huge.txt"])


def test_a_disk_that_fills_up_on_the_way_leaves_nothing(write, tmp_path):
    """A limit on the size of files is met as a full disk is: by an error of the system in the middle of a write."""
    write("data/a.jsonl", notes(3000))
    program = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import TextToy
from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import DataSettings
from lodestar.prepare import prepare

resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
root = Path(sys.argv[2])
try:
    prepare(TextToy(), DataSettings(sources=["data"], vocabulary=300), root, root / "out")
except UserError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path)], capture_output=True, check=True, text=True
    )
    assert done.stdout == f"{tmp_path / 'out'}: no space to write (File too large); free some space and run it again.\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_preparing_needs_no_torch(write, tmp_path):
    """`prepare` of a task that needs none runs without torch, so that its memory is the data's alone."""
    program = "import sys, lodestar.prepare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
