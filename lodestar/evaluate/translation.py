"""BLEU and chrF, as sacreBLEU computes them, from counts of each sentence that any set of sentences is scored from.

BLEU: Papineni et al. 2002; chrF: Popović 2015; what exactly is computed says the signature: Post 2018, https://arxiv.org/abs/1804.08771.
The tokenisation and the signature are sacreBLEU's own; the formulas are written over sums of counts, because a bootstrap computes them
thousands of times.

The columns are `direction` (an index: sentences of different directions are not scored together), `bleu` and `chrf` (n, counts). Of pairs
that were translated both ways, the same with `BACK` behind the name are of the other way, so that a row is still a pair.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np

from ..contracts.errors import missing_extra
from ..contracts.language import Words
from ..contracts.score import Columns, Metric

BLEU_ORDER, CHRF_ORDER, CHRF_BETA = 4, 6, 2
"""The longest word and character n-grams; and how many times as much recall counts as precision. sacreBLEU's defaults."""
BACK = "_back"
RESAMPLES, CONFIDENCE = 1_000, 0.95
"""Of the intervals of each direction's scores."""
BY_CHARACTER = ("zh", "ja", "ko", "th", "lo", "km", "my", "yue", "wuu")
"""Languages whose BLEU is of characters: most do not write spaces between words, and Korean's hold more than words."""


def bleu_tokenization(language: str) -> str:
    """The name of sacreBLEU's tokenizer for a language, given by its ISO 639 code, or any tag that begins with it."""
    code = language.replace("_", "-").split("-")[0].lower()
    long = {"zho": "zh", "cmn": "zh", "jpn": "ja", "kor": "ko", "tha": "th", "lao": "lo", "khm": "km", "mya": "my"}
    return "char" if long.get(code, code) in BY_CHARACTER else "13a"


def check_installed() -> None:
    """Refuse, before anything is spent, an installation without sacreBLEU."""
    try:
        import sacrebleu  # noqa: F401
    except ImportError:
        raise missing_extra("sacrebleu", "translation", why="measuring translations") from None


@cache
def _tokenizer(name: str) -> Callable[[str], str]:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=name).tokenizer


def columns(
    hypotheses: Sequence[str], references: Sequence[str], languages: Sequence[str], directions: Sequence[int]
) -> dict[str, np.ndarray]:
    """What the metrics compute from, a row a sentence.

    Args:
        languages: of the references; they decide the tokenisation.
        directions: an index for each sentence.
    """
    check_installed()
    rows = list(zip(hypotheses, references, languages, strict=True))
    return {
        "direction": np.asarray(directions, np.int64),
        "bleu": np.array([bleu_counts(*row[:2], bleu_tokenization(row[2])) for row in rows], np.int64).reshape(-1, 2 + 2 * BLEU_ORDER),
        "chrf": np.array([chrf_counts(*row[:2]) for row in rows], np.int64).reshape(-1, 3 * CHRF_ORDER),
    }


