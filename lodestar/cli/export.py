"""Write a model for another program: Hugging Face's libraries, llama.cpp (GGUF) or an ONNX runtime.

导出模型供其他程序使用：Hugging Face 各库、llama.cpp（GGUF）或 ONNX 运行时。
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ..contracts.errors import UserError
from ..contracts.language import say
from ._command import lodestar_command, show

if TYPE_CHECKING:
    from torch import nn

    from ..build.chat_template import ChatFormat
    from ..contracts.tokenizer import Tokenizer

Kind = Literal["f32", "f16", "q8_0", "q4_0"]


@lodestar_command()
@click.argument("source", metavar=say("FOLDER_OR_HUB_ID", "目录或编号"))
@click.argument("destination", type=click.Path(path_type=Path), metavar=say("DEST", "目标"))
@click.option(
    "--format", "form", type=click.Choice(["huggingface", "gguf", "onnx"]), required=True,
    help=say("A folder for Hugging Face's libraries, or one file.", "供 Hugging Face 各库使用的目录，或单个文件。"),
)  # fmt: skip
@click.option(
    "--kind", type=click.Choice(["f32", "f16", "q8_0", "q4_0"]),
    help=say("How GGUF holds weights: 32, 16, about 8 (the default) or 4 bits each.", "GGUF 中权重的位数：32、16、约 8（默认）或约 4。"),
)  # fmt: skip
def command(source: str, destination: Path, form: str, kind: Kind | None) -> None:
    from ..build.opening import find_folder

    if os.path.lexists(destination):
        raise UserError("already exists", where=destination, fix="remove it, or choose another name")
    if kind is not None and form != "gguf":
        raise UserError(f"--kind is of GGUF files, and the format is {form}", fix="leave it out, or give --format gguf")
    found = _open(find_folder(source), in_float32=form == "onnx")
    if form == "huggingface":
        made = _to_huggingface(found, destination)
    elif form == "gguf":
        made = _to_gguf(found, destination, kind or "q8_0")
    else:
        made = _to_onnx(found, destination)
    show(asdict(made), made.text())


@dataclass(frozen=True)
class Exported:
    """What was written, and what was not."""

    path: str
    format: str
    bytes: int
    changed: list[str]
    """What is other than in the source, in the reader's language."""
    left_out: list[str]
    next: str

    def text(self) -> str:
        """The same for a person."""
        from ..store.files import human_bytes

        size = human_bytes(self.bytes)
        lines = [say(f"Wrote {self.path} ({self.format}, {size}).", f"已写入 {self.path}（{self.format}，{size}）。"), *self.changed]
        lines += [say(f"Left out: {what}", f"未写入：{what}") for what in self.left_out]
        return "\n".join([*lines, say(f"Next: {self.next}", f"下一步：{self.next}")])


@dataclass(frozen=True)
class _Model:
    """A model's folder of either kind, opened for writing."""

    folder: Path
    model: nn.Module
    tokenizer: Tokenizer | None
    chat_template: str | None
    is_open: bool
    changed: list[str]


def _open(folder: Path, *, in_float32: bool) -> _Model:
    """Read a folder that `transformers` saved, an imported one or a release; of the first kind any architecture, not decoders alone."""
    import torch

    from ..build.chat import Conversing
    from ..build.chat_template import ChatFormat, has_template
    from ..build.formats import load_model, load_tokenizer
    from ..build.ngram_votes import VotingClassifier
    from ..build.opening import is_open, open_bundle, open_config
    from ..build.quantize import dequantize
    from ..contracts.tokenizer import TOKENIZER
    from ._opening import task_for

    # What is no encoder is refused soon, so its weights need no conversion before.
    dtype = torch.float32 if in_float32 and open_config(folder).architecture == "encoder" else None
    if is_open(folder):
        model = load_model(folder, dtype=dtype)
        tokenizer = load_tokenizer(folder) if (folder / TOKENIZER).is_file() else None
        template = ChatFormat.load(folder).template if tokenizer is not None and has_template(folder) else None
        return _Model(folder, model, tokenizer, template, True, [])
    task = task_for(folder)
    bundle = open_bundle(folder, task, dtype=dtype)
    if isinstance(bundle.model, VotingClassifier):
        raise UserError(
            "the model decides with n-grams beside its encoder, which no open format holds", where=folder,
            fix="export one that was trained without options.ngrams",
        )  # fmt: skip
    changed = []
    if getattr(bundle.model, "quantization", None) is not None:
        dequantize(bundle.model)
        changed.append(say("The weights were codes, and were made numbers first.", "权重原为量化编码，已先还原为数值。"))
    form = task.form if isinstance(task, Conversing) else None
    return _Model(folder, bundle.model, _named(bundle.tokenizer, form), None if form is None else form.template, False, changed)


