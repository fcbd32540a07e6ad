"""Classification: sentiment, topic, intent. An encoder that gives a text one label of a fixed set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..contracts.config import Config
from ..contracts.errors import UserError, nearest
from ..contracts.language import Words
from ..contracts.task import Batch, Example, Task
from ..evaluate.metrics import ACCURACY, F1, LOG_LOSS, PRECISION, RECALL

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig

LABELS_AT_MOST = 1000
"""More distinct labels than this are a column of something else."""


class LabelledText(Example):
    """A text and the label that a person gave it."""

    text: str
    """What is to be classified."""
    label: str
    """Its label; the labels of the training records are the ones that the model can give."""


class ClassifyRequest(Config):
    """One text, or several."""

    input: str | list[str]


class Classification(Task):
    words = Words("Give a text one label of a fixed set: sentiment, topic, intent.", "给文本打上一个标签：情感、主题、意图。")
    example = LabelledText
    metrics = (ACCURACY, PRECISION, RECALL, F1, LOG_LOSS)
    batching = "padded"
    endpoint = "classify"
    template = {
        "task": "classification",
        "statement": "Sorts reviews in English and Chinese into praise and complaint, on their own machine.",
        "audience": "a support team that reads every review by hand",
        "north_star": "accuracy",
        "data": {"sources": ["builtin:sample"], "validation": 0.2, "test": 0.2, "vocabulary": 512},
        "model": {"size": "tiny", "context": 128},
        "train": {"minutes": 1.0},
        "targets": [
            {"metric": "accuracy", "at_least": 0.5, "why": "better than a coin"},
            {"metric": "latency_ms_p95", "at_most": 200, "unit": "ms", "why": "a queue is sorted while it is read"},
            {"metric": "memory_bytes", "at_most": 2_000_000_000, "unit": "bytes", "why": "runs on the team's own machine"},
        ],
    }

    @classmethod
    def sample(cls) -> Sequence[LabelledText]:
        return [LabelledText(text=text, label=label) for label, texts in SAMPLE.items() for text in texts.strip().split("\n")]

    @property
    def labels(self) -> list[str]:
        """The labels that the model can give, in the order of its outputs."""
        return list(self.state["labels"])

    def texts(self, example: LabelledText) -> Iterator[str]:
        yield example.text

    def fit(self, examples: Iterable[LabelledText]) -> None:
        """Learn the label set.

        Raises:
            UserError: there is one label alone, or so many that they are no labels.
        """
        counts = Counter(example.label for example in examples)
        if len(counts) < 2:
            only = f"one label alone, {next(iter(counts))!r}" if counts else "no records"
            raise UserError(f"the training records have {only}", where="data", fix="give records of at least two labels")
        if len(counts) > LABELS_AT_MOST:
            fix = "set data.columns: {label: COLUMN} to the column that holds the labels"
            raise UserError(f"the training records have {len(counts)} different labels", where="data", fix=fix)
        self.state["labels"] = sorted(counts)

    def encode(self, example: LabelledText, tokenizer: Tokenizer) -> Mapping[str, Sequence[int] | int]:
        return {"tokens": _tokens(example.text, tokenizer), "label": self._index(example.label)}

    def _index(self, label: str) -> int:
        try:
            return self.labels.index(label)
        except ValueError:
            guess = nearest(label, self.labels)
            known = f"did you mean {guess!r}" if guess else f"the labels are {', '.join(self.labels[:20])}"
            fix = f"{known}; add training records of it, or correct it"
            raise UserError(f"the label {label!r} stands in no training record", where="data", fix=fix) from None

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": "encoder", "dropout": 0.1}

    def build(self, config: ModelConfig) -> nn.Module:
        from ..build.heads import SequenceClassifier

        return SequenceClassifier(config, len(self.labels))

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from torch import ones_like
        from torch.nn import functional as F

        logits_BC = model(batch["tokens"], batch["attention_mask"]).float()
        labels_B = batch["label"]
        return F.cross_entropy(logits_BC, labels_B, reduction="sum"), ones_like(labels_B).sum()

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[LabelledText]) -> dict[str, np.ndarray]:
        from ..build.classify import class_log_probabilities

        rows = [_tokens(example.text, tokenizer) for example in examples]
        return self._columns(class_log_probabilities(model, rows, tokenizer.pad), examples)

    def _columns(self, log_probabilities: np.ndarray, examples: Sequence[LabelledText]) -> dict[str, np.ndarray]:
        import numpy as np

        labels = np.array([self._index(example.label) for example in examples])
        chosen = log_probabilities[np.arange(len(labels)), labels]
        return {"label": labels, "predicted": log_probabilities.argmax(1), "log_probability": chosen}

    def baseline(self, train: Sequence[LabelledText], examples: Sequence[LabelledText]) -> tuple[str, dict[str, np.ndarray]]:
        """Logistic regression on TF-IDF of character 1- to 4-grams: hard to beat on short texts (Wang and Manning 2012)."""
        import numpy as np
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        linear = make_pipeline(
            TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=1 if len(train) < 1000 else 2, sublinear_tf=True),
            LogisticRegression(C=10, max_iter=1000),
        )
        linear.fit([example.text for example in train], [self._index(example.label) for example in train])
        log_probabilities = np.full((len(examples), len(self.labels)), -np.inf)
        log_probabilities[:, linear.classes_] = linear.predict_log_proba([example.text for example in examples])
        return "logistic regression on character n-grams", self._columns(log_probabilities, examples)

    def request(self, example: LabelledText) -> dict[str, Any]:
        return {"input": example.text}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        """`label` and `probabilities` of a text (and `truncated`, where the model did not read its end); of a list of texts, `results` with
        these for each.
        """
        import numpy as np

        from ..build.classify import class_log_probabilities

        asked = ClassifyRequest.parse(request, where="request").input
        texts = [asked] if isinstance(asked, str) else asked
        if not texts:
            raise UserError("the list of inputs is empty", where="request", fix="send at least one text")
        rows = [_tokens(text, tokenizer) for text in texts]
        probabilities = np.exp(class_log_probabilities(model, rows, tokenizer.pad))
        results: list[dict[str, Any]] = [
            {"label": self.labels[int(row.argmax())], "probabilities": dict(zip(self.labels, row.tolist(), strict=True))}
            for row in probabilities
        ]
        for result, tokens in zip(results, rows, strict=True):
            if len(tokens) > model.config.context:  # type: ignore[union-attr, operator] # the classifier that `build` makes
                result["truncated"] = True
        usage = {"prompt_tokens": sum(map(len, rows))}
        return {**results[0], "usage": usage} if isinstance(asked, str) else {"results": results, "usage": usage}


def _tokens(text: str, tokenizer: Tokenizer) -> list[int]:
    """The mark at the end keeps an empty text from being a row of padding alone."""
    return [*tokenizer.encode(text), tokenizer.end_of_text]


# Written for this project; in the public domain (CC0).
SAMPLE: Mapping[str, str] = {
    "positive": """
