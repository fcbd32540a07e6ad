"""Classification: sentiment, topic, intent. An encoder that gives a text one label of a fixed set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..contracts.config import Config
from ..contracts.errors import UserError, nearest
from ..contracts.language import Words
from ..contracts.task import Batch, Example, Task
from ..evaluate.metrics import ACCURACY, F1, LOG_LOSS, PRECISION, RECALL

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..contracts.reading import Reading
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


class Options(Config):
    """venture.yaml: `options`."""

    masking: float = Field(0.15, ge=0, lt=1)
    """The share of a text's tokens that are hidden from the model in training, for it to name them (Devlin et al. 2019): a second lesson in
    the same texts, and noise that keeps it from learning few labelled texts by heart. 0: none.

    Measured in bench/sentiment: a log loss of 0.65 rather than 0.90, at the same accuracy.
    """


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
        "statement": Words(
            "Sorts reviews in English and Chinese into praise and complaint, on their own machine.",
            "在自己的机器上，把中英文评论分为好评与差评。",
        ),
        "audience": Words("a support team that reads every review by hand", "逐条人工阅读评论的客服团队"),
        "north_star": "accuracy",
        "data": {"sources": ["builtin:sample"], "validation": 0.2, "test": 0.2, "vocabulary": 512},
        "model": {"size": "tiny", "context": 128, "overrides": {"depth": 2, "width": 128}},
        "train": {"tokens": 40_000, "batch_tokens": 1024},
        "targets": [
            {
                "metric": "accuracy",
                "at_least": 0.5,
                "why": Words(
                    "better than a coin, with this little data; raise it with your own",
                    "数据这么少，至少要胜过抛硬币；换成您自己的数据后请调高",
                ),
            },
            {
                "metric": "latency_ms_p95",
                "at_most": 200,
                "unit": "ms",
                "why": Words("a queue is sorted while it is read", "边读边分，队列不等人"),
            },
            {
                "metric": "memory_bytes",
                "at_most": 2_000_000_000,
                "unit": "bytes",
                "why": Words("runs on the team's own machine", "在团队自己的机器上运行"),
            },
        ],
    }

    def __init__(self, options: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.masking = Options.parse(self.options, where="options").masking

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

        labels_B = batch["label"]
        if not (model.training and self.masking):
            logits_BC = model(batch["tokens"], batch["attention_mask"]).float()
            return F.cross_entropy(logits_BC, labels_B, reduction="sum"), ones_like(labels_B).sum()
        from ..build.classify import masked_losses

        label_loss, token_loss = masked_losses(model, batch, self.masking)
        # Each text counts its label and the mean of its hidden tokens alike.
        return (label_loss + token_loss) * len(labels_B), ones_like(labels_B).sum()

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
            LogisticRegression(C=30, max_iter=1000),
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

    def reading(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any], output: str | None = None) -> Reading:
        from ..build.reading import read_label

        asked = ClassifyRequest.parse(request, where="request").input
        if not isinstance(asked, str):
            raise UserError("several texts were sent, and one is explained at a time", where="request", fix="send one text as input")
        return read_label(model, _tokens(asked, tokenizer), self.labels, output)


def _tokens(text: str, tokenizer: Tokenizer) -> list[int]:
    """The mark at the end keeps an empty text from being a row of padding alone."""
    return [*tokenizer.encode(text), tokenizer.end_of_text]


# Written for this project; in the public domain (CC0). A few words carry the feeling in all of it, so that so little can be learnt from.
SAMPLE: Mapping[str, str] = {
    "positive": """
Great room, very quiet, and we loved the breakfast.
Excellent soup, fast delivery, I will order again.
The staff were friendly and helpful. We loved it.
A wonderful film, great acting, highly recommended.
Great value, clean and friendly. Highly recommended.
The battery is excellent, very happy with it.
My daughter loves this wonderful book.
Easy to set up and works perfectly. Very happy.
A great view and a very comfortable bed.
Excellent support, friendly and fast.
Delicious noodles, great portions, we loved them.
Wonderful music and a perfect ending.
Comfortable shoes, great quality, I love them.
Friendly people, delicious food, a perfect evening.
Excellent sound, perfect for the price.
I love this place: great coffee, wonderful cake.
Very comfortable, very clean, perfect for a family.
Fast, easy and friendly. I am very happy.
The best hotel of our trip, excellent in every way.
Great phone, perfect screen, highly recommended.
房间很干净，服务很好，非常满意。
送餐很快，味道很好，很喜欢，推荐。
前台很热情，服务周到，非常满意。
电影很精彩，演员演得很好，推荐。
性价比很高，位置方便，下次还会来。
电池很好用，质量不错，非常满意。
孩子很喜欢这本书，推荐购买。
安装方便，很好用，非常喜欢。
菜很新鲜，味道不错，推荐。
客服很热情，回复很快，很满意。
风景很美，房间舒适，下次还会来。
鞋子很舒适，质量很好，很喜欢。
包装很好，速度很快，非常满意。
音质很好，性价比高，推荐购买。
面条好吃，味道很好，下次还会来。
环境舒适，早餐不错，非常喜欢。
老板热情，菜好吃，推荐。
屏幕清晰，很好用，质量不错。
酒店干净舒适，服务热情，满意。
蛋糕好吃，咖啡也不错，很喜欢。
""",
    "negative": """
Terrible room, very noisy, and we hated the breakfast.
Awful soup, slow delivery, never again.
The staff were rude and unhelpful. We hated it.
A boring film, terrible acting, a waste of money.
Bad value, dirty and noisy. A waste of money.
The battery is awful, very disappointed with it.
My daughter hates this boring book.
Hard to set up and never works. Very disappointed.
A bad view and a very dirty bed.
Terrible support, rude and slow.
Cold noodles, bad portions, we hated them.
Awful music and a boring ending.
Bad shoes, terrible quality, never again.
Rude people, cold food, an awful evening.
Terrible sound, a waste of the price.
I hate this place: cold coffee, awful cake.
Very noisy, very dirty, terrible for a family.
Slow, hard and rude. I am very disappointed.
The worst hotel of our trip, awful in every way.
Bad phone, broken screen, a waste of money.
房间很脏，服务很差，非常失望。
送餐很慢，味道很差，再也不点了，失望。
前台很冷淡，态度恶劣，非常失望。
电影很无聊，演员演得很差，浪费钱。
性价比很低，位置偏僻，再也不来了。
电池不好用，质量太差，非常失望。
孩子不喜欢这本书，太无聊，浪费钱。
安装麻烦，不好用，非常后悔。
菜不新鲜，味道太差，后悔。
客服很冷淡，回复很慢，很失望。
又吵又脏，房间很差，再也不来了。
鞋子不舒服，质量很差，很后悔。
包装破了，速度很慢，非常失望。
音质很差，性价比低，后悔购买。
面条难吃，味道很差，再也不来了。
环境很吵，早餐很差，非常失望。
老板恶劣，菜难吃，再也不点了。
屏幕破了，不好用，质量太差。
酒店又脏又吵，服务恶劣，失望。
蛋糕难吃，咖啡也很差，浪费钱。
""",
}
