"""Explain an answer: which words it came from, by attention, roll-out and gradients, and how far each may be believed.

解释一个答案：它来自哪些词（注意力、注意力展开、梯度），以及各自可信到什么程度。
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..contracts.errors import UserError
from ..contracts.language import language, say
from ..contracts.media import ImagePart, Picture, read_file
from ._command import as_json, lodestar_command, show, venture_option

if TYPE_CHECKING:
    from torch import nn

    from ..contracts.reading import Reading
    from ..contracts.task import Task
    from ..contracts.tokenizer import Tokenizer
    from ..explain.explanation import Method

PAGE = Path("explanation.html")


@lodestar_command()
@click.argument("model", required=False, metavar=say("[RELEASE_RUN_OR_FOLDER]", "[版本、运行或目录]"))
@venture_option
@click.option("--text", metavar=say("TEXT", "文字"), help=say("What the model is given.", "给模型的文本。"))
@click.option(
    "--image", type=click.Path(path_type=Path), metavar=say("FILE", "文件"),
    help=say("The picture that the model is given; with --text, what is asked about it.", "给模型的图片；可用 --text 提问。"),
)  # fmt: skip
@click.option(
    "--output", metavar=say("ANSWER", "答案"),
    help=say("Explain this answer (a label, a text) in place of the model's own.", "解释此答案（标签或文本），而非模型自己的答案。"),
)  # fmt: skip
@click.option(
    "--request", "fields", metavar="JSON",
    help=say("Further fields of the request, as the endpoint takes them.", "请求的其他字段，与服务接口相同。"),
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(["gradients", "rollout", "attention"]), default="gradients", show_default=True,
    help=say("Whose values are printed; the page shows all three.", "输出哪种方法的数值；网页三种都有。"),
)  # fmt: skip
@click.option(
    "--layer",
    type=click.IntRange(1),
    help=say("Whose attention: a layer, from 1; all where absent.", "看哪一层的注意力（从 1 起）；缺省为全部。"),
)
@click.option("--head", type=click.IntRange(1), help=say("The same for heads.", "看哪一个头（从 1 起）；缺省为全部。"))
@click.option(
    "--orders", type=click.IntRange(1, 999), default=39, show_default=True,
    help=say("Random orders that an explanation must beat.", "解释必须胜过的随机顺序个数。"),
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help=say("Of the random orders.", "随机顺序的种子。"))
@click.option(
    "--out", type=click.Path(path_type=Path), default=PAGE, show_default=True, metavar=say("FILE", "文件"),
    help=say("The page with the pictures.", "带图的网页。"),
)  # fmt: skip
def command(
    model: str | None, venture: Path, text: str | None, image: Path | None, output: str | None, fields: str | None, method: Method,
    layer: int | None, head: int | None, orders: int, seed: int, out: Path,
) -> None:  # fmt: skip
    further = _further(fields)
    if text is None and image is None:
        raise _one_is_needed()
    if text is not None:
        _check_text(text, "--text")
    picture = None if image is None else read_file(image, Picture.KIND)
    if output is not None:
        _check_text(output, "--output")
    if out.is_dir() or not out.parent.is_dir():
        raise UserError("is a folder" if out.is_dir() else "its folder does not exist", where=out, fix="name a file with --out")
    folder, name = _folder(model, venture)

    import torch

    from ..build.opening import open_bundle
    from ..explain.explanation import check_explainable
    from ..store.files import write_atomic
    from ._opening import task_for

    task = task_for(folder)
    bundle = open_bundle(folder, task, dtype=torch.float32)
    check_explainable(bundle.model)
    request = _request(task, text, picture, further)
    reading = task.reading(bundle.model, bundle.tokenizer, request, output)
    asked: dict[str, Any] = {
        "layer": None if layer is None else layer - 1, "head": None if head is None else head - 1, "orders": orders, "seed": seed,
    }  # fmt: skip
    shown = _explained if picture is None else _seen
    made = shown(bundle.model, bundle.tokenizer, reading, asked, name, method)
    write_atomic(out, made.page)
    show(made.value | {"page": str(out)}, f"{made.text}\n{say('Page: ', '网页：')}{out}")


class _Shown(NamedTuple):
    """An explanation in its three forms."""

    value: dict[str, Any]
    text: str
    page: str


def _explained(model: nn.Module, tokenizer: Tokenizer, reading: Reading, asked: dict[str, Any], name: str, method: Method) -> _Shown:
    """Of a text."""
    from ..explain.explanation import explain, to_json
    from ..explain.page import document
    from ..explain.plain import plain
    from ..explain.sentences import summary_words
    from ..explain.steps import finish

    made = finish(explain(model, tokenizer, reading, **asked, progress=not as_json()))
    value = to_json(made) | {"summary": str(summary_words(made))}
    return _Shown(value, plain(made, method, language()), document(made, model=name, language=language()))


def _seen(model: nn.Module, _: Tokenizer, reading: Reading, asked: dict[str, Any], name: str, method: Method) -> _Shown:
    """Of a picture."""
    from ..explain.patches import explain_picture, picture_json
    from ..explain.patches_page import picture_document, picture_plain, picture_summary
    from ..explain.steps import finish

    made = finish(explain_picture(model, reading, **asked))
    value = picture_json(made) | {"summary": str(picture_summary(made))}
    return _Shown(value, picture_plain(made, method, language()), picture_document(made, model=name, language=language()))


def _one_is_needed() -> UserError:
    return UserError("one of --text and --image is needed", fix="give what the model is to be asked about")


def _request(task: Task, text: str | None, picture: bytes | None, further: dict[str, Any]) -> dict[str, Any]:
    """The request that asks a task about one text, or one picture; of one that converses about pictures, about both."""
    if picture is not None:
        part = ImagePart.of(Picture.of(picture), "image/*")  # what kind of file it is, the file says itself
        if task.endpoint == "chat/completions":
            content = [part, {"type": "text", "text": text or ""}]
            return {"messages": [{"role": "user", "content": content}]} | further
        if text is not None:
            raise _one_is_needed()
        return {"input": part} | further
    if task.endpoint == "embeddings":  # the texts that it is compared with are among the further fields
        others = further.get("input", [])
        return further | {"input": [text, *([others] if isinstance(others, str) else others)]}
    if task.endpoint == "completions":
        asked: dict[str, Any] = {"prompt": text}
    elif task.endpoint == "chat/completions":
        asked = {"messages": [{"role": "user", "content": text}]}
    elif task.endpoint == "answer":
        asked = {"question": text}  # its context is among the further fields
    else:
        asked = {"input": text}
    return asked | further


def _further(fields: str | None) -> dict[str, Any]:
    try:
        read = {} if fields is None else json.loads(fields)
    except ValueError as error:
        raise UserError(f"is no JSON ({error})", where="--request", fix="""give an object, such as '{"target": "de"}'""") from None
    if not isinstance(read, dict):
        raise UserError("is no JSON object", where="--request", fix="""give one, such as '{"target": "de"}'""")
    return read


def _check_text(text: str, where: str) -> None:
    if not text.strip():
        raise UserError("there is nothing to explain", where=where, fix="give a text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError("the text is no valid UTF-8", where=where, fix="give it in UTF-8") from None


def _folder(model: str | None, venture: Path) -> tuple[Path, str]:
    """The folder of a model, and what it is called: a folder, a run's, a release of the venture; or its newest release or training."""
    from ..build.opening import find_folder
    from ..venture.product import find_release, releases
    from ..venture.venture import Venture

    if model is not None and Path(model).is_dir():
        folder = Path(model)
        return (folder / "model" if (folder / "model" / "config.json").is_file() else find_folder(folder)), folder.resolve().name
    if model is not None and "/" in model:
        return find_folder(model), model
    opened = Venture.open(venture)
    if model is None and not releases(opened):
        trained = opened.latest("train")
        if trained is None:
            raise UserError("nothing has been trained yet", where=opened.path, fix="run `lodestar run`, or name a model's folder")
        return trained.folder / "model", opened.folder.resolve().name
    made = find_release(opened, model)
    return opened.releases / made.name, f"{opened.folder.resolve().name} {made.name}"
