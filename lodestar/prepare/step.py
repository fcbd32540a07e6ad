"""The step: sources → validated records → no duplicates → splits → tokenizer → token shards and the data card.

1. every source is read once, validated, and staged on disk with a key for each record;
2. duplicates and splits are decided on the keys;
3. each split's records are written, the task learns its state and the tokenizer its merges from train alone;
4. each split is encoded, the card and, last, the record are written, and the folder takes its place in one step.

Memory stays bounded whatever the data's size: a few bytes a record, and one batch of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..contracts.clock import timestamp
from ..contracts.errors import UserError
from ..contracts.meter import Meter, versions
from ..contracts.record import RECORD_FILE, RunRecord, fingerprint
from ..contracts.settings import DataSettings
from ..contracts.task import Row, Task
from ..contracts.tokenizer import Tokenizer
from ..store.files import atomic_folder, ensure_space, list_files, read_json, sha256_file, write_atomic, write_json
from .card import LICENCES, TextStatistics, markdown, split_card
from .duplicates import near_duplicates, priority, representatives
from .fit import Fit
from .loader import check_context
from .media import MEDIA, MediaStore, MediaWriter
from .records import Validator
from .shards import Examples, Split, open_split, write_examples, write_tokens
from .sources import SPLITS, TABLES, Sources, find_sources, unreadable
from .splits import assign
from .staging import Staging, examples, made_examples, media_suffixes, stage
from .tokenizer import AheadTokenizer, TokenizerSample, special_tokenizer, train_tokenizer

VERSION = 1
"""Raised with every change to what the step writes, so that old folders are prepared again."""
_DISK_FACTOR = 3
"""Bytes on disk for each byte of the sources: staged and split records side by side (twice 1.03 for the
JSON of English text), or split records and tokens (1.03 and at most 2 bytes for each byte, where nothing merges)."""
_COMPRESSED_FACTOR = 5
"""Text in a compressed byte. # assumed: text shrinks to a quarter, Chinese reviews to less"""


def prepare(
    task: Task, settings: DataSettings, root: Path, out: Path, *, seed: int = 0, context: int | None = None,
    source_context: int | None = None, tokenizer: Tokenizer | None = None,
) -> RunRecord:  # fmt: skip
    """Prepare a task's data in the folder `out`.

    Nothing is done where `out` holds the same work already; a folder of other work gives way to the new one when that is whole.

    Args:
        task: its `state` is learnt here (`fit`) and written to task.json.
        root: what relative sources are relative to.
        seed: decides the sample that the tokenizer learns from, and nothing else.
        context: the model's context; where given, data too short for it is refused and records too long for it are counted.
        source_context: of what is read in a pair, where it differs.
        tokenizer: that of the model to fine-tune, which the task has adopted; one is learnt from the data where absent.

    Raises:
        UserError: the sources, their records or the settings are at fault, or the disk is full; `out` is then as it was.
    """
    started, meter = timestamp(), Meter()
    check_vocabularies(task, settings, fine_tunes=tokenizer is not None)
    assert not task.arrays or task.batching in ("padded", "paired"), "rows that are cut or packed have no arrays"
    holds_files = bool(task.example.media_fields())
    _check_files(settings, holds_files=holds_files)
    sources = find_sources(settings, root, media_suffixes(task), task.builtins(), boxed=task.example.boxed)
    done = _finished(out)
    if done is None:  # else it may be the same work, which needs no space
        ensure_space(out, _needed_bytes(sources))
    inputs = fingerprint_inputs(task, sources, settings)
    if tokenizer is not None:
        inputs["base"] = fingerprint({"tokenizer": tokenizer.files(), "state": task.state})
    config = {"task": task.name or type(task).__name__, "options": task.options, "data": settings.model_dump(), "context": context}
    if source_context is not None:
        config["source_context"] = source_context
    identity = fingerprint({"step": "prepare", "version": VERSION, "config": config, "inputs": inputs, "seed": seed})
    if done is not None and done.id == identity:
        task.state = dict(read_json(out / "task.json")["state"])
        return done
    ensure_space(out, _needed_bytes(sources))
    with atomic_folder(out, replace=True) as folder:
        with MediaWriter(folder / MEDIA) if holds_files else nullcontext() as media:
            staging = stage(task, sources, settings, folder / "staging", media)
        decision = decide(task, staging, settings)
        _write_records(folder, staging, decision)
        staging.remove()
        task.fit(Examples(folder / "train", task))
        samples: list[TokenizerSample] = []
        if tokenizer is None and task.tokenized:
            tokenizer, samples = _train_tokenizer(task, folder, settings, seed)
        elif tokenizer is None:
            tokenizer = special_tokenizer(task.special_tokens)
        for name, content in tokenizer.files().items():
            write_atomic(folder / name, content)
        whole = None if task.batching == "packed" else context
        fits = {name: Fit(settings.too_long, whole, source_context) for name in decision.names}
        statistics = {name: _encode(task, folder / name, tokenizer, fits[name], whole) for name in decision.names}
        for name, fit in fits.items():
            fit.check(name)
        splits = {name: open_split(folder, name) for name in decision.names}
        if context is not None and task.batching == "packed":
            check_context(splits["train"], context)
        card = _card(task, sources, staging, decision, splits, statistics, fits, tokenizer, samples, context)
        if holds_files:
            store = MediaStore(folder / MEDIA)
            card["files"] = {"kept": store.files, "bytes": store.bytes}
        write_json(folder / "task.json", task.describe())
        write_json(folder / "card.json", card)
        write_atomic(folder / "card.md", markdown(card))
        record = RunRecord(
            step="prepare", id=identity, started=started, finished=timestamp(), config=config, inputs=inputs,
            outputs={file.relative_to(folder).as_posix(): sha256_file(file) for file in list_files(folder)},
            facts={key: card[key] for key in ("splits", "dropped", "tokenizer")},
            cost=meter.cost(), versions=versions("numpy", "tokenizers"), seed=seed,
        )  # fmt: skip
        write_json(folder / RECORD_FILE, record.model_dump())
    return record