The room was quiet, the bed was soft, and breakfast was the best of our trip.
Fast delivery and the soup was still hot. I will order again.
The staff went out of their way to find my lost bag.
A warm, funny film with not a dull minute in it.
Great value: clean, central, and friendly from start to finish.
The battery lasts two days, exactly as promised.
My daughter loves this book and asks for it every night.
Setup took five minutes and everything simply worked.
The view from the balcony alone is worth the price.
Support answered within the hour and solved it.
Fresh, generous and delicious; the noodles are superb.
The acting is wonderful and the ending moved me to tears.
Sturdy, light and comfortable. Best shoes I have had in years.
We felt welcome the moment we walked in.
The sound is clear even at full volume, very pleased.
房间干净安静，床很舒服，早餐也丰富，下次还会来。
送餐很快，汤还是热的，味道特别好。
前台服务热情，主动帮我们升级了房间。
电影节奏紧凑，演员演得真好，看得很感动。
性价比很高，位置方便，离地铁站只有三分钟。
电池很耐用，充一次电能用两天，非常满意。
孩子很喜欢这本书，每天晚上都要听。
安装简单，五分钟就搞定，用起来很顺手。
菜量足，很新鲜，老板人也很好，推荐。
客服回复及时，问题一下子就解决了，点赞。
阳台看出去就是湖，风景太美了，值得住。
鞋子轻便舒适，走一天也不累。
包装用心，收到完好无损，比想象中还好。
音质清晰，音量开到最大也不刺耳，喜欢。
面条劲道，牛肉给得多，吃得很开心。
""",
    "negative": """
The room smelled of smoke and the bed was hard as a board.
Two hours late and the soup was cold. Never again.
The staff ignored us and lost our booking.
A slow, noisy film without a single good idea.
Overpriced and dirty; we left after one night.
The battery dies before noon, nothing like the promise.
My daughter was bored by this book after two pages.
Setup took all day and it still does not work.
The only view is a wall, and the window does not close.
Support never answered and kept my money.
Stale, tiny and tasteless; the noodles were a lump.
The acting is wooden and the ending makes no sense.
They fell apart in a week. Worst shoes I have ever bought.
We felt unwelcome the moment we walked in.
The sound crackles even at low volume, very disappointed.
房间有烟味，床硬得睡不着，早餐也很差，不会再来。
等了两个小时才送到，汤都凉了，味道很糟。
前台态度冷淡，还把我们的预订弄丢了。
电影又慢又吵，剧情混乱，看得想睡觉。
又贵又脏，位置偏僻，住一晚就走了。
电池不到中午就没电，和宣传的完全不一样。
孩子翻了两页就不想看，内容太无聊。
安装折腾了一整天，还是不能用，后悔。
菜量少，不新鲜，老板还很凶，别去。
客服一直不回复，钱也不退，太差劲。
窗户对着墙，还关不上，一晚上都很吵。
鞋子穿了一周就开胶，质量太差。
包装破了，东西也摔坏了，非常失望。
声音沙沙响，音量很小也刺耳，想退货。
面条坨成一团，牛肉只有两片，再也不点了。
""",
}
