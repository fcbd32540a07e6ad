"""How well what comes next is recommended: metrics over a full ranking of the catalogue, never over a sample of it.

A sample of the catalogue can order two methods the wrong way round (Krichene and Rendle 2020, https://doi.org/10.1145/3394486.3403226).
The columns are `rank`, the place, from 1, of what the user chose next; `recommended`, the first ten items, -1 where there are fewer;
`catalogue`, how many items there are; `popularity` and `chosen_popularity`, from 0 to 1, of the first ten and of what was chosen.

Axes: N users, I items, K recommended ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..contracts.findings import Findings
from ..contracts.language import Words
from ..contracts.score import Columns, Metric
from .retrieval import ndcg_at, ranks, recall_at, reciprocal_rank

LISTED = 10
"""Items of a list of recommendations that coverage and bias look at."""
SCORES_AT_ONCE = 1 << 24
"""Scores that are held at a time: 64 MB."""
UNKNOWN = -1
"""An item that is not in the catalogue, and so cannot be recommended."""


def ranking_columns(
    scores: Callable[[slice], np.ndarray], histories: Sequence[np.ndarray], targets_N: np.ndarray, counts_I: np.ndarray,
    *, exclude_seen: bool,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The columns of a method, one row a user.

    Args:
        scores: which users → how much each item is recommended to each of them (N, I), the higher the more; may be overwritten.
        histories: the items that each user has chosen.
        targets_N: what each chose next; `UNKNOWN` ranks behind the whole catalogue.
        counts_I: how often each item was chosen in training.
        exclude_seen: leave a user's own history out of the ranking.
    """
    catalogue = len(counts_I)
    popularity_I = popularity(counts_I)
    rank_N = np.full(len(targets_N), catalogue + 1)
    recommended_NK = np.full((len(targets_N), LISTED), UNKNOWN)
    rows = max(1, SCORES_AT_ONCE // catalogue)
    for start in range(0, len(targets_N), rows):
        part = slice(start, start + rows)
        scores_NI = scores(part)
        if exclude_seen:
            for row, seen in enumerate(histories[part]):
                scores_NI[row, seen] = -np.inf
        known_N = targets_N[part] != UNKNOWN
        rank_N[part][known_N] = ranks(scores_NI[known_N], targets_N[part][known_N])
        recommended_NK[part] = best(scores_NI, LISTED)
    known_N = targets_N != UNKNOWN
    listed_NK = recommended_NK != UNKNOWN
    shown_NK = np.where(listed_NK, popularity_I[recommended_NK], 0.0)
    return {
        "rank": rank_N,
        "recommended": recommended_NK,
        "catalogue": np.full(len(targets_N), catalogue),
        "popularity": shown_NK.sum(1) / np.maximum(listed_NK.sum(1), 1),
        "chosen_popularity": np.where(known_N, popularity_I[targets_N], 0.0),
    }


def best(scores_NI: np.ndarray, count: int) -> np.ndarray:
    """The items of the highest scores, the highest first and of equal ones the earlier (N, count); `UNKNOWN` in the place of -inf, and
    where the catalogue has no more.
    """
    found_NK = np.full((len(scores_NI), count), UNKNOWN)
    most = min(count, scores_NI.shape[1])
    for row, scores_I in enumerate(scores_NI):
        last = np.partition(scores_I, -most)[-most]
        first = np.flatnonzero(scores_I >= last)
        first = first[np.argsort(-scores_I[first], kind="stable")][:most]
        first = first[~np.isneginf(scores_I[first])]
        found_NK[row, : len(first)] = first
    return found_NK


def popularity(counts_I: np.ndarray) -> np.ndarray:
    """The share of the catalogue that was chosen less often than each item, equal ones counted half: from 0 to 1."""
    from scipy.stats import rankdata

    return (rankdata(counts_I) - 0.5) / len(counts_I)


def catalogue_coverage(columns: Columns) -> float:
    """The share of the catalogue that is in anybody's list. It grows with the number of users, and a resample, which draws some of them
    twice, has less of it: compare values for equally many users.
    """
    recommended = columns["recommended"]
    return float(len(np.unique(recommended[recommended != UNKNOWN])) / columns["catalogue"][0])


def gini(columns: Columns) -> float:
    """The Gini index of how often each item of the catalogue is in a list: 0 where all are equally often, near 1 where a few have all
    the places. NaN without a list.
    """
    recommended = columns["recommended"]
    _, times = np.unique(recommended[recommended != UNKNOWN], return_counts=True)
    if not len(times):
        return math.nan
    catalogue = int(columns["catalogue"][0])
    # Σ (2i - n - 1) · xᵢ / (n · Σ x) over ascending x; the items that are in no list come first and add nothing.
    place = np.arange(catalogue - len(times) + 1, catalogue + 1)
    return float(((2 * place - catalogue - 1) * np.sort(times)).sum() / (catalogue * times.sum()))


NDCG_AT_10 = Metric(
    "ndcg_at_10",
    Words(
        "How near the top of the whole catalogue the user's next choice is ranked: 1 at the first place, 0 past the tenth.",
        "用户接下来选择的物品在全部物品的排名中有多靠前；排第一为 1，第十名之后为 0。",
    ),
    "",
    "higher",
    partial(ndcg_at, 10),
)
HIT_RATE_AT_10 = Metric(
    "hit_rate_at_10",
    Words(
        "The share of users whose next choice is among the first ten of the whole catalogue.", "下一个选择排进全部物品前十位的用户比例。"
    ),
    "",
    "higher",
    partial(recall_at, 10),
)
HIT_RATE_AT_1 = Metric(
    "hit_rate_at_1",
    Words("The share of users whose next choice is recommended first.", "下一个选择被排在第一位的用户比例。"),
    "",
    "higher",
    partial(recall_at, 1),
)
MRR = Metric(
    "mrr",
    Words("The mean of 1 / rank of what the user chose next, among the whole catalogue.", "用户下一个选择在全部物品中排名的倒数的均值。"),
    "",
    "higher",
    reciprocal_rank,
)
CATALOGUE_COVERAGE = Metric(
    "catalogue_coverage",
    Words(
        "The share of the catalogue that is among the first ten for at least one of the users.",
        "至少进入一位用户推荐前十的物品占全部物品的比例。",
    ),
    "",
    "higher",
    catalogue_coverage,
)
GINI_AT_10 = Metric(
    "gini_at_10",
    Words(
        "How unequally the items share the places among the first ten: 0 where all appear equally often, 1 where one has all.",
        "推荐前十的名额在物品间的不均衡程度：0 为各件均等，1 为一件独占。",
    ),
    "",
    "lower",
    gini,
)
POPULARITY_AT_10 = Metric(
    "popularity_at_10",
    Words(
        "The mean share of the catalogue that is less popular than what is recommended: 0.5 without bias, near 1 for bestsellers.",
        "平均而言，全部物品中比被推荐物品更冷门的比例：毫无偏向为 0.5，只推最热门的接近 1。",
    ),
    "",
    "lower",
    lambda columns: float(columns["popularity"].mean()),
)
METRICS = (NDCG_AT_10, HIT_RATE_AT_10, HIT_RATE_AT_1, MRR, CATALOGUE_COVERAGE, GINI_AT_10, POPULARITY_AT_10)


def ranking_findings(columns: Columns, titles: Sequence[str]) -> Findings:
    """What a report says of coverage and of the bias towards what is popular, and the items that are recommended most.

    Args:
        titles: of the catalogue's items.
    """
    recommended = columns["recommended"]
    items, times = np.unique(recommended[recommended != UNKNOWN], return_counts=True)
    users, catalogue = len(recommended), int(columns["catalogue"][0])
    shown, chosen = float(columns["popularity"].mean()), float(columns["chosen_popularity"].mean())
    unknown = int((columns["rank"] > catalogue).sum())
    sentences = [
        Words(
            f"{len(items):,} of {catalogue:,} items are among the first ten of at least one of {users:,} users.",
            f"全部 {catalogue:,} 件物品中有 {len(items):,} 件进入了 {users:,} 位用户中至少一位的推荐前十。",
        ),
        Words(
            f"What is recommended is more popular than {shown:.0%} of the catalogue; what users chose themselves, than {chosen:.0%}.",
            f"被推荐的物品平均比全部物品中的 {shown:.0%} 更热门；用户自己选择的，平均比 {chosen:.0%} 更热门。",
        ),
    ]
    if len(items):
        order = np.argsort(-times, kind="stable")[:3]
        often = [(titles[items[place]], times[place] / users) for place in order]
        sentences.append(
            Words(
                "Recommended most: " + "; ".join(f"{title} (to {share:.0%})" for title, share in often) + ".",
                "推荐最多的：" + "；".join(f"{title}（{share:.0%} 的用户）" for title, share in often) + "。",
            )
        )
    if unknown:
        sentences.append(
            Words(
                f"{unknown:,} of the users chose an item that was not in the catalogue when the model was made; each counts as not found.",
                f"{unknown:,} 位用户选择了模型制作时还不在目录中的物品；都按未命中计算。",
            )
        )
    return Findings(sentences=sentences)
