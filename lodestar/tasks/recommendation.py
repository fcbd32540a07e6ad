"""Recommendation: what a user will choose next, by what they chose before. A causal Transformer over items."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from ..contracts.config import Config
from ..contracts.errors import UserError
from ..contracts.findings import Findings
from ..contracts.language import Words
from ..contracts.progress import note
from ..contracts.task import IGNORE, Batch, Task
from ..evaluate.ranking import METRICS, UNKNOWN, ranking_columns, ranking_findings
from ..prepare.interaction_records import Interactions, name_of, seconds_of
from ..prepare.interactions import InteractionLog, frequent, hold_out, without_repeats

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..build.item_catalogue import Catalogue
    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig

WHY = {
    "rated too low": "评分过低",
    "the user had chosen the item before": "该用户先前已选过此物品",
    "the same interaction twice": "重复记录",
    "of a user or an item with too few": "所属用户或物品的记录太少",
}
"""Why an interaction is left out, in Chinese."""
SAMPLES = Path(__file__).parent / "samples"
"""Written for this project; in the public domain (CC0). The films do not exist, and neither do the people who chose them."""


class Options(Config):
    """venture.yaml: `options`."""

    split: Literal["leave_one_out", "time"] = "leave_one_out"
    """What judges: of each user the last interaction (and the one before it validates), or what came after one moment, so that nothing
    is learnt from the future. `data.test` and `data.validation` say how much that is; with leave_one_out only whether there is any."""
    user_at_least: int = Field(3, ge=1)
    """Users with fewer interactions are left out."""
    item_at_least: int = Field(1, ge=1)
    """Items that fewer interactions are of are left out, until both hold."""
    least_rating: float | None = None
    """Interactions rated lower are left out; absent, every one counts, whatever its rating."""
    repeats: bool = False
    """Whether choosing an item again counts, as it does for songs and groceries. Where not, the first time counts alone, and nobody is
    recommended what they have chosen before."""
    texts: bool = True
    """Learn from the items' titles and texts, too, so that items nobody has chosen yet can be recommended."""
    without_own: float = Field(0.1, ge=0, lt=1)
    """The share of items that stand for their texts alone in a step of training, so that the texts learn to do so."""
    sampled: int = Field(0, ge=0)
    """Estimate the loss by so many items drawn by popularity, and corrected for it; 0: by the whole catalogue. Worth it from some
    hundred thousand items on."""


class RecommendRequest(Config):
    """What was chosen, the earliest first; or a search for items."""

    history: list[str] = []
    """Items by their names or their titles."""
    k: int = Field(10, ge=1, le=100)
    """How many to recommend."""
    exclude_seen: bool | None = None
    """Leave out what is in the history; as `options.repeats` says where absent."""
    reasons: int = Field(1, ge=0, le=5)
    """How many reasons to give for each, at most."""
    search: str | None = None
    """In the place of a history: find items whose title holds this."""

    @field_validator("history", mode="before")
    @classmethod
    def _numbers_are_names(cls, history: Any) -> Any:
        return [name_of(item) for item in history] if isinstance(history, list) else history


