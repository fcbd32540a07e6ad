"""Retrieval: find the passage that answers a question. An encoder that gives a text a vector, near those of texts that belong to it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ..contracts.config import Config
from ..contracts.errors import UserError
from ..contracts.language import Words
from ..contracts.task import Batch, Example, Task
from ..evaluate.retrieval import MRR, NDCG_AT_10, RECALL_AT_1, RECALL_AT_5, ranks

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..contracts.reading import Reading
    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig


class QuestionAndPassage(Example):
    """A question, and the passage that answers it."""

    question: str
    """What is asked."""
    passage: str
    """What answers it."""
    negatives: list[str] = []
    """Passages that look as if they answered it, and do not; those of other records count as such anyway."""

    def kinship(self) -> str | None:
        return self.passage.strip()


class Options(Config):
    """venture.yaml: `options`."""

    both: bool = True
    """Learn to find the question for a passage, too, not only the passage for a question."""
    temperature: float = Field(0.07, gt=0)
    """What similarities are divided by in training: the lower, the more the hardest passages of a batch count. 0.07 is that
    of Wu et al. 2018 and of Radford et al. 2021."""
    learn_temperature: bool = False
    """Whether the temperature is learnt, from there."""


class EmbeddingsRequest(Config):
    """One text, or several, as OpenAI's clients send them."""

    input: str | list[str]
    encoding_format: Literal["float", "base64"] = "float"
    """Numbers, or the bytes of them as little-endian float32 in base64, which OpenAI's own client asks for: a quarter of the size."""
    user: str | None = None
    """Changes nothing."""


class Retrieval(Task):
    words = Words(
        "Find the passage that answers a question; give texts vectors that say how near they are.",
        "找到能回答问题的段落；为文本生成向量，衡量彼此远近。",
    )
    example = QuestionAndPassage
    metrics = (MRR, RECALL_AT_1, RECALL_AT_5, NDCG_AT_10)
    batching = "padded"
    compares_rows = True
    endpoint = "embeddings"
    template = {
        "task": "retrieval",
        "statement": Words(
            "Finds the paragraph of the house rules that answers a guest's question, in English and Chinese.",
            "用中英文为客人的提问找到住客须知里对应的段落。",
        ),
        "audience": Words("a front desk that answers the same questions all day", "整天回答同样问题的前台"),
        "north_star": "recall_at_5",
        "data": {"sources": ["builtin:sample"], "validation": 0.2, "test": 0.2, "vocabulary": 512},
        "model": {"size": "tiny", "context": 128, "overrides": {"depth": 2, "width": 128}},
        "train": {"tokens": 80_000, "batch_tokens": 2048},
        "targets": [
            {
                "metric": "recall_at_5",
                "at_least": 0.2,
                "why": Words(
                    "better than chance, with this little data; raise it with your own",
                    "数据这么少，至少要胜过随机；换成您自己的数据后请调高",
                ),
            },
            {
                "metric": "latency_ms_p95",
                "at_most": 200,
                "unit": "ms",
                "why": Words("the guest stands at the desk", "客人就站在柜台前"),
            },
            {
                "metric": "memory_bytes",
                "at_most": 2_000_000_000,
                "unit": "bytes",
                "why": Words("runs on the desk's own machine", "在前台自己的机器上运行"),
            },
        ],
    }  # fmt: skip

    def __init__(self, options: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.recipe = Options.parse(self.options, where="options")

    @classmethod
    def sample(cls) -> Sequence[QuestionAndPassage]:
        lines = (line.split(" | ") for line in SAMPLE.strip().split("\n"))
        return [QuestionAndPassage(question=question, passage=passage) for passage, *questions in lines for question in questions]

    def texts(self, example: QuestionAndPassage) -> Iterator[str]:
        yield example.question
        yield example.passage
        yield from example.negatives

    def encode(self, example: QuestionAndPassage, tokenizer: Tokenizer) -> Mapping[str, Sequence[int] | int]:
        """The texts end to end, and the `part` that each token belongs to, as build/embed.py reads them."""
        from ..build.embed import text_tokens

        parts = [text_tokens(text, tokenizer) for text in self.texts(example)]
        return {
            "tokens": [token for part in parts for token in part],
            "part": [number for number, part in enumerate(parts, 1) for _ in part],
        }

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": "encoder", "dropout": 0.1}

    def build(self, config: ModelConfig) -> nn.Module:
        from ..build.embed import TextEncoder

        return TextEncoder(config, temperature=self.recipe.temperature, learnt=self.recipe.learn_temperature)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from torch import tensor

        from ..build.embed import contrastive_losses

        losses = contrastive_losses(model, batch, both=self.recipe.both)
        return losses.sum(), tensor(len(losses), device=losses.device)

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[QuestionAndPassage]) -> dict[str, np.ndarray]:
        """`rank` of each question's passage among all passages of the examples."""
        from ..build.embed import embed

        passages, relevant = _pool(examples)
        vectors = embed(model, tokenizer, [*(example.question for example in examples), *passages])
        return {"rank": ranks(vectors[: len(examples)] @ vectors[len(examples) :].T, relevant)}

    def baseline(self, train: Sequence[QuestionAndPassage], examples: Sequence[QuestionAndPassage]) -> tuple[str, dict[str, np.ndarray]]:
        """BM25, which learns nothing from the training records and is hard to beat all the same (Thakur et al. 2021)."""
        from ..evaluate.bm25 import BM25

        passages, relevant = _pool(examples)
        return "BM25", {"rank": ranks(BM25(passages).scores([example.question for example in examples]), relevant)}

    def request(self, example: QuestionAndPassage) -> dict[str, Any]:
        return {"input": [example.question, example.passage]}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        """`data` with the `embedding` of each text, a vector of length 1, so that the dot product of two is their cosine similarity.

        A text longer than the context is read whole, in windows.
        """
        from ..build.embed import embed_tokens, text_tokens

        asked = EmbeddingsRequest.parse(request, where="request")
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        if not texts:
            raise UserError("the list of inputs is empty", where="request", fix="send at least one text")
        rows = [text_tokens(text, tokenizer) for text in texts]
        vectors = embed_tokens(model, tokenizer.pad, rows)
        data = [
            {"object": "embedding", "index": index, "embedding": _as_sent(vector, asked.encoding_format)}
            for index, vector in enumerate(vectors)
        ]
        count = sum(map(len, rows))
        return {"data": data, "usage": {"prompt_tokens": count, "total_tokens": count}}

    def reading(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any], output: str | None = None) -> Reading:
        """The first text and the one that is nearest to it; with `output`, another one of those that were sent."""
        from ..build.embed import TextEncoder, embed_tokens, text_tokens
        from ..contracts.reading import Nearest, Reading

        assert isinstance(model, TextEncoder)
        texts = EmbeddingsRequest.parse(request, where="request").input
        if isinstance(texts, str) or len({*texts[1:]}) < 2:
            what = "the nearest text is explained, and there are no two to choose from"
            raise UserError(what, where="request", fix="send as input a question and at least two other texts")
        question, *rows = [text_tokens(text, tokenizer) for text in texts]
        if output is not None and output not in texts[1:]:
            raise UserError("the output is none of the texts", where="output", fix="give one of those that were sent after the first")
        vectors = embed_tokens(model, tokenizer.pad, [question, *rows])
        chosen = int((vectors[1:] @ vectors[0]).argmax()) if output is None else texts[1:].index(output)
        length = len(question) + len(rows[chosen])
        if length > model.config.context:
            what = f"the two texts take {length} tokens, and the model reads {model.config.context} at once"
            raise UserError(what, where="request", fix="explain shorter ones")
        others = [row for row, text in zip(rows, texts[1:], strict=True) if text != texts[1 + chosen]]
        return Reading([*question, *rows[chosen]], Nearest(len(question), others), texts[1 + chosen])


