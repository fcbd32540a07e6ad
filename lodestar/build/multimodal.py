"""A decoder that reads files among its tokens: a tower that looks or listens, a projector, and the decoder of every other text.

Liu et al. 2023 (LLaVA), https://arxiv.org/abs/2304.08485. Each file is a row of positions in the decoder's sequence, in the place where it
stands in the conversation; what the tower saw, projected to the decoder's width, stands there in the place of token embeddings. To the
decoder, its positions, its mask and its cache they are tokens like any others: decisions/0013-files-among-tokens.md.

Axes: B rows, T tokens, F files, C channels, Y rows and X columns of pixels, N samples, S states of the tower, P positions of all files
together, E width of the tower, W width of the decoder.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts.reading import Reading
from ..contracts.task import IGNORE, Batch, device_of
from ..contracts.tokenizer import Tokenizer
from ..model.config import ModelConfig
from ..model.transformer import Transformer
from .augment import scaled
from .chat import Question
from .chat_template import Rendered
from .completion import complete_rows
from .language import target_loss
from .reading import read_written
from .speech import INT16
from .speech_encoder import SpeechEncoder
from .towers import PictureEncoder

Inputs = tuple[Tensor, ...]
"""What a tower's `forward` takes."""


class Tower(nn.Module):
    """What makes states of files; neighbouring states become one position of the decoder, so that a file takes fewer of them.

    Its `forward` takes files as `gathered` or `stacked` gives them, and returns what stands behind each of their positions, file after
    file: (P, width).
    """

    encoder: nn.Module
    width: int
    """Of the states behind one position, end to end."""

    @abstractmethod
    def gathered(self, batch: Batch) -> Inputs:
        """The files of a training batch, row by row."""

    @abstractmethod
    def stacked(self, files: Sequence[np.ndarray], device: torch.device) -> Inputs:
        """Some files as the task reads them."""


class PictureTower(Tower):
    """The states of a picture's patches, those of each square of neighbours end to end (pixel shuffle: Shi et al. 2016, as in Idefics 3).

    Args:
        merge: patches along a side of such a square.
    """

    encoder: PictureEncoder

    def __init__(self, encoder: PictureEncoder, merge: int) -> None:
        super().__init__()
        self.encoder, self.merge = encoder, merge
        rows, columns = encoder.stem.shape.grid
        assert (rows % merge, columns % merge) == (0, 0), "merge divides the rows and columns of patches"
        self.grid = rows // merge, columns // merge
        """Rows and columns of positions."""
        self.width = encoder.config.width * merge**2

    def forward(self, pixels_FCYX: Tensor) -> Tensor:
        """Pictures (F, C, Y, X) of 0 to 255 → (P, width), row by row."""
        return self.merged(self.encoder.hidden(scaled(pixels_FCYX)))

    def merged(self, hidden_FSE: Tensor) -> Tensor:
        """The encoder's states (F, S, E) → (P, width); what stands before the patches is left out."""
        rows, columns = self.grid
        patches = hidden_FSE[:, self.encoder.stem.shape.prefix :]
        squares = patches.unflatten(1, (rows, self.merge, columns, self.merge)).transpose(2, 3)
        return squares.reshape(-1, self.width)

    def gathered(self, batch: Batch) -> Inputs:
        return (batch["pixels"][batch["pixels_mask"]],)

    def stacked(self, files: Sequence[np.ndarray], device: torch.device) -> Inputs:
        return (torch.from_numpy(np.stack(files)).to(device),)


