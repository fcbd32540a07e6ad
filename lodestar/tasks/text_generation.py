"""Text generation: stories, poems, scripts, domain text. A decoder that continues what it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..contracts.language import Words
from ..contracts.task import Batch, Example, Task
from ..evaluate.metrics import BITS_PER_BYTE, PERPLEXITY

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..contracts.reading import Reading
    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig


class Document(Example):
    """One text: a poem, a story, a chapter."""

    text: str
    """What the model learns to write."""


class TextGeneration(Task):
    words = Words(
        "Continue a text: stories, poems, scripts, the text of your domain.", "续写文本：故事、诗词、剧本，以及你所在领域的文字。"
    )
    example = Document
    metrics = (BITS_PER_BYTE, PERPLEXITY)
    batching = "packed"
    endpoint = "completions"
    template = {
        "task": "text-generation",
        "statement": Words(
            "Continues a poem or a story in its own style, on a laptop, with no text leaving it.",
            "在一台笔记本电脑上续写诗歌与故事，文风不变，文字不出本机。",
        ),
        "audience": Words("people who write, and want a first draft of the next line", "写作时想先得到下一句草稿的人"),
        "north_star": "bits_per_byte",
        "data": {"sources": ["builtin:sample"], "validation": 0.2, "test": 0.2, "vocabulary": 300},
        "model": {"size": "tiny", "context": 128, "overrides": {"depth": 2, "width": 128}},
        "train": {"tokens": 20_000, "batch_tokens": 1024, "dropout": 0.2},
        "targets": [
            {
                "metric": "bits_per_byte",
                "at_most": 6.0,
                "unit": "bits/byte",
                "why": Words(
                    "the sample is too small to promise more; lower it with your own texts",
                    "样本太小，不能承诺更多；换成您自己的文本后请调低",
                ),
            },
            {
                "metric": "latency_ms_p95",
                "at_most": 2000,
                "unit": "ms",
                "why": Words("a line appears before the writer looks up", "作者抬头之前，一行已经写好"),
            },
            {
                "metric": "memory_bytes",
                "at_most": 2_000_000_000,
                "unit": "bytes",
                "why": Words("runs beside an editor on a laptop", "能在笔记本电脑上与编辑器同时运行"),
            },
        ],
    }

    @classmethod
    def sample(cls) -> Sequence[Document]:
        return [Document(text=text.strip()) for text in SAMPLE.split("---")]

    def texts(self, example: Document) -> Iterator[str]:
        yield example.text

    def encode(self, example: Document, tokenizer: Tokenizer) -> Mapping[str, Sequence[int] | int]:
        from ..build.language import document_tokens

        return {"tokens": document_tokens(example.text, tokenizer)}

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": "decoder"}

    def build(self, config: ModelConfig) -> nn.Module:
        from ..model.transformer import Transformer

        return Transformer(config)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from ..build.language import next_token_loss

        return next_token_loss(model, batch)

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Document]) -> dict[str, np.ndarray]:
        from ..build.language import document_columns

        return document_columns(model, tokenizer, [example.text for example in examples])

    def baseline(self, train: Sequence[Document], examples: Sequence[Document]) -> tuple[str, dict[str, np.ndarray]]:
        from ..evaluate.ngram import ByteNGram

        counted = ByteNGram([document.text for document in train])
        return counted.name, counted.document_columns([document.text for document in examples])

    def request(self, example: Document) -> dict[str, Any]:
        """The text's beginning, to be continued: few enough bytes that any context has room for them, however they become tokens."""
        beginning = example.text[: len(example.text) // 2].encode()[:48].decode(errors="ignore")
        return {"prompt": beginning, "max_tokens": 32}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        from ..build.completion import CompletionRequest, complete

        return complete(model, tokenizer, CompletionRequest.parse(request, where="request"))

    def reading(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any], output: str | None = None) -> Reading:
        from ..build.completion import CompletionRequest, read_prompt
        from ..build.reading import read_written

        asked = CompletionRequest.parse(request, where="request")
        read = read_prompt(tokenizer, asked.prompt, asked.suffix, asked.room(model.config.context))  # type: ignore[arg-type, union-attr] # a Transformer
        return read_written(model, tokenizer, read, output, [tokenizer.end_of_text])


