"""What the product's recommender is held against: SASRec as published, a GRU, and RecBole's SASRec where it is installed.

Each learns from the same histories (lists of items, each from 0 on) and keeps the weights of the epoch with the best NDCG@10 on validation.

Axes: B users, T places, W width, I items.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Judge = Callable[[Callable[[Sequence[np.ndarray]], np.ndarray]], float]
"""A function from histories to scores (N, I) → its NDCG@10 on validation."""
PAD = 0
"""Item i is number i + 1 here, as in the published code."""


class PublishedSASRec(nn.Module):
    """Kang and McAuley 2018, https://arxiv.org/abs/1808.09781: learned positions, two blocks of one head, a feed-forward as wide as the
    model, and for each place one item drawn against the right one (binary cross-entropy). Width 50, dropout 0.2, Adam at 0.001 with
    betas 0.9 and 0.98, 128 users a batch: as they set them for MovieLens.
    """

    def __init__(self, items: int, length: int, width: int = 50, blocks: int = 2, dropout: float = 0.2) -> None:
        super().__init__()
        self.items, self.length = items, length
        self.item = nn.Embedding(items + 1, width, padding_idx=PAD)
        self.place = nn.Embedding(length, width)
        self.dropout = nn.Dropout(dropout)
        self.attention = nn.ModuleList(nn.MultiheadAttention(width, 1, dropout, batch_first=True) for _ in range(blocks))
        self.forward_one = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.forward_two = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-8) for _ in range(2 * blocks + 1))
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_normal_(parameter)

    def states(self, history_BT: Tensor) -> Tensor:
        """(B, T, W)."""
        real_BT1 = (history_BT != PAD)[..., None]
        x = self.dropout(self.item(history_BT) * self.item.embedding_dim**0.5 + self.place(torch.arange(history_BT.shape[1]))) * real_BT1
        hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        for block, attention in enumerate(self.attention):
            queries = self.norms[2 * block](x)
            x = queries + attention(queries, x, x, attn_mask=hidden, need_weights=False)[0]
            x = self.norms[2 * block + 1](x)
            x = x + self.dropout(self.forward_two[block](self.dropout(F.relu(self.forward_one[block](x)))))
            x = x * real_BT1
        return self.norms[-1](x)

    def loss(self, history_BT: Tensor, next_BT: Tensor) -> Tensor:
        drawn_BT = torch.randint(1, self.items + 1, next_BT.shape)
        states = self.states(history_BT)
        right, wrong = ((states * self.item(item)).sum(-1)[next_BT != PAD] for item in (next_BT, drawn_BT))
        return F.binary_cross_entropy_with_logits(right, torch.ones_like(right)) + F.binary_cross_entropy_with_logits(
            wrong, torch.zeros_like(wrong)
        )

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3, betas=(0.9, 0.98))


class GRU(nn.Module):
    """One layer of gated recurrent units (Hidasi et al. 2016, GRU4Rec), with the cross-entropy over all items, tied to its input."""

    def __init__(self, items: int, length: int, width: int = 64, dropout: float = 0.2) -> None:
        super().__init__()
        self.items, self.length = items, length
        self.item = nn.Embedding(items + 1, width, padding_idx=PAD)
        nn.init.normal_(self.item.weight, std=0.02)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def states(self, history_BT: Tensor) -> Tensor:
        return self.dropout(self.gru(self.dropout(self.item(history_BT)))[0])

    def loss(self, history_BT: Tensor, next_BT: Tensor) -> Tensor:
        told = next_BT != PAD
        return F.cross_entropy(self.states(history_BT)[told] @ self.item.weight[1:].T, next_BT[told] - 1)

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def rows_of(histories: Sequence[np.ndarray], length: int) -> np.ndarray:
    """The last places of each history, padded on the left (N, length)."""
    rows = np.full((len(histories), length), PAD)
    for row, history in zip(rows, histories, strict=True):
        if len(history):
            row[-len(history[-length:]) :] = history[-length:] + 1
    return rows


def scorer(model: Any) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """Histories → scores (N, I)."""

    def scores(histories: Sequence[np.ndarray]) -> np.ndarray:
        model.eval()
        with torch.inference_mode():
            last = model.states(torch.from_numpy(rows_of(histories, model.length)))[:, -1]
            found: np.ndarray = (last @ model.item.weight[1:].T).numpy()
        return found

    return scores


def train_peer(
    model: Any, histories: Sequence[np.ndarray], judge: Judge, *, epochs: int, every: int, rows: int = 128, seed: int = 0
) -> tuple[Callable[[Sequence[np.ndarray]], np.ndarray], float, float]:
    """What the best epoch scores, the CPU seconds of training, and how many interactions a second were learnt from."""
    draw = np.random.default_rng(seed)
    data = torch.from_numpy(rows_of(histories, model.length + 1))
    optimizer = model.optimizer()
    best, kept, spent, learnt = -1.0, copy.deepcopy(model.state_dict()), 0.0, 0
    for epoch in range(1, epochs + 1):
        model.train()
        begin = time.process_time()
        for chosen in torch.from_numpy(draw.permutation(len(data))).split(rows):
            loss = model.loss(data[chosen, :-1], data[chosen, 1:])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            learnt += int((data[chosen, 1:] != PAD).sum())
        spent += time.process_time() - begin
        if epoch % every == 0 or epoch == epochs:
            value = judge(scorer(model))
            if value > best:
                best, kept = value, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return scorer(model), spent, learnt / spent


_NUMPY_1: dict[str, Any] = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "bool8": np.bool_, "object0": np.object_}
"""Names that RecBole 1.2.1 takes from NumPy and that NumPy 2 has no more."""


class RecBole:
    """RecBole's SASRec as it comes (width 64, two layers, dropout 0.5, cross-entropy), on the same interactions, in the same order.

    It unrolls a history into a row for each interaction, so that its epochs are long; `seconds` is a budget of CPU time.
    """

    def __init__(self, folder: Path, histories: Sequence[np.ndarray], items: int, length: int, seed: int) -> None:
        for name, kind in _NUMPY_1.items():
            if not hasattr(np, name):
                setattr(np, name, kind)
        (folder / "films").mkdir(parents=True)
        lines = ["user_id:token\titem_id:token\ttimestamp:float"]
        for user, history in enumerate(histories):
            lines += [f"{user}\t{item}\t{at}" for at, item in enumerate(history)]
        (folder / "films" / "films.inter").write_text("\n".join(lines) + "\n")
        settings = {
            "data_path": str(folder), "seed": seed, "MAX_ITEM_LIST_LENGTH": length, "train_neg_sample_args": None, "show_progress": False,
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "state": "ERROR", "checkpoint_dir": str(folder),
            "eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}, "order": "TO", "group_by": "user", "mode": "full"}, "use_gpu": False,
        }  # fmt: skip
        self.config = import_module("recbole.config").Config(model="SASRec", dataset="films", config_dict=settings)
        import_module("recbole.utils").init_seed(seed, True)
        data = import_module("recbole.data")
        self.dataset = data.create_dataset(self.config)
        self.data, _, _ = data.data_preparation(self.config, self.dataset)
        self.model = import_module("recbole.model.sequential_recommender").SASRec(self.config, self.data.dataset)
        self.tokens = self.dataset.field2id_token["item_id"]
        self.items, self.length = items, length

    def train(self, seconds: float) -> float:
        """Train for so many CPU seconds; how many interactions a second it learnt from."""
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.config["learning_rate"])
        self.model.train()
        learnt, begin = 0, time.process_time()
        while True:
            for rows in self.data:
                loss = self.model.calculate_loss(rows)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                learnt += len(rows)
                spent = time.process_time() - begin
                if spent > seconds:
                    return learnt / spent

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """(N, I)."""
        number = {token: place for place, token in enumerate(self.tokens)}
        rows = np.zeros((len(histories), self.length), np.int64)
        lengths = np.ones(len(histories), np.int64)
        for row, history in enumerate(histories):
            known = [number[str(item)] for item in history if str(item) in number][-self.length :]
            rows[row, : len(known)], lengths[row] = known, max(len(known), 1)
        asked = {"item_id_list": torch.from_numpy(rows), "item_length": torch.from_numpy(lengths)}
        self.model.eval()
        with torch.inference_mode():
            told = self.model.full_sort_predict(import_module("recbole.data.interaction").Interaction(asked)).numpy()
        found = np.full((len(histories), self.items), -np.inf, np.float32)
        for place, token in enumerate(self.tokens):
            if place:
                found[:, int(token)] = told[:, place]
        return found