def _pool(examples: Sequence[QuestionAndPassage]) -> tuple[list[str], np.ndarray]:
    """All passages of the examples, each once, and which of them is right for each example."""
    import numpy as np

    places: dict[str, int] = {}
    relevant = np.array([places.setdefault(example.passage.strip(), len(places)) for example in examples])
    for example in examples:
        for passage in example.negatives:
            places.setdefault(passage.strip(), len(places))
    return list(places), relevant


def _as_sent(vector: np.ndarray, form: str) -> list[float] | str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode() if form == "base64" else vector.tolist()


# Written for this project; in the public domain (CC0): a passage, and questions that it answers.
SAMPLE = """
Breakfast is from seven to ten in the garden room. | When can I eat in the morning? | Where is breakfast?
The pool closes at nine in the evening. | How late may we swim?
Dogs are welcome for eight euros a night. | Can I bring my pet? | What does a dog cost?
Leave the key in the box beside the door. | Where do I put the key when I go?
The last bus to town leaves at half past eleven. | How do I get to the city at night?
Towels are changed every second day. | How often do I get fresh towels?
The lift goes up to the fifth floor. | Is there an elevator?
A doctor comes within an hour; call the desk. | What if I am ill?
Bicycles stand behind the house and are free. | Can I borrow a bike?
The wifi password is on your room card. | How do I get online?
Smoking is allowed on the terrace alone. | Where may I light a cigarette?
We keep your luggage until the evening. | Can my bags stay here after checkout?
The roof bar plays jazz on Fridays. | Where is there music? | What is on at the end of the week?
Children under six stay for nothing. | What do I pay for my little son?
The heating is set with the wheel below the window. | My room is cold, what can I do?
Laundry handed in by noon is back by supper. | Who washes my shirts?
早餐七点到十点，在花园厅。 | 早上几点吃饭？ | 在哪里吃早餐？
泳池晚上九点关门。 | 最晚能游到几点？
可以带狗，每晚八欧元。 | 能带宠物吗？ | 狗要多少钱？
退房时把钥匙放进门边的盒子。 | 走的时候钥匙放哪里？
进城的末班车是十一点半。 | 夜里怎么去市区？
毛巾隔天更换。 | 多久换一次毛巾？
电梯可到五楼。 | 要爬楼梯吗？
医生一小时内到，请打前台电话。 | 生病了怎么办？
自行车停在屋后，免费使用。 | 能借单车吗？
无线网密码写在房卡上。 | 怎么上网？
只有露台上可以吸烟。 | 哪里能抽烟？
行李可以寄存到傍晚。 | 退房以后包放哪里？
屋顶酒吧周五有爵士乐。 | 哪里能听音乐？ | 周末前有什么活动？
六岁以下儿童免费。 | 小孩要付钱吗？
暖气用窗下的旋钮调节。 | 房间太冷怎么办？
衣服中午前送洗，晚饭前送回。 | 谁帮我洗衬衫？
"""