def _check_files(settings: DataSettings, *, holds_files: bool) -> None:
    """Refuse to look for near duplicates among records that are files."""
    if holds_files and settings.deduplicate == "near":
        fix = "set it to exact, which tells equal files by their content, or to no"
        raise UserError("near duplicates are told by their words, and these records are files", where="data.deduplicate", fix=fix)


def check_vocabularies(task: Task, settings: DataSettings, *, fine_tunes: bool) -> None:
    """Refuse a vocabulary of its own for what is read, where there can be none.

    Raises:
        UserError: the task, or the model to fine-tune, has one vocabulary.
    """
    if settings.source_vocabulary is None:
        return
    where, fix = "data.source_vocabulary", "leave it out: data.vocabulary is then for all texts"
    if fine_tunes:
        raise UserError("the model to begin from brings its tokenizer", where=where, fix="leave it out")
    if not task.separable:
        raise UserError(
            f"the task {task.name or type(task).__name__} has, with its options, one vocabulary for what it reads and writes",
            where=where,
            fix=fix,
        )


def fingerprint_inputs(task: Task, sources: Sources, settings: DataSettings) -> dict[str, str]:
    """Source → hash of the names and contents of its files, and of the files that their records name; of the sample, of its records. Times
    and places make no difference.
    """
    hashes: dict[str, Any] = {}
    for file in sources.files:
        try:
            content = "".join(sha256_file(path) for path in file.paths)
        except OSError as error:
            raise unreadable(file.path, error) from None
        hashes.setdefault(file.source, hashlib.sha256()).update(f"{file.name}\0{file.split}\0{content}\n".encode())
        hashes[file.source].update(repr(file.classes).encode() if file.classes else b"")
    if task.example.media_fields():
        tables = replace(sources, files=[file for file in sources.files if file.kind in TABLES], made={})
        nothing = [dict[str, str]() for _ in tables.files]
        for example, _, source, _ in examples(task, tables, settings.columns, Validator(task.example, settings.columns), nothing):
            for media in example.media():
                hashes[source].update(f"{media.sha256}\n".encode())
    inputs = {source: total.hexdigest() for source, total in hashes.items()}
    for source in sources.made:
        inputs[source] = fingerprint([example.model_dump(mode="json") for example in made_examples(task, source)])
    return inputs


@dataclass
class Decision:
    """Which records stay, and where."""

    split: np.ndarray
    """An index into `SPLITS`, or -1 for a record that is dropped (n,)."""
    duplicates: int = 0
    near_duplicates: int = 0
    leaked: int = 0
    """Dropped because a split that judges holds the same record."""

    @property
    def names(self) -> list[str]:
        """The splits that hold records; train always does."""
        return [name for index, name in enumerate(SPLITS) if (self.split == index).any()]


def decide(task: Task, staging: Staging, settings: DataSettings) -> Decision:
    """Drop duplicates, assign the splits, and drop from train what an evaluation split holds, too.

    Raises:
        UserError: fewer records are left than there are splits to fill.
    """
    keys = staging.keys
    high, low, explicit = np.array(keys["high"]), np.array(keys["low"]), np.array(keys["split"])
    rank = priority(explicit)
    dropped = np.zeros(len(keys), bool)
    decision = Decision(np.full(len(keys), -1, np.int8))
    if settings.deduplicate != "no":
        stays = representatives(high, low, rank)
        dropped = stays != np.arange(len(stays))
        # Explicit splits differ: the record that goes is a leak, not a repetition.
        leaked = (explicit != explicit[stays]) & (rank[stays] < 2)
        decision.leaked = int(leaked.sum())
        decision.duplicates = int(dropped.sum()) - decision.leaked
    if settings.deduplicate == "near":
        kept = np.flatnonzero(~dropped)
        texts = ("\n".join(task.texts(task.example.model_validate_json(line))) for line in staging.lines(kept))
        near = near_duplicates(texts, len(kept), rank[kept], staging.folder / "signatures.bin")
        dropped[kept[near]] = True
        decision.near_duplicates = int(near.sum())
    kept = np.flatnonzero(~dropped)
    split = assign(np.array(keys["unit"])[kept], explicit[kept], settings)
    # Equal records can still meet where duplicates stay, or where a path decided the split.
    leaks = split != split[representatives(high[kept], low[kept], priority(split))]
    decision.leaked += int(leaks.sum())
    decision.split[kept[~leaks]] = split[~leaks]
    if "train" not in decision.names:
        fix = "give other records to train on"
        raise UserError("every training record is in an evaluation split, too", where="data.splits", fix=fix)
    return decision