# Written for this project; in the public domain (CC0).
SAMPLE = """
The lamp at the end of the pier
burns for the boats that are not yet here;
it does not ask how far they have gone,
it only says: the night has a shore.
---
Three crows sat on the wire and counted the rain.
One said a thousand, one said ten thousand,
and the third said: it is one rain, and we are in it.
---
Grandmother kept the seeds in a tin for tea.
In spring the kitchen smelled of earth and paper,
and every label was in a hand that no longer shook.
---
Once there was a clockmaker who could not sleep.
He built a clock that ran only while he dreamed,
and in the morning it was always a little behind.
---
Snow on the mill, snow on the wheel,
the river goes on under its lid of steel.
---
"Which way is north?" the young sailor asked.
"Wherever you are, look up," said the old one. "The star does not mind being asked again."
---
The library closed at nine. At ten past nine the books began to cough,
and by midnight the dictionaries had all the words they needed to quarrel.
---
A small dog waits where the road divides,
sure of one thing, whatever betides:
that feet will come, and a voice, and then
the long walk home to the house again.
---
My mother wrote letters to the sea.
The sea wrote back in driftwood and bottle glass,
and she read every line of it aloud.
---
October keeps its accounts in leaves,
so many spent, so many owed,
and settles the whole of it in one wind.
---
The baker lights his oven at three.
For an hour the street belongs to bread,
to the fox, and to the man who sweeps the steps of the bank.
---
There was a bridge that nobody crossed.
It was not old, it was not lost;
it joined two towns that did not speak,
and so it stood, week after week.
---
The astronomer's daughter drew a new constellation:
a kettle, two cups, and a chair pulled close.
He wrote its name in the catalogue, in pencil.
---
Rain on the roof of the night bus,
nine strangers, one window fogged,
and someone's finger drawing a house on it.
---
When the power failed the village told stories.
When it came back, nobody stood up to turn on the light.
---
Small boat, small sail,
a sky the size of the whole tale.
---
The gardener left one corner wild.
Ask her why, and she will say:
so that the garden remembers where it came from.
---
He learned the song from a neighbour's radio,
through a wall, without the words,
and sang it all his life with words of his own.
---
The mountain is not tall, the goat explained.
It is only that the valley is very polite.
---
Good night to the kettle, good night to the chair,
good night to the coat that hangs on air,
good night to the page with the corner turned down,
good night to the last lit window in town.
---
北风吹雪满前川，
独有渔灯照客船。
莫问归程多少里，
举头星在柁楼边。
---
小院初晴燕子来，
墙根一夜杏花开。
老人不语添新水，
笑看孩童数绿苔。
---
山中有一口井，井里住着一个月亮。
有人打水，月亮就碎了；有人等一等，月亮又圆了。
---
夜半书声静，
灯前影自长。
窗明才几许，
霜已过邻墙。
---
外婆把春天装在铁盒里，
豆种、瓜种、还有一张写着日子的纸。
她说，日子到了，春天自己会敲门。
---
江上帆来又帆去，
岸边柳绿到梢黄。
行人不识垂纶者，
只道烟波日正长。
---
从前有个修钟的人，他修好了全城的钟，
却总是迟到，因为他自己从来不看钟。
---
雨落在夜车的窗上，
有人用手指画了一座房子，
车到站的时候，房子还亮着灯。
---
稻花十里月如霜，
蛙鼓声声绕小塘。
最是儿童眠不得，
起来偷看夜风凉。
---
老街的面馆天不亮就开门。
第一碗面给赶路的人，最后一碗面留给自己。
---
一叶扁舟一卷书，
芦花深处是吾庐。
晚来不用安栖计，
自有闲云伴钓鱼。
---
大雁问湖水：你为什么不走？
湖水说：我走了，你明年回到哪里？
---
石桥横断水，
古寺半藏云。
樵子归来晚，
钟声隔岭闻。
---
城市的最后一盏路灯认识每一只猫，
它从不告诉别人，猫都去了哪里。
---
秋深树树染霜红，
一雁南飞入晚空。
欲寄家书无好句，
只言明月与君同。
---
孩子把愿望折成纸船。
船走了很远，愿望留在岸上，长成了一棵树。
---
灯塔不问船从哪里来，
它只是把光放在海上，
像母亲把饭菜留在锅里。
---
春雷一夜动新芽，
细雨无声润万家。
待到南山风日好，
满坡都是自由花。
---
下雪的早晨，邮差的脚印是巷子里的第一行字。
---
月到中天夜正清，
推窗忽听读书声。
邻家稚子不知倦，
一盏寒灯共到明。
"""