class SoundTower(Tower):
    """The states of a recording's frames, so many neighbours end to end; the last ones are filled with zeros.

    Args:
        merge: frames behind one position.
    """

    encoder: SpeechEncoder

    def __init__(self, encoder: SpeechEncoder, merge: int) -> None:
        super().__init__()
        self.encoder, self.merge = encoder, merge
        self.width = encoder.config.width * merge

    def forward(self, samples_FN: Tensor, mask_FN: Tensor) -> Tensor:
        """Samples (F, N) in -1 … 1, and which are no padding → (P, width)."""
        hidden_FSE, frames_F = self.encoder.encode(samples_FN, mask_FN)
        real_FS = torch.arange(hidden_FSE.shape[1], device=frames_F.device) < frames_F[:, None]
        clean_FSE = F.pad(hidden_FSE.masked_fill(~real_FS[..., None], 0.0), (0, 0, 0, -hidden_FSE.shape[1] % self.merge))
        groups = clean_FSE.unflatten(1, (-1, self.merge)).flatten(2)
        there = torch.arange(groups.shape[1], device=frames_F.device) < -(-frames_F[:, None] // self.merge)
        return groups[there]

    def gathered(self, batch: Batch) -> Inputs:
        """The recordings of a row stand end to end in `samples`; `sounds` (B, most) says how many samples each has."""
        found = []
        for samples_N, counts in zip(batch["samples"], batch["sounds"].tolist(), strict=True):
            found += samples_N[: sum(counts)].split([count for count in counts if count])
        return self._padded([one.float() / INT16 for one in found], batch["samples"].device)

    def stacked(self, files: Sequence[np.ndarray], device: torch.device) -> Inputs:
        return self._padded([torch.from_numpy(file).to(device) for file in files], device)

    @staticmethod
    def _padded(recordings: Sequence[Tensor], device: torch.device) -> Inputs:
        lengths_F = torch.tensor([len(one) for one in recordings], device=device)
        samples_FN = nn.utils.rnn.pad_sequence(list(recordings), batch_first=True)
        return samples_FN, torch.arange(samples_FN.shape[1], device=device) < lengths_F[:, None]


class Projector(nn.Module):
    """From what the tower saw to what the decoder reads: one linear layer (LLaVA), or two with a GELU between them (LLaVA 1.5).

    What comes out is about 1 at first, far larger than token embeddings are: a decoder that begins at random then looks at it sooner.
    # measured 2026-12: 26 questions by heart in 120 steps with three seeds of three; as small as embeddings, with one
    """

    def __init__(self, wide: int, width: int, kind: Literal["linear", "mlp"]) -> None:
        super().__init__()
        self.first = nn.Linear(wide, width)
        self.second = nn.Linear(width, width) if kind == "mlp" else None
        for layer in filter(None, (self.first, self.second)):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, seen: Tensor) -> Tensor:
        """(P, wide) → (P, W)."""
        projected = self.first(seen)
        return projected if self.second is None else self.second(F.gelu(projected))


class MultimodalDecoder(nn.Module):
    """Logits of the next token, after text and files.

    Args:
        config: of the decoder.
        tower: reads the files.
        projector: see `Projector`.
    """

    beside_base = ("tower.", "projector.")
    """What an open decoder knows nothing of: trained whole where that is adapted, and never coded. See `fingerprint.in_base`."""

    def __init__(self, config: ModelConfig, tower: Tower, projector: Literal["linear", "mlp"]) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.tower = tower
        self.projector = Projector(tower.width, config.width, projector)

    def embed(self, tokens: Tensor, places: Tensor, files: Inputs) -> Tensor:
        """What the decoder is given, (B, T, W): token embeddings, and in the places of the files what the tower saw of them.

        Args:
            tokens: ids (B, T); those in the places of files mean nothing.
            places: (B, T), True where a position of a file stands.
            files: of all rows, in the order in which they stand.

        Raises:
            ValueError: the files take more or fewer positions than there are places.
        """
        if not places.any():
            return self.transformer.embed(tokens)
        frozen = not any(parameter.requires_grad for parameter in self.tower.parameters())
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            seen_PE = self.tower(*files)
        return self.place(tokens, places, seen_PE)

    def place(self, tokens: Tensor, places: Tensor, seen_PE: Tensor) -> Tensor:
        """As `embed`, of what the tower saw."""
        embedded_BTW, wanted = self.transformer.embed(tokens), int(places.sum())
        projected_PW = self.projector(seen_PE).to(embedded_BTW.dtype)
        if len(projected_PW) != wanted:
            raise ValueError(f"the files take {len(projected_PW)} positions, and {wanted} places are left for them")
        return embedded_BTW.masked_scatter(places[..., None], projected_PW)

    def hidden(self, tokens: Tensor, places: Tensor, files: Inputs) -> Tensor:
        """The decoder's states (B, T, W). Padding on the right needs no mask: no token sees what comes after it."""
        return self.transformer.hidden(embeddings=self.embed(tokens, places, files))

    def forward(self, tokens: Tensor, places: Tensor, files: Inputs) -> Tensor:
        """Logits (B, T, V) for the token after each; the arguments and errors are those of `embed`."""
        return self.transformer.logits(self.hidden(tokens, places, files))


