"""Which symbol each frame of a recording says, learnt from nothing but recordings and their texts.

Badlani et al. 2021, "One TTS Alignment To Rule Them All", https://arxiv.org/abs/2108.10447: a soft alignment from how near frames and
symbols are to each other, trained by the sum over all monotonic alignments; a hard one by search, whose counts are the durations.

Axes: B batch, S symbols, F frames, M mel bands, W model width, A width of what is compared.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLANK_LOGIT = -1.0
"""What CTC's blank is given beside the symbols; Badlani et al. 2021. A frame may say nothing, which is to be rare."""
SHARPNESS = 10.0
"""The most by which a frame can prefer one symbol to another, in nats, is twice this. Without a bound, what is learnt in the first steps is
soon so sharp that wrong borders stay: on the sample an eighth of all symbols had but one frame, and a sixtieth with it.
# measured once, 170 steps
"""
IMPOSSIBLE = -1e9


class Aligner(nn.Module):
    """Frames and symbols brought onto one sphere, on which near means: this frame says that symbol."""

    def __init__(self, width: int, bands: int, *, compared: int = 64) -> None:
        super().__init__()
        self.keys = nn.ModuleList([nn.Conv1d(width, width, 3, padding=1), nn.Conv1d(width, compared, 1)])
        self.queries = nn.ModuleList([nn.Conv1d(bands, width, 3, padding=1), nn.Conv1d(width, compared, 1)])

    def forward(self, embedded_BSW: Tensor, mask_BS: Tensor, mel_BMF: Tensor, mask_BF: Tensor) -> Tensor:
        """Embedded symbols and normalised frames → log-probabilities (B, F, S) of the symbol that each frame says.

        In them is the prior that texts are said from left to right; what is padding has none.
        """
        keys_BSA = F.normalize(_two(self.keys, embedded_BSW.mT, mask_BS), dim=-1)
        queries_BFA = F.normalize(_two(self.queries, mel_BMF, mask_BF), dim=-1)
        scores_BFS = SHARPNESS * queries_BFA @ keys_BSA.mT
        scores_BFS = scores_BFS.masked_fill(~mask_BS[:, None], IMPOSSIBLE).log_softmax(-1)
        prior_BFS = beta_binomial(mask_BS.sum(-1), mask_BF.sum(-1), scores_BFS.shape[1], scores_BFS.shape[2])
        return scores_BFS + prior_BFS.to(scores_BFS)


def _two(layers: nn.ModuleList, x_BCT: Tensor, mask_BT: Tensor) -> Tensor:
    first, second = layers
    mask_B1T = mask_BT[:, None]
    return second(F.relu(first(x_BCT * mask_B1T)) * mask_B1T).mT


def beta_binomial(symbols_B: Tensor, frames_B: Tensor, longest_frames: int, longest_symbols: int) -> Tensor:
    """Log-probabilities (B, F, S) that frame f of F says symbol s of S, where nothing is known but that texts are said in their order.

    Badlani et al. 2021, section 3.3, with ω = 1: a beta-binomial distribution of n = S - 1, α = f + 1 and β = F - f. All its gamma
    functions are then of whole numbers. `IMPOSSIBLE` where there is no such symbol, 0 for frames that are padding.
    """
    device = symbols_B.device
    logs = _log_factorials(longest_frames + longest_symbols + 2).to(device)
    last_B11 = (symbols_B - 1)[:, None, None]
    frames_B11 = frames_B[:, None, None]
    frame_1F1 = torch.arange(longest_frames, device=device)[None, :, None]
    symbol_11S = torch.arange(longest_symbols, device=device)[None, None]
    left_BF1, behind_B1S = (frames_B11 - 1 - frame_1F1).clamp(min=0), (last_B11 - symbol_11S).clamp(min=0)
    chosen_B1S = logs[last_B11] - logs[symbol_11S] - logs[behind_B1S]
    # B(k + α, n - k + β) / B(α, β), each B a ratio of factorials.
    joint_BFS = logs[symbol_11S + frame_1F1] + logs[behind_B1S + left_BF1] - logs[last_B11 + frames_B11]
    alone_BF1 = logs[frame_1F1] + logs[left_BF1] - logs[frames_B11]
    prior_BFS = (chosen_B1S + joint_BFS - alone_BF1).masked_fill(symbol_11S > last_B11, IMPOSSIBLE)
    return prior_BFS.masked_fill(frame_1F1 >= frames_B11, 0.0)


@cache
def _log_factorials(count: int) -> Tensor:
    return torch.lgamma(torch.arange(1, count + 1, dtype=torch.float64)).float()


def forward_sum(log_BFS: Tensor, symbols_B: Tensor, frames_B: Tensor) -> Tensor:
    """For each row, the nats of all alignments together in which each symbol is said in its order (B,).

    Connectionist temporal classification, whose blank has a fixed logit beside the symbols (Badlani et al. 2021, section 3.1).
    """
    batch, _, longest = log_BFS.shape
    with_blank = F.pad(log_BFS.clamp(min=IMPOSSIBLE), (1, 0), value=BLANK_LOGIT).log_softmax(-1)
    targets = torch.arange(1, longest + 1, device=log_BFS.device).expand(batch, -1)
    return F.ctc_loss(with_blank.transpose(0, 1), targets, frames_B, symbols_B, reduction="none", zero_infinity=True)


def durations_of(log_BFS: Tensor, symbols_B: Tensor, frames_B: Tensor) -> Tensor:
    """How many frames say each symbol (B, S), int64, at least one, in the likeliest alignment in which each is said in its order.

    Monotonic alignment search: Kim et al. 2020 (Glow-TTS), https://arxiv.org/abs/2005.11129, algorithm 1.
    """
    scores_FBS = log_BFS.detach().float().cpu().numpy().transpose(1, 0, 2)
    symbols, frames = symbols_B.cpu().numpy(), frames_B.cpu().numpy()
    longest, batch, _ = scores_FBS.shape
    best_BS = np.full(scores_FBS.shape[1:], -np.inf, np.float32)
    best_BS[:, 0] = scores_FBS[0, :, 0]
    came_FBS = np.zeros(scores_FBS.shape, bool)  # from the symbol before, in the frame before
    for frame in range(1, longest):
        before_BS = np.concatenate((np.full((batch, 1), -np.inf, np.float32), best_BS[:, :-1]), 1)
        came_FBS[frame] = before_BS > best_BS
        best_BS = np.maximum(best_BS, before_BS) + scores_FBS[frame]
    rows, place = np.arange(batch), symbols - 1
    counts_BS = np.zeros(scores_FBS.shape[1:], np.int64)
    for frame in range(longest - 1, -1, -1):
        real = frame < frames
        counts_BS[rows[real], place[real]] += 1
        place = place - (came_FBS[frame, rows, place] & real)
    return torch.from_numpy(counts_BS).to(log_BFS.device)