def _named(tokenizer: Tokenizer, form: ChatFormat | None) -> Tokenizer:
    """The same tokenizer, told which ids end and fill texts: other programs do not know Lodestar's own by their names."""
    from ..contracts.tokenizer import END_OF_TEXT, PAD, SpecialIds

    find = tokenizer.backend.token_to_id
    known = tokenizer.special_ids or SpecialIds(find(END_OF_TEXT), find(PAD))
    if form is not None:
        stops = tuple(form.stop_ids(tokenizer))
    else:
        stops = known.stops or (() if known.end_of_text is None else (known.end_of_text,))
    return tokenizer.with_special_ids(replace(known, stops=stops))


def _to_huggingface(found: _Model, destination: Path) -> Exported:
    from ..build.formats import save_model
    from ..build.formats.folder import CONFIG, origin_of
    from ..store.files import list_files, read_json

    if found.is_open:
        save_model(found.model, destination)  # with the files beside it, as they came
    else:
        save_model(found.model, destination, tokenizer=found.tokenizer, chat_template=found.chat_template)
    files = list_files(destination)
    architecture = next(iter(read_json(destination / CONFIG).get("architectures") or ()), "AutoModel")
    origin = origin_of(found.model)
    there = {file.name for file in files} | {file.name for file in (() if origin is None else origin.weights)}
    others = sorted(file.name for file in found.folder.iterdir() if file.name not in there and not file.name.endswith(".index.json"))
    left = [say(f"the source's {', '.join(others)}", f"来源中的 {'、'.join(others)}")] if others else []
    chat = say(f"lodestar chat {destination}, or ", f"lodestar chat {destination}，或 ") if found.chat_template is not None else ""
    load = f'{chat}python -c "import transformers; transformers.{architecture}.from_pretrained({str(destination)!r})"'
    size = sum(file.stat().st_size for file in files)
    return Exported(str(destination), "huggingface", size, found.changed, left, load)


def _to_gguf(found: _Model, destination: Path, kind: Kind) -> Exported:
    from ..deploy.export_gguf import export_gguf
    from ..deploy.gguf.vocabulary import describe_vocabulary
    from ..model.transformer import Transformer

    tokenizer, template = found.tokenizer, found.chat_template
    left = []
    if tokenizer is None:
        left.append(say("the tokenizer: the folder has none", "分词器：目录中没有"))
    elif isinstance(found.model, Transformer):  # export_gguf refuses any other
        try:
            describe_vocabulary(tokenizer, found.model.config.vocabulary_size, template)
        except ValueError as error:
            left.append(_tokenizer(found, str(error)))
            tokenizer = template = None
    if tokenizer is not None and template is None:
        left.append(say("a chat template: there is none", "对话模板：没有"))
    export_gguf(found.model, destination, kind=kind, tokenizer=tokenizer, chat_template=template)
    run = f"llama-server -m {destination}"
    if tokenizer is None:
        run = say("open it with llama.cpp's library, and give it ids in place of text", "用 llama.cpp 的库打开，并以词元编号代替文本")
    return Exported(str(destination), f"gguf {kind}", destination.stat().st_size, found.changed, left, run)


def _to_onnx(found: _Model, destination: Path) -> Exported:
    from ..deploy.export_onnx import export_onnx

    export_onnx(found.model, destination)
    left = _class_names(found)
    if found.tokenizer is not None:
        left.insert(0, _tokenizer(found, say("the format has no place for it", "该格式没有它的位置")))
    run = f'python -c "import onnxruntime; onnxruntime.InferenceSession({str(destination)!r})"'
    return Exported(str(destination), "onnx", destination.stat().st_size, found.changed, left, run)


def _tokenizer(found: _Model, why: str) -> str:
    """That it was left out, and where it is."""
    from ..contracts.tokenizer import TOKENIZER

    file = found.folder / TOKENIZER
    return say(f"the tokenizer ({why}): make ids of texts with {file}", f"分词器（{why}）：请用 {file} 把文本变成编号")


def _class_names(found: _Model) -> list[str]:
    """Where the names of a classifier's outputs are, which an ONNX file has no place for."""
    from ..build.bundle import CONFIG, TASK
    from ..build.heads import SequenceClassifier, SpanClassifier, TokenClassifier

    if not isinstance(found.model, SequenceClassifier | TokenClassifier) or isinstance(found.model, SpanClassifier):
        return []
    file = found.folder / (CONFIG if found.is_open else TASK)
    return [say(f"the names of the classes: they are in {file}", f"类别名称：见 {file}")]