def both_ways(there: Mapping[str, np.ndarray], back: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns of pairs that were translated both ways."""
    return {**there, **{name + BACK: column for name, column in back.items()}}


def _translations(table: Columns, name: str) -> np.ndarray:
    """A column of which a row is one translation: of pairs that were translated both ways, the one way's rows before the other's."""
    return np.concatenate([table[name], table[name + BACK]]) if name + BACK in table else table[name]


def bleu_counts(hypothesis: str, reference: str, tokenization: str = "13a") -> list[int]:
    """The words of both, then of each n the hypothesis's n-grams that the reference holds, then all of the hypothesis's."""
    tokenize = _tokenizer(tokenization)
    found, wanted = tokenize(hypothesis.rstrip()).split(), tokenize(reference.rstrip()).split()
    correct, total = [], []
    for order in range(1, BLEU_ORDER + 1):
        ours, theirs = _ngrams(found, order), _ngrams(wanted, order)
        correct.append((ours & theirs).total())
        total.append(max(len(found) - order + 1, 0))
    return [len(found), len(wanted), *correct, *total]


def chrf_counts(hypothesis: str, reference: str) -> list[int]:
    """Of each n: the character n-grams of the hypothesis and of the reference, and those that they share; blanks do not count."""
    found, wanted = "".join(hypothesis.split()), "".join(reference.split())
    counts = []
    for order in range(1, CHRF_ORDER + 1):
        ours, theirs = _ngrams(found, order), _ngrams(wanted, order)
        # As in sacreBLEU, an order that the reference is too short for is left out of both.
        counts += [ours.total() if theirs else 0, theirs.total(), (ours & theirs).total()]
    return counts


def _ngrams(units: Sequence[str], order: int) -> Counter[object]:
    return Counter(tuple(units[start : start + order]) for start in range(len(units) - order + 1))


def bleu_of(counts: np.ndarray) -> float:
    """BLEU, from 0 to 100, of summed counts, without effective order: the geometric mean of the precisions times the brevity penalty.

    A precision of 0 is smoothed: the k-th that is 0 counts as 1 / (2ᵏ · total) (Lin and Och 2004, as in sacreBLEU: exp).
    """
    found, wanted = int(counts[0]), int(counts[1])
    correct, total = counts[2 : 2 + BLEU_ORDER], counts[2 + BLEU_ORDER :]
    if not correct.any() or not total.all():
        return 0.0
    logs, halved = 0.0, 1.0
    for right, all_of_them in zip(correct.tolist(), total.tolist(), strict=True):
        if not right:
            halved *= 2
        logs += math.log(right / all_of_them if right else 1 / (halved * all_of_them))
    brevity = min(0.0, 1 - wanted / found)
    return 100 * math.exp(brevity + logs / BLEU_ORDER)


def chrf_of(counts: np.ndarray) -> float:
    """chrF2, from 0 to 100, of summed counts: the F-score of the mean precision and the mean recall over n; recall weighs β² as much."""
    known = [(found, wanted, shared) for found, wanted, shared in counts.reshape(CHRF_ORDER, 3).tolist() if found and wanted]
    precision = sum(shared / found for found, _, shared in known)
    recall = sum(shared / wanted for _, wanted, shared in known)
    if not precision + recall:
        return 0.0
    return 100 * (1 + CHRF_BETA**2) * precision * recall / (CHRF_BETA**2 * precision + recall) / len(known)


def _mean_over_directions(name: str, score: Callable[[np.ndarray], float]) -> Callable[[Columns], float]:
    def compute(columns: Columns) -> float:
        direction, counts = _translations(columns, "direction"), _translations(columns, name)
        if not len(direction):
            return math.nan
        sums = np.zeros((int(direction.max()) + 1, counts.shape[1]), np.int64)
        np.add.at(sums, direction, counts)
        return float(np.mean([score(sums[present]) for present in np.unique(direction)]))

    return compute


bleu = _mean_over_directions("bleu", bleu_of)
"""Corpus BLEU of each direction; their mean."""
chrf = _mean_over_directions("chrf", chrf_of)
"""Corpus chrF2 of each direction; their mean."""


def direction_findings(table: Columns, directions: Sequence[tuple[str, str]]) -> list[Words]:
    """A sentence for each direction that was measured, with its own scores and their intervals.

    Args:
        directions: (source, target) languages, in the order of their indices.
    """
    from .bootstrap import scores

    rows = {name: _translations(table, name) for name in ("direction", "bleu", "chrf")}
    found = []
    for index in np.unique(rows["direction"]).tolist():
        chosen = {name: column[rows["direction"] == index] for name, column in rows.items()}
        figures = ", ".join(
            f"{score.metric} {score.value:.1f} [{score.low:.1f}, {score.high:.1f}]"
            for score in scores([BLEU, CHRF], chosen, resamples=RESAMPLES, confidence=CONFIDENCE, seed=0)
        )
        (read, write), count = directions[index], len(chosen["direction"])
        found.append(Words(f"{read} → {write}: {figures}; {count:,} sentences", f"{read} → {write}：{figures}；{count:,} 句"))
    return found


def signature(metric: str, language: str) -> str:
    """What sacreBLEU prints beside its score of these settings, with its version."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    made = BLEU(tokenize=bleu_tokenization(language)) if metric == "bleu" else CHRF()
    score = made.corpus_score(["x"], [["x"]])  # which tells it the number of references
    return f"{score.name}|{made.get_signature()}"


BLEU = Metric(
    "bleu",
    Words(
        "How many of the words, and of their sequences up to four, the reference translation holds, from 0 to 100; mean over directions.",
        "译文的词及至多四词的序列有多少出现在参考译文中，0 到 100；各翻译方向取平均。",
    ),
    "",
    "higher",
    bleu,
)
CHRF = Metric(
    "chrf",
    Words(
        "The same of sequences of up to six characters, found and missed: fairer to inflected languages; mean over directions.",
        "同上，但按至多六个字符的序列计算查准与查全，对词形变化多的语言更公平；各翻译方向取平均。",
    ),
    "",
    "higher",
    chrf,
)