def answer_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The summed cross-entropy in nats of a padded batch's targets, which are the answers' tokens, and how many there are."""
    assert isinstance(model, MultimodalDecoder)
    hidden_BTW = model.hidden(batch["tokens"], batch["places"].bool() & batch["attention_mask"], model.tower.gathered(batch))
    targets_BT = batch["targets"].masked_fill(~batch["attention_mask"], IGNORE)
    return target_loss(model.transformer, hidden_BTW, targets_BT), (targets_BT != IGNORE).sum()


def answers(
    model: nn.Module,
    tokenizer: Tokenizer,
    prompts: Sequence[Rendered],
    files: Callable[[int], Sequence[np.ndarray]],
    max_tokens: int,
    stop_ids: Collection[int],
) -> list[str]:
    """The likeliest answer to each prompt, many at once; empty where prompt and answer do not fit the context.

    Args:
        prompts: with their places.
        files: the place of a prompt → its files, which are read when they are wanted.
    """
    assert isinstance(model, MultimodalDecoder)
    room = model.config.context - min(max_tokens, model.config.context // 2)
    fitting = [number for number, prompt in enumerate(prompts) if len(prompt.ids) <= room]

    def embed(rows: Sequence[int], tokens_BT: Tensor) -> Tensor:
        width, chosen = tokens_BT.shape[1], [fitting[row] for row in rows]
        places = [[False] * (width - len(prompts[one].files)) + prompts[one].files for one in chosen]
        read = [file for one in chosen for file in files(one)]
        stacked = model.tower.stacked(read, tokens_BT.device) if read else ()
        return model.embed(tokens_BT, torch.tensor(places, device=tokens_BT.device), stacked)

    found = [""] * len(prompts)
    told = complete_rows(model.transformer, tokenizer, [prompts[one].ids for one in fitting], max_tokens, stop_ids, embed=embed)
    for number, text in zip(fitting, told, strict=True):
        found[number] = text
    return found


def read_answer(model: nn.Module, tokenizer: Tokenizer, question: Question, picture: np.ndarray, output: str | None) -> Reading:
    """An answer about one picture, to be explained; the arguments and errors are those of `read_written`."""
    assert isinstance(model, MultimodalDecoder)
    embeddings = None if question.embed is None else question.embed()
    read = read_written(model.transformer, tokenizer, question.ids, output, question.stop_ids, embeddings)
    places = [place for place, of_file in enumerate(question.files) if of_file]
    return dataclasses.replace(read, picture=picture, places=places)


def embed_one(model: nn.Module, files: Sequence[np.ndarray], ids_1T: Tensor, places_1T: Tensor) -> Tensor:
    """What the decoder is given of one conversation, (1, T, W)."""
    assert isinstance(model, MultimodalDecoder)
    with torch.inference_mode():
        return model.embed(ids_1T, places_1T, model.tower.stacked(files, device_of(model)))
