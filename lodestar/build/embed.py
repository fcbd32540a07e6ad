"""One vector for a text, and an encoder that learns from pairs: a question's vector is to be nearest to that of its passage.

A training row holds a question, its passage and passages that are wrong for it, one behind the other; `part` says for each token which of
them it belongs to: 1 the question, 2 the passage, 3 and up the wrong ones, 0 padding. Attention stays within a part, so that each is
encoded as it is alone.

Axes: B rows, T tokens, P parts, W model width, N passages of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts.task import Batch, device_of
from ..contracts.tokenizer import Tokenizer
from ..model.config import ModelConfig
from ..model.transformer import Transformer
from .measuring import batches_by_length, evaluating

QUESTION, PASSAGE = 1, 2
"""The parts of a row; those above are passages that are wrong for the question."""
COLDEST = 0.01
"""A learnt temperature stays above this, as in CLIP (Radford et al. 2021, section 2.5): below it, training is unstable."""


class TextEncoder(nn.Module):
    """The mean of the encoder's states over a text's tokens, as a vector of length 1 (Reimers and Gurevych 2019).

    Args:
        temperature: what similarities are divided by in training.
        learnt: whether the temperature is a parameter that begins there.
    """

    def __init__(self, config: ModelConfig, *, temperature: float = 0.07, learnt: bool = False) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self._fixed_scale = 1 / temperature
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature))) if learnt else None

    @property
    def scale(self) -> Tensor | float:
        """1 / temperature."""
        return self._fixed_scale if self.log_scale is None else self.log_scale.exp().clamp(max=1 / COLDEST)

    def forward(self, tokens_BT: Tensor, attention_mask_BT: Tensor) -> Tensor:
        """Unit vectors (B, W) of token ids; the mask is True on real tokens, of which each row has at least one."""
        vectors_BPW, _ = self.parts(tokens_BT, attention_mask_BT.long())
        return vectors_BPW[:, 0]

    def parts(self, tokens_BT: Tensor | None, part_BT: Tensor, *, embeddings: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """A unit vector (B, P, W) of each part, from 1 on, and which of them the row has (B, P).

        Args:
            embeddings: in place of the tokens, (B, T, W).
        """
        positions_BT = positions_within(part_BT)
        hidden_BTW = self.transformer.hidden(
            tokens_BT, embeddings=embeddings, positions=positions_BT, document_ids=part_BT, attention_mask=part_BT > 0
        )  # fmt: skip
        count = int(part_BT.max())
        own_BPT = (part_BT[:, None] == torch.arange(1, count + 1, device=part_BT.device)[:, None]).to(hidden_BTW.dtype)
        sizes_BP1 = own_BPT.sum(-1, keepdim=True)
        means_BPW = (own_BPT @ hidden_BTW) / sizes_BP1.clamp(min=1)
        return F.normalize(means_BPW.float(), dim=-1), sizes_BP1[..., 0] > 0


def positions_within(part_BT: Tensor) -> Tensor:
    """Where each token stands in its own part, from 0, (B, T); the tokens of a part stand together."""
    place_T = torch.arange(part_BT.shape[1], device=part_BT.device)
    begins_BT = F.pad(part_BT[:, 1:] != part_BT[:, :-1], (1, 0))
    return place_T - torch.where(begins_BT, place_T, 0).cummax(1).values


def contrastive_losses(model: nn.Module, batch: Batch, *, both: bool) -> Tensor:
    """InfoNCE in nats for each row that has a passage, (≤ B,): minus the log-probability of the question's own passage among all passages
    of the batch (van den Oord et al. 2018, equation 4), by the softmax of their similarities over the temperature.

    A passage that is the same text as the right one, and any passage of the same question, is left out rather than counted as wrong.

    Args:
        batch: `tokens` and `part` (B, T).
        both: the mean of that and of the passage's question among all questions (Radford et al. 2021, figure 3).
    """
    assert isinstance(model, TextEncoder)
    part_BT = batch["part"] * batch["attention_mask"]
    vectors_BPW, there_BP = model.parts(batch["tokens"], part_BT)
    names_BP = fingerprints(batch["tokens"], part_BT)[:, : vectors_BPW.shape[1]]
    whole_B = there_BP[:, QUESTION - 1] & there_BP[:, 1:2].any(1)  # a question as long as the context leaves no passage
    if not bool(whole_B.any()):
        return vectors_BPW.sum().mul(0).expand(0)
    vectors_BPW, names_BP, there_BP = vectors_BPW[whole_B], names_BP[whole_B], there_BP[whole_B]
    questions_BW, question_names_B = vectors_BPW[:, 0], names_BP[:, 0]
    rows = len(questions_BW)
    # Right passages first, so that row i's own is passage i; then the wrong ones.
    wrong = there_BP[:, 2:]
    passages_NW = torch.cat((vectors_BPW[:, 1], vectors_BPW[:, 2:][wrong]))
    passage_names_N = torch.cat((names_BP[:, 1], names_BP[:, 2:][wrong]))
    own_B = torch.arange(rows, device=questions_BW.device)
    alike_BN = passage_names_N[:rows, None] == passage_names_N
    alike_BN[:, :rows] |= question_names_B[:, None] == question_names_B
    alike_BN[own_B, own_B] = False
    scores_BN = (questions_BW @ passages_NW.T * model.scale).masked_fill(alike_BN, -torch.inf)
    losses_B = F.cross_entropy(scores_BN, own_B, reduction="none")
    return losses_B if not both else (losses_B + F.cross_entropy(scores_BN[:, :rows].T, own_B, reduction="none")) / 2


def fingerprints(tokens_BT: Tensor, part_BT: Tensor) -> Tensor:
    """A number for each part, from 1 on, that follows from its tokens and their order, (B, P): equal for equal texts, and for others
    equal with a chance of about 2⁻⁶⁴.
    """
    mixed_BT = (tokens_BT.long() + 1) * _ODD[0] + (positions_within(part_BT) + 1) * _ODD[1]
    for shift, odd in ((32, _ODD[2]), (29, _ODD[3])):  # as in splitmix64 (Steele et al. 2014): every bit reaches every other
        mixed_BT = (mixed_BT ^ (mixed_BT >> shift)) * odd
    sums_BP = torch.zeros(len(part_BT), int(part_BT.max()) + 1, dtype=torch.long, device=part_BT.device)
    return sums_BP.scatter_add_(1, part_BT.long(), mixed_BT)[:, 1:]


_ODD = tuple(number - (1 << 64) for number in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
"""64-bit multipliers, as signed numbers."""


def text_tokens(text: str, tokenizer: Tokenizer) -> list[int]:
    """A text with the marks that the tokenizer puts around it, or where it puts none, with the end of text behind it: never empty."""
    marked = tokenizer.encode(text, special=True)
    plain = tokenizer.encode(text)
    return marked if len(marked) > len(plain) else [*plain, tokenizer.end_of_text]


def embed(model: nn.Module, tokenizer: Tokenizer, texts: Sequence[str]) -> np.ndarray:
    """A unit vector of each text, float32 (texts, W), in the order given.

    A text longer than the context is read in windows, end to end; its vector is the mean of theirs by their tokens.
    """
    return embed_tokens(model, tokenizer.pad, [text_tokens(text, tokenizer) for text in texts])


def embed_tokens(model: nn.Module, pad: int, rows: Sequence[Sequence[int]]) -> np.ndarray:
    """As `embed`, of rows of tokens."""
    assert isinstance(model, TextEncoder)
    context = model.config.context
    windows = [(owner, row[at : at + context]) for owner, row in enumerate(rows) for at in range(0, len(row), context)]
    sums = np.zeros((len(rows), model.config.width))
    device = device_of(model)
    with evaluating(model):
        for chosen in batches_by_length([len(window) for _, window in windows]):
            longest = len(windows[chosen[-1]][1])
            tokens_BT = torch.tensor([[*windows[at][1], *[pad] * (longest - len(windows[at][1]))] for at in chosen], device=device)
            lengths_B = torch.tensor([len(windows[at][1]) for at in chosen], device=device)
            mask_BT = torch.arange(longest, device=device) < lengths_B[:, None]
            vectors_BW = model(tokens_BT, mask_BT).double().cpu().numpy()
            np.add.at(sums, [windows[at][0] for at in chosen], vectors_BW * lengths_B.cpu().numpy()[:, None])
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return (sums / np.where(norms > 0, norms, 1)).astype(np.float32)
