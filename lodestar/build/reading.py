"""How a task says what a model read and which answer is to be explained: the same few forms for all tasks."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..contracts.errors import UserError, unknown
from ..contracts.reading import Detected, Label, Reading, Written
from ..contracts.task import device_of
from ..contracts.tokenizer import Tokenizer
from ..model.generate import stream
from ..model.transformer import Transformer
from .detection import detect
from .heads import SequenceClassifier
from .incremental import REPLACEMENT
from .measuring import evaluating
from .picture_labels import picture_logits

MOST_BYTES = 4
"""Bytes of a character: as many tokens at most, until what was written can be read."""


def read_label(
    model: nn.Module, tokens: Sequence[int], names: Sequence[str], output: str | None, *, exclusive: bool = True, temperature: float = 1.0
) -> Reading:  # fmt: skip
    """A text that a classifier read.

    Args:
        output: the label to be explained; the likeliest where None.
        exclusive, temperature: see `Label`.

    Raises:
        UserError: there is no such label, or the text does not fit the context.
    """
    assert isinstance(model, SequenceClassifier)
    _check_room(model.config.context, len(tokens))
    if output is not None and output not in names:
        raise unknown("label", output, names, where="output")
    if output is None:
        with evaluating(model):
            index = int(model(torch.tensor([list(tokens)], device=device_of(model)))[0].argmax())
    else:
        index = list(names).index(output)
    return Reading(list(tokens), Label(index, list(names), exclusive, temperature), names[index])


def read_picture(model: nn.Module, picture: np.ndarray, names: Sequence[str], output: str | None, temperature: float = 1.0) -> Reading:
    """A picture (C, Y, X) of 0 to 255 that a classifier looked at; the arguments and errors are those of `read_label`."""
    if output is not None and output not in names:
        raise unknown("label", output, names, where="output")
    index = int(picture_logits(model, [picture])[0].argmax()) if output is None else list(names).index(output)
    return Reading((), Label(index, list(names), temperature=temperature), names[index], picture=picture)


def read_detection(model: nn.Module, picture: np.ndarray, names: Sequence[str], output: str | None) -> Reading:
    """A picture (C, Y, X) of 0 to 255 in which a detector found objects.

    Args:
        output: which of them: a label, or a label and a number, “cat 2” for the second best cat; the best of all where None.

    Raises:
        UserError: there is no such label, or no such object of it.
    """
    (found,) = detect(model, [picture])
    label, number = _asked_for(output, names)
    order = [one for one in np.argsort(-found.scores, kind="stable").tolist() if label in (None, int(found.labels[one]))]
    if not 1 <= number <= len(order):
        what = f"there is no {output!r} in the picture: {len(order)} boxes have that label" if output else "nothing is found in the picture"
        raise UserError(what, where="output", fix="ask about one of those that the answer has")
    chosen = order[number - 1]
    own = int(found.labels[chosen])
    rank = [one for one in order if int(found.labels[one]) == own].index(chosen) + 1
    left, top, right, bottom = found.boxes[chosen].tolist()
    asked = Detected(own, int(found.cells[chosen]), (left, top, right, bottom))
    return Reading((), asked, f"{names[own]} {rank}", picture=picture)


def _asked_for(output: str | None, names: Sequence[str]) -> tuple[int | None, int]:
    """The index of a label, and which of its objects, from 1."""
    if output is None:
        return None, 1
    if output in names:
        return list(names).index(output), 1
    label, _, number = output.rpartition(" ")
    if label not in names or not number.isdecimal():
        raise unknown("label", label if number.isdecimal() and label else output, names, where="output")
    return list(names).index(label), int(number)


def read_written(
    model: nn.Module,
    tokenizer: Tokenizer,
    tokens: Sequence[int],
    output: str | None,
    ends: Collection[int] = (),
    embeddings: Tensor | None = None,
) -> Reading:
    """A text that a decoder continues.

    Args:
        tokens: all that it read.
        output: the continuation to be explained; where None the likeliest next token, or tokens until they make a character.
        ends: tokens that end the text; one that comes first is the answer.
        embeddings: of what it read, (1, T, W), where not all of it is text.

    Raises:
        UserError: the text and the output do not fit the context, or the output is empty.
    """
    assert isinstance(model, Transformer)
    context = model.config.context
    if output is not None:
        written = tokenizer.encode(output)
        if not written:
            raise UserError("the output to explain is empty", where="output", fix="leave it out, or give a text")
        _check_room(context, len(tokens) + len(written))
        return Reading([*tokens, *written], Written(len(tokens)), output)
    _check_room(context, len(tokens) + 1)
    written = []
    with evaluating(model):
        prompt = torch.tensor([list(tokens)], device=device_of(model))
        for one in stream(model, prompt, min(MOST_BYTES, context - len(tokens)), embeddings=embeddings):
            written.append(int(one))
            if written[0] in ends or not tokenizer.decode(written).endswith(REPLACEMENT):
                break
    answer = tokenizer.decode(written) or str(tokenizer.backend.id_to_token(written[0]))
    return Reading([*tokens, *written], Written(len(tokens)), answer)


def _check_room(context: int, tokens: int) -> None:
    """An explanation of half a text would be one of another text."""
    if tokens > context:
        raise UserError(f"the context has {context} tokens, and the text takes {tokens}", where="request", fix="explain a part of the text")