def _finished(out: Path) -> RunRecord | None:
    path = out / RECORD_FILE
    try:
        return RunRecord.parse(read_json(path), where=path) if path.is_file() else None
    except UserError:
        return None  # damaged, or of another version: it is prepared again


def _needed_bytes(sources: Sources) -> int:
    text = sum(file.size * (_COMPRESSED_FACTOR if file.compression or file.kind == "parquet" else 1) for file in sources.files)
    return _DISK_FACTOR * text + (16 << 20)


def _write_records(folder: Path, staging: Staging, decision: Decision) -> None:
    for index, name in enumerate(SPLITS):
        chosen = np.flatnonzero(decision.split == index)
        if len(chosen):
            write_examples(folder / name, staging.lines(chosen), len(chosen))


def _train_tokenizer(task: Task, folder: Path, settings: DataSettings, seed: int) -> tuple[Tokenizer, list[TokenizerSample]]:
    """The tokenizer, and the texts that it was learnt from: of each side, where what is read has a vocabulary of its own."""
    examples = Examples(folder / "train", task)

    def learn(texts: Callable[[Any], Iterable[str]], vocabulary: int) -> tuple[Tokenizer, TokenizerSample]:
        sample = TokenizerSample(texts, examples, seed)
        return train_tokenizer(sample, vocabulary, task.special_tokens, single_characters=task.single_characters), sample

    if settings.source_vocabulary is None:
        tokenizer, sample = learn(task.texts, settings.vocabulary)
        return tokenizer, [sample]
    source, read = learn(lambda example: task.sides(example)[0], settings.source_vocabulary)
    target, written = learn(lambda example: task.sides(example)[1], settings.vocabulary)
    return Tokenizer(target.backend, source=source), [read, written]


def _encode(task: Task, folder: Path, tokenizer: Tokenizer, fit: Fit, context: int | None) -> TextStatistics:
    """Write the shards of one split; returns what its texts are like."""
    statistics, ahead = TextStatistics(), AheadTokenizer(tokenizer)

    def look(batch: Sequence[Any]) -> None:
        texts = [text for example in batch for text in task.texts(example)]
        if tokenizer.source_vocabulary_size is None:
            ahead.prepare(texts)
        else:
            sides = [task.sides(example) for example in batch]
            ahead.prepare([text for _, written in sides for text in written], [text for read, _ in sides for text in read])
        for text in texts:
            statistics.add(text)
        statistics.records += len(batch)

    def rows(example: Any) -> list[Row]:
        return [fit(row) for row in task.rows(example, ahead, context)]

    vocabulary = tokenizer.vocabulary_size if task.tokenized else int(task.architecture().get("vocabulary_size", 0))
    vocabulary = max(vocabulary, tokenizer.source_vocabulary_size or 0)
    write_tokens(folder, Examples(folder, task), rows, vocabulary, look, f"encode {folder.name}", task.arrays)
    statistics.flush()
    return statistics


def _card(
    task: Task, sources: Sources, staging: Staging, decision: Decision, splits: dict[str, Split],
    statistics: dict[str, TextStatistics], fits: dict[str, Fit], tokenizer: Tokenizer, samples: Sequence[TokenizerSample],
    context: int | None,
) -> dict[str, Any]:  # fmt: skip
    return {
        "task": task.name or type(task).__name__,
        "context": context,
        "too_long": next(iter(fits.values())).choice,
        "sources": [
            {"source": source, "records": count, "licence": LICENCES.get(source)} for source, count in staging.by_source.items()
        ],
        "splits": {name: split_card(split.record_lengths, statistics[name], fits[name]) for name, split in splits.items()},
        "dropped": {
            "duplicates": decision.duplicates, "near_duplicates": decision.near_duplicates, "leaked": decision.leaked,
            "blank": staging.blank,
        },
        "ignored_columns": dict(staging.ignored),
        **({"repaired": {"count": staging.repaired, **task.example.repaired._asdict()}} if staging.repaired else {}),
        "skipped_files": dict(sources.skipped),
        "tokenizer": {
            "text": task.tokenized,
            "vocabulary": tokenizer.vocabulary_size,
            **({} if tokenizer.source_vocabulary_size is None else {"source_vocabulary": tokenizer.source_vocabulary_size}),
            "sample_bytes": sum(sample.bytes for sample in samples),
            "sample_records": max((sample.records for sample in samples), default=0),
        },
    }  # fmt: skip
