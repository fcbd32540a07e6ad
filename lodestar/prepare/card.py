"""The data card: what the data is, for people (English and Chinese) and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..contracts.language import Words
from ..store.files import human_bytes
from .fit import Fit
from .sources import SAMPLE, STANDARD_LIBRARY

LICENCES = {STANDARD_LIBRARY: "PSF-2.0", SAMPLE: "Apache-2.0"}
"""The licences of the sources that come with Lodestar; for others, the card says that none is stated."""


@dataclass
class TextStatistics:
    """Records; bytes, characters and scripts of their texts, told from their UTF-8."""

    records: int = 0
    utf8_bytes: int = 0
    characters: int = 0
    east_asian: int = 0
    """Chinese, Japanese and Korean characters."""
    _held: list[bytes] = field(default_factory=list)
    _held_bytes: int = 0

    def add(self, text: str) -> None:
        """Count a text; they are looked at a megabyte at a time."""
        self._held.append(text.encode())
        self._held_bytes += len(self._held[-1])
        if self._held_bytes >= 1 << 20:
            self.flush()

    def flush(self) -> None:
        """Count what is held back."""
        data = np.frombuffer(b"".join(self._held), np.uint8)
        self.utf8_bytes += len(data)
        self.characters += int(((data & 0xC0) != 0x80).sum())
        # First bytes E3–E9 are U+3000–U+9FFF (kana, Han and their punctuation), EA–ED nearly all Hangul.
        self.east_asian += int(((data >= 0xE3) & (data <= 0xED)).sum())
        self._held, self._held_bytes = [], 0


def split_card(lengths: np.ndarray, text: TextStatistics, fit: Fit) -> dict[str, Any]:
    """What the card says of one split.

    Args:
        lengths: tokens in each row (n,): a record, or a window of a long one.
        fit: what was found too long for the context.
    """
    tokens = int(lengths.sum())
    quantiles = np.quantile(lengths, [0, 0.5, 0.95, 1]).astype(int).tolist() if len(lengths) else [0] * 4
    return {
        "records": text.records,
        "rows": len(lengths),
        "tokens": tokens,
        "bytes": text.utf8_bytes,
        "characters": text.characters,
        "east_asian_share": round(text.east_asian / max(text.characters, 1), 4),
        "bytes_per_token": round(text.utf8_bytes / max(tokens, 1), 3),
        "length": dict(zip(("shortest", "median", "p95", "longest"), quantiles, strict=True)),
        "truncated": fit.records,
        "tokens_lost": fit.tokens,
    }


def files_line(files: Mapping[str, int]) -> Words:
    """What is said of the files that the records hold."""
    size = human_bytes(files["bytes"])
    return Words(
        f"{files['kept']:,} files, {size}, kept as they came, each once; what tells two apart is their content",
        f"{files['kept']:,} 个文件，共 {size}，原样保存，每个只存一份；是否相同看内容",
    )


def markdown(card: Mapping[str, Any]) -> str:
    """The card for a person: English first, then Chinese."""
    return "\n".join([*_page(card, "en"), "", *_page(card, "zh"), ""])


def _page(card: Mapping[str, Any], language: Any) -> list[str]:
    def say(en: str, zh: str) -> str:
        return Words(en, zh).in_language(language)

    out = [say("# Data card", "# 数据卡"), ""]
    out += [say(f"Task: {card['task']}.", f"任务：{card['task']}。"), ""]
    out += [say("| source | records | licence |", "| 来源 | 记录数 | 许可 |"), "|---|---:|---|"]
    for source in card["sources"]:
        licence = source["licence"] or say("not stated", "未说明")
        out.append(f"| `{source['source']}` | {source['records']:,} | {licence} |")
    if "files" in card:
        out += ["", files_line(card["files"]).in_language(language)]
    if not card["tokenizer"]["text"]:
        out += ["", *_rows_without_text(card, language)]
        return out + _listed(card, language)
    out += ["", say(
        "| split | records | tokens | bytes | bytes per token | tokens a record: shortest, median, 95%, longest | East Asian characters |",
        "| 划分 | 记录数 | 词元数 | 字节数 | 每词元字节 | 每条记录词元数：最短、中位、95%、最长 | 中日韩字符占比 |",
    ), "|---|---:|---:|---:|---:|---|---:|"]  # fmt: skip
    for name, split in card["splits"].items():
        length = ", ".join(f"{value:,}" for value in split["length"].values())
        out.append(
            f"| {name} | {split['records']:,} | {split['tokens']:,} | {split['bytes']:,} | {split['bytes_per_token']:.2f} "
            f"| {length} | {split['east_asian_share']:.1%} |"
        )
    return out + _listed(card, language)


def _rows_without_text(card: Mapping[str, Any], language: Any) -> list[str]:
    """The table of the splits, where records hold no text that a model reads."""
    out = [
        Words(
            "| split | records | positions of the model a record: shortest, median, 95%, longest |",
            "| 划分 | 记录数 | 每条记录占模型位置数：最短、中位、95%、最长 |",
        ).in_language(language),
        "|---|---:|---|",
    ]
    for name, split in card["splits"].items():
        out.append(f"| {name} | {split['records']:,} | {', '.join(f'{value:,}' for value in split['length'].values())} |")
    return out


def _listed(card: Mapping[str, Any], language: Any) -> list[str]:
    notes = [words.in_language(language) for words in _notes(card)]
    return ["", *(f"- {note}" for note in notes)] if notes else []


def too_long(card: Mapping[str, Any], name: str) -> Words:
    """What became of the records of a split that are longer than the context."""
    split, context, dropped = card["splits"][name], card["context"], card["too_long"] == "drop"
    records, count, lost = split["records"], split["truncated"], split["tokens_lost"]
    share = lost / max(split["tokens"] + dropped * lost, 1)
    en, zh = ("are left out of training", "不参与训练") if dropped else ("lose their end", "末尾将被截断")
    return Words(
        f"{count:,} of {records:,} records of {name} are longer than the context of {context} and {en}: {lost:,} tokens, {share:.1%}",
        f"{name} 的 {records:,} 条记录中有 {count:,} 条超过上下文长度 {context}，{zh}：共 {lost:,} 个词元，占 {share:.1%}",
    )


def _notes(card: Mapping[str, Any]) -> list[Words]:
    """What was left out or done to the data, said where it happened."""
    dropped, tokenizer = card["dropped"], card["tokenizer"]
    notes: list[Words] = []
    for key, en, zh in (
        ("duplicates", "equal to another record", "与另一条记录相同"),
        ("near_duplicates", "nearly equal to another record", "与另一条记录近似"),
        ("leaked", "an evaluation split holds the same record", "评估划分中有相同记录"),
        ("blank", "no text in them", "没有文本"),
    ):
        if dropped[key]:
            notes.append(Words(f"{dropped[key]:,} dropped: {en}", f"删除 {dropped[key]:,} 条：{zh}"))
    for name, split in card["splits"].items():
        records, rows = split["records"], split["rows"]
        if rows != records:
            notes.append(
                Words(f"{name}: {records:,} records are read in {rows:,} windows", f"{name}：{records:,} 条记录分 {rows:,} 个窗口读取")
            )
        if split["truncated"]:
            notes.append(too_long(card, name))
    if "repaired" in card:
        repaired = card["repaired"]
        notes.append(Words(f"{repaired['en']}: {repaired['count']:,}", f"{repaired['zh']}：{repaired['count']:,}"))
    for column, count in card["ignored_columns"].items():
        notes.append(Words(f"column `{column}` ignored ({count:,} records)", f"忽略了列 `{column}`（{count:,} 条记录）"))
    for suffix, count in card["skipped_files"].items():
        notes.append(Words(f"{count:,} files `{suffix}` skipped: no records in them", f"跳过了 {count:,} 个 `{suffix}` 文件：其中没有记录"))
    if not tokenizer["text"]:
        return notes
    if not tokenizer["sample_bytes"]:
        size = tokenizer["vocabulary"]
        return [*notes, Words(f"tokenizer: the base model's, {size:,} tokens", f"分词器：沿用基座模型，{size:,} 个词元")]
    sampled, total = tokenizer["sample_bytes"], card["splits"]["train"]["bytes"]
    part = Words("", "") if sampled >= total else Words(f" (an even sample of {total:,})", f"（在 {total:,} 字节中均匀抽样）")
    size, read = tokenizer["vocabulary"], tokenizer.get("source_vocabulary")
    en, zh = f"tokenizer: {size:,} tokens", f"分词器：{size:,} 个词元"
    if read is not None:
        en, zh = f"tokenizers: {read:,} tokens to read and {size:,} to write", f"分词器：读 {read:,} 个词元，写 {size:,} 个词元"
    notes.append(Words(f"{en}, learnt from {sampled:,} bytes of train{part.en}", f"{zh}，学自训练划分的 {sampled:,} 字节{part.zh}"))
    return notes