class Recommendation(Task):
    words = Words(
        "Say what a user will choose next, by what they chose before, and because of what; new items by their texts.",
        "根据用户以往的选择预测下一个选择，并说明理由；新物品可凭文字介绍推荐。",
    )
    example = Interactions
    metrics = METRICS
    batching = "whole"
    shaped_by_data = True
    tokenized = False
    endpoint = "recommend"
    passes = 20  # assumed; measured on MovieLens for 6 alone
    template = {
        "task": "recommendation",
        "statement": Words("Recommends the next film of a small cinema's archive.", "为一家小影院的片库推荐下一部影片。"),
        "audience": Words("a cinema whose members ask what to watch next", "会员常问接下来看什么的影院"),
        "north_star": "hit_rate_at_10",
        "data": {"sources": ["builtin:sample"], "validation": 0.1, "test": 0.1},
        "model": {"size": "tiny", "context": 32, "overrides": {"depth": 2, "width": 64}},
        # With so little data the texts carry most: chosen by the sample's validation among five.
        "options": {"without_own": 0.5},
        "train": {"tokens": 10_000, "batch_tokens": 256, "learning_rate": 0.005, "dropout": 0.5},
        "targets": [
            {
                "metric": "hit_rate_at_10",
                "at_least": 0.3,
                "why": Words(
                    "better than chance, with this little data; raise it with your own",
                    "数据这么少，至少要胜过随机；换成您自己的数据后请调高",
                ),
            },
            {"metric": "latency_ms_p95", "at_most": 200, "unit": "ms", "why": Words("asked while a page loads", "在页面加载时询问")},
            {
                "metric": "memory_bytes",
                "at_most": 2_000_000_000,
                "unit": "bytes",
                "why": Words("runs on the cinema's own machine", "在影院自己的机器上运行"),
            },
        ],
    }  # fmt: skip

    def __init__(self, options: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.recipe = Options.parse(self.options, where="options")
        self._described: dict[str, tuple[str, str]] = {}

    @classmethod
    def sample(cls) -> Sequence[Interactions]:
        chosen: dict[str, list[Mapping[str, str]]] = {}
        for row in _rows("recommendation-choices.csv"):
            chosen.setdefault(row["user"], []).append(row)
        histories = [
            Interactions(user=user, items=[row["item"] for row in rows], times=[seconds_of(row["time"]) for row in rows])
            for user, rows in chosen.items()
        ]
        return [*histories, *(Interactions.model_validate(Interactions.of_record(row)) for row in _rows("recommendation-items.csv"))]

    # Data

    def adopt(self, folder: Path) -> None:
        raise UserError("a recommender learns its own items, and begins from no open model", where="model.base", fix="remove it")

    def gather(self, records: Iterator[tuple[Interactions, str]], shares: Mapping[str, float]) -> Iterator[tuple[Interactions, str]]:
        log, unliked = InteractionLog(), 0
        for record, where in records:
            if record.title or record.text:
                for item in record.chosen:
                    self._described[item] = (record.title, record.text)
            if record.user is None:
                self._described.setdefault(record.chosen[0], ("", ""))
            elif self._liked(record, where):
                times: Sequence[float | None] = record.times or [record.time] * len(record.chosen)
                for item, time in zip(record.chosen, times, strict=True):
                    log.add(record.user, item, time, where)
            else:
                unliked += len(record.chosen)
        if not len(log):
            what = f"all {unliked:,} interactions are rated below {self.recipe.least_rating:g}" if unliked else "no record has a user"
            raise UserError(
                what, where="data", fix="lower options.least_rating" if unliked else "set data.columns: {user: COLUMN, item: COLUMN}"
            )
        histories = without_repeats(log.histories(), first_alone=not self.recipe.repeats)
        histories = frequent(histories, user_at_least=self.recipe.user_at_least, item_at_least=self.recipe.item_at_least)
        for why, count in ({"rated too low": unliked} | histories.dropped).items():
            if count:
                note(
                    str(
                        Words(
                            f"{count:,} of {len(log) + unliked:,} interactions are left out: {why}",
                            f"略去 {count:,} 条（共 {len(log) + unliked:,} 条）：{WHY[why]}",
                        )
                    )
                )
        if not len(histories.user_of):
            fix = "give more data, or lower options.user_at_least and options.item_at_least"
            raise UserError(f"no user is left with {self.recipe.user_at_least} interactions", where="data", fix=fix)
        for part in hold_out(histories, self.recipe.split, shares):
            yield Interactions(user=part.user, items=part.items, times=part.times, fresh=part.fresh), part.split

    def _liked(self, record: Interactions, where: str) -> bool:
        if self.recipe.least_rating is None:
            return True
        if record.rating is None:
            raise UserError(
                "the interaction has no rating", where=where, fix="set data.columns: {rating: COLUMN}, or remove options.least_rating"
            )
        return record.rating >= self.recipe.least_rating

    def texts(self, example: Interactions) -> Iterator[str]:
        for item in example.chosen:
            title, text = self._described.get(item, ("", ""))
            yield title or self.catalogue.title(item)
            if text:
                yield text

    def fit(self, examples: Iterable[Interactions]) -> None:
        """Learn the catalogue: the items that were chosen, the commonest first, and those that are only described; and their terms.

        Raises:
            UserError: there is nothing to learn from.
        """
        from ..build.item_catalogue import catalogue_state

        counts: Counter[str] = Counter()
        longest = 0
        for example in examples:
            counts.update(example.items)
            longest = max(longest, len(example.items))
        if len(counts) < 2 or longest < 2:
            what = "the training records have one item alone" if len(counts) < 2 else "no user has two interactions to learn from"
            raise UserError(what, where="data", fix="give more interactions, or hold out less")
        self.state |= catalogue_state(counts, self._described, texts=self.recipe.texts)
        self.__dict__.pop("catalogue", None)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The items that can be recommended."""
        from ..build.item_catalogue import Catalogue

        return Catalogue(self.state)

    def rows(self, example: Interactions, tokenizer: Tokenizer, context: int | None) -> Sequence[Mapping[str, Sequence[int] | int]]:
        """A history longer than the context is learnt from in windows, the last one whole; of one that is held out, its end alone."""
        from ..build.next_item import FIRST_ITEM

        seen, places = self.catalogue.seen, self.catalogue.places
        tokens = [FIRST_ITEM + place for item in example.items if (place := places.get(item, seen)) < seen]
        if example.fresh is not None:
            # The loss is over what was chosen in training: an item that was not has no place in it.
            told = len(tokens) > 1 and places.get(example.items[-1], seen) < seen
            last = tokens[-(context or len(tokens)) :] if told else []
            return [{"tokens": last, "targets": [*[IGNORE] * (len(last) - 2), last[-1], IGNORE] if told else []}]
        # Each window begins with the item that the one before it ends with, so that every item but the first is a target once.
        pairs = max(len(tokens) - 1, 0)
        ends = [*range(pairs, 0, -max((context or len(tokens)) - 1, 1))][::-1] or [0]
        windows = [tokens[start : end + 1] for start, end in zip([0, *ends], ends, strict=False)]
        return [{"tokens": window, "targets": [*window[1:], IGNORE][: len(window)]} for window in windows]

    def encode(self, example: Interactions, tokenizer: Tokenizer) -> Mapping[str, Sequence[int] | int]:
        """Each item, and the one that came after it; nothing of an item that was not chosen in training."""
        return self.rows(example, tokenizer, None)[0]

    # Model

    def architecture(self) -> Mapping[str, Any]:
        from ..build.next_item import FIRST_ITEM

        return {"architecture": "decoder", "vocabulary_size": FIRST_ITEM + max(self.catalogue.seen, 1), "dropout": 0.2}

    def build(self, config: ModelConfig) -> nn.Module:
        from ..build.next_item import NextItem

        known = self.catalogue
        return NextItem(
            config, known.counts, terms_of_items=known.terms_of_items, terms=len(known.terms), without_own=self.recipe.without_own,
            sampled=self.recipe.sampled,
        )  # fmt: skip

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from ..build.next_item import next_item_loss

        return next_item_loss(model, batch)

    # Quality

    def signatures(self) -> dict[str, str]:
        seen = "with items chosen before" if self.recipe.repeats else "items chosen before left out"
        told = f"full ranking over {len(self.catalogue.items):,} items, {seen}, ties last; {self.recipe.split}"
        return {self.metrics[0].name: told}

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Interactions]) -> dict[str, np.ndarray]:
        """Of each example its last item is what was chosen next, and the others are the history."""
        from ..build.recommend import scores_of

        histories, targets = self._asked(examples)
        return self._columns(scores_of(model, histories), histories, targets)

    def baseline(self, train: Sequence[Interactions], examples: Sequence[Interactions]) -> tuple[str, dict[str, np.ndarray]]:
        """Item neighbours, which are hard to beat where there is little to learn from (Ferrari Dacrema et al. 2019)."""
        from ..evaluate.item_neighbours import ItemNeighbours

        neighbours = ItemNeighbours([self._known(example.items) for example in train], len(self.catalogue.items))
        histories, targets = self._asked(examples)
        return "item neighbours", self._columns(lambda part: neighbours.scores(histories[part]), histories, targets)

    def _columns(
        self, scores: Callable[[slice], np.ndarray], histories: Sequence[np.ndarray], targets: np.ndarray
    ) -> dict[str, np.ndarray]:  # fmt: skip
        import numpy as np

        counts = np.zeros(len(self.catalogue.items), np.int64)
        counts[: self.catalogue.seen] = self.catalogue.counts
        return ranking_columns(scores, histories, targets, counts, exclude_seen=not self.recipe.repeats)

    def findings(self, columns: Mapping[str, np.ndarray], examples: Sequence[Interactions], train: Sequence[Interactions]) -> Findings:
        return ranking_findings(columns, self.catalogue.titles)

    def _asked(self, examples: Sequence[Interactions]) -> tuple[list[np.ndarray], np.ndarray]:
        import numpy as np

        targets = np.array([self.catalogue.places.get(example.items[-1], UNKNOWN) for example in examples])
        return [self._known(example.items[:-1]) for example in examples], targets

    def _known(self, items: Sequence[str]) -> np.ndarray:
        """The places of the items that are in the catalogue."""
        import numpy as np

        return np.array([self.catalogue.places[item] for item in items if item in self.catalogue.places], np.int64)

    # Product

    def choices(self) -> dict[str, Any]:
        return {"items": len(self.catalogue.items)}

    def request(self, example: Interactions) -> dict[str, Any]:
        before = example.items[:-1] if example.fresh is not None else example.chosen
        return {"history": [self.catalogue.call(item) for item in before], "k": 10}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        """`recommendations`: each an `item` with its `title`, a `score` (comparable within one answer), whether it is `new` (nobody chose
        it in training), and `because`: what of the history raises its log-probability most, and by how many nats.

        `unknown` has what of the history is in no catalogue; `fallback` says "popularity" where nothing is left to go by, and is None else.
        With `search`, `items` whose title holds it.
        """
        from ..build.recommend import recommend

        asked, known = RecommendRequest.parse(request, where="request"), self.catalogue
        if asked.search is not None:
            if asked.history:
                raise UserError("search and history were both sent", where="request", fix="send one of them")
            return {"items": [known.named(place) for place in known.search(asked.search, asked.k)], "usage": {"prompt_tokens": 0}}
        places = [known.find(item) for item in asked.history]
        history = [place for place in places if place is not None]
        exclude = not self.recipe.repeats if asked.exclude_seen is None else asked.exclude_seen
        recommendations = [
            {
                **known.named(each.item), "score": each.score, "new": each.item >= known.seen,
                "because": [{**known.named(item), "influence": influence} for item, influence in each.because],
            }
            for each in recommend(model, history, asked.k, without=history if exclude else (), reasons=asked.reasons)
        ]  # fmt: skip
        return {
            "recommendations": recommendations, "history": [known.named(place) for place in history],
            "unknown": [item for item, place in zip(asked.history, places, strict=True) if place is None],
            "fallback": None if history else "popularity", "usage": {"prompt_tokens": len(history)},
        }  # fmt: skip


def _rows(name: str) -> list[Mapping[str, str]]:
    with (SAMPLES / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
