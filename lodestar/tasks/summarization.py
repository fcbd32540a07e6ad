"""Summarization: a document of any length, said in a few words. An encoder-decoder, or a decoder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from ..contracts.config import Config
from ..contracts.errors import UserError
from ..contracts.language import Words
from ..contracts.task import Batch, Example, Task
from ..evaluate.summaries import COVERAGE, REPETITION, ROUGE_1, ROUGE_2, ROUGE_L, ROUGE_LSUM, SIGNATURE, columns

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..build.summarize import SummaryForm
    from ..contracts.reading import Reading
    from ..contracts.tokenizer import Tokenizer
    from ..model.beam import BeamSettings
    from ..model.config import ModelConfig

LEAD = 3
"""Sentences of the baseline."""
_NUMBERED = re.compile(r"summary_?(\d+)")


class SummarizedText(Example):
    """A document, and what a person made of it."""

    text: str
    """The document: an article, a report, a conversation."""
    summary: list[str]
    """Its summary; or several, each of which is right. Columns `summary1`, `summary2`, … are several."""

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        numbered = sorted((int(match[1]), str(name)) for name in fields if (match := _NUMBERED.fullmatch(str(name))))
        if "summary" in fields or not numbered:
            return fields
        taken = [name for _, name in numbered]
        found = [fields[name] for name in taken if fields[name] not in (None, "")]
        return {**{name: value for name, value in fields.items() if name not in taken}, "summary": found}

    @field_validator("summary", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        found = [value] if isinstance(value, str) else value
        if isinstance(found, list) and (not found or any(isinstance(one, str) and not one.strip() for one in found)):
            raise ValueError("a record has no summary, or an empty one; give at least one, and none that is empty")
        return found


class Options(Config):
    """venture.yaml: `options`."""

    architecture: Literal["encoder-decoder", "decoder"] = "encoder-decoder"
    """Of a model from nothing; one that is fine-tuned keeps its own."""
    summary_tokens: int = Field(64, ge=1)
    """At most so many tokens a summary, where a request names no number."""
    beams: int = Field(4, ge=1, le=16)
    """Summaries that are tried beside each other, where a request names no number; the likeliest is the answer."""
    unrepeated: int = Field(6, ge=0)
    """No so many tokens in a row stand twice in a summary (Paulus et al. 2018); 0: any may."""
    smoothing: float = Field(0.1, ge=0, lt=1)
    """Label smoothing of an encoder-decoder's training (Szegedy et al. 2015): 0.1 as in Vaswani et al. 2017; 0: none."""
    word_dropout: float = Field(0.0, ge=0, lt=1)
    """The share of tokens that an encoder-decoder is not shown in training, against learning few by heart (Sennrich and Zhang 2019)."""
    prefix: str = ""
    """What stands before every document: T5's `summarize: `."""


class Summarization(Task):
    words = Words("Say a long text in a few words: articles, reports, conversations.", "把长文缩成几句话：文章、报告、对话。")
    example = SummarizedText
    metrics = (ROUGE_L, ROUGE_1, ROUGE_2, ROUGE_LSUM, COVERAGE, REPETITION)
    batching: Literal["whole", "paired"] = "paired"
    endpoint = "summarize"
    template = {
        "task": "summarization",
        "statement": Words(
            "Says the harbour's daily reports in one sentence each, in English and Chinese, with no report leaving the house.",
            "把港口每天的中英文报告各缩成一句话，报告不出门。",
        ),
        "audience": Words("a harbour master who has no time to read them all", "没有时间逐份细读的港务长"),
        "north_star": "rouge_l",
        "data": {"sources": ["builtin:sample"], "validation": 0.15, "test": 0.3, "vocabulary": 400},
        "model": {"size": "tiny", "context": 128, "overrides": {"depth": 2, "width": 128}},
        "train": {"tokens": 100_000, "batch_tokens": 1024, "dropout": 0.1},
        "options": {"summary_tokens": 40},
        "targets": [
            {
                "metric": "rouge_l",
                "at_least": 0.0,
                "why": Words(
                    "a sample this small can promise nothing; set what you need once the documents are your own, and an open model begins "
                    "(model.base)",
                    "样本太小，什么都不能承诺；换成您自己的文档与开放模型（model.base）后，请写上您需要的值",
                ),
            },
            {
                "metric": "latency_ms_p95",
                "at_most": 3000,
                "unit": "ms",
                "why": Words("sooner than reading the report", "比读完报告更快"),
            },
            {
                "metric": "memory_bytes",
                "at_most": 2_000_000_000,
                "unit": "bytes",
                "why": Words("runs on the office's own machine", "在办公室自己的机器上运行"),
            },
        ],
    }

    def __init__(self, options: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.chosen = Options.parse(self.options, where="options")
        self._decide()

    def _decide(self) -> None:
        self.batching = "whole" if self.summary_form.decoder else "paired"

    @property
    def summary_form(self) -> SummaryForm:
        """How the model reads and writes: as its base does, else as the options say."""
        from ..build.summarize import SummaryForm

        adopted = self.state.get("form")
        form = SummaryForm(decoder=self.chosen.architecture == "decoder") if adopted is None else SummaryForm.from_json(adopted)
        return form.with_prefix(self.chosen.prefix)

    @classmethod
    def sample(cls) -> Sequence[SummarizedText]:
        pairs = [record.split("\n= ") for record in SAMPLE.strip().split("\n---\n")]
        return [SummarizedText(text=text, summary=[summary]) for text, summary in pairs]

    def texts(self, example: SummarizedText) -> Iterator[str]:
        yield example.text
        yield from example.summary

    def adopt(self, folder: Path) -> None:
        from ..build.summarize import SummaryForm

        self.state["form"] = SummaryForm.adopted(folder).to_json()
        self._decide()

    def encode(self, example: SummarizedText, tokenizer: Tokenizer) -> Mapping[str, Sequence[int] | int]:
        return self.summary_form.encode(example.text, example.summary[0], tokenizer)

    def rows(self, example: SummarizedText, tokenizer: Tokenizer, context: int | None) -> Sequence[Mapping[str, Sequence[int] | int]]:
        """Each of its summaries is learnt."""
        return [self.summary_form.encode(example.text, summary, tokenizer, context) for summary in example.summary]

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": "decoder" if self.summary_form.decoder else "encoder-decoder", "dropout": 0.1}

    def build(self, config: ModelConfig) -> nn.Module:
        from ..model.transformer import Transformer

        return Transformer(config)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from ..build.language import next_token_loss
        from ..build.seq2seq import pair_loss

        if self.summary_form.decoder:
            return next_token_loss(model, batch)
        return pair_loss(model, batch, self.chosen.smoothing, word_dropout=self.chosen.word_dropout)

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[SummarizedText]) -> dict[str, np.ndarray]:
        """The ROUGE of each summary, and what it copies and repeats: see `evaluate.summaries.columns`."""
        from ..build.summarize import summarize

        documents = [example.text for example in examples]
        limit = self.chosen.summary_tokens
        found = summarize(model, tokenizer, self.summary_form, documents, max_tokens=limit, settings=self._beams(), label="summaries")
        return summary_columns(examples, [one.text for one in found])

    def instruction(self, example: SummarizedText) -> str:
        return f"Summarise this text in its own language. Reply with the summary alone.\n\n{example.text}"

    def answered(self, answers: Sequence[str], examples: Sequence[SummarizedText]) -> dict[str, np.ndarray]:
        return summary_columns(examples, list(answers))

    def signatures(self) -> dict[str, str]:
        return {"rouge": SIGNATURE}

    def baseline(self, train: Sequence[SummarizedText], examples: Sequence[SummarizedText]) -> tuple[str, dict[str, np.ndarray]]:
        """Lead-3: of news it is hard to beat (Nallapati et al. 2017, https://arxiv.org/abs/1611.04230)."""
        return "the first three sentences", summary_columns(examples, [first_sentences(example.text, LEAD) for example in examples])

    def request(self, example: SummarizedText) -> dict[str, Any]:
        return {"input": example.text}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        """`summary`, `windows` (how many parts the document was read in), `finish_reason` (`stop` where the model ended it, else `length`)
        and `usage`; of a list of documents, `results` with these for each, and their `usage` together.
        """
        from ..build.summarize import SummarizeRequest, summarize

        asked = SummarizeRequest.parse(request, where="request")
        documents = [asked.input] if isinstance(asked.input, str) else asked.input
        if not documents:
            raise UserError("the list of inputs is empty", where="request", fix="send at least one document")
        for number, document in enumerate(documents):
            if not document.strip():
                place = "" if isinstance(asked.input, str) else f" {number}"
                raise UserError(f"the input{place} has no text", where="request", fix="send a document")
        limit = asked.max_tokens or self.chosen.summary_tokens
        settings = self._beams(asked.beams, asked.length_penalty)
        found = summarize(model, tokenizer, self.summary_form, documents, max_tokens=limit, settings=settings)
        results: list[dict[str, Any]] = [
            {"summary": one.text, "windows": one.windows, "finish_reason": "stop" if one.finished else "length"} for one in found
        ]
        read, written = sum(one.read_tokens for one in found), sum(one.written_tokens for one in found)
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        return {**results[0], "usage": usage} if isinstance(asked.input, str) else {"results": results, "usage": usage}

    def _beams(self, beams: int | None = None, length_penalty: float = 1.0) -> BeamSettings:
        from ..model.beam import BeamSettings

        return BeamSettings(beams or self.chosen.beams, length_penalty, unrepeated=self.chosen.unrepeated)

    def reading(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any], output: str | None = None) -> Reading:
        from ..build.summarize import SummarizeRequest, read_summary

        asked = SummarizeRequest.parse(request, where="request")
        if not isinstance(asked.input, str):
            raise UserError("several documents were sent, and one is explained at a time", where="request", fix="send one as input")
        limit = asked.max_tokens or self.chosen.summary_tokens
        return read_summary(model, tokenizer, self.summary_form, asked.input, output, max_tokens=limit, settings=self._beams(asked.beams))


def first_sentences(text: str, count: int) -> str:
    """The first sentences of a text, as they stand."""
    from ..build.sentences import sentence_spans

    spans = sentence_spans(text)[:count]
    return text[: spans[-1].end].strip() if spans else ""


def summary_columns(examples: Sequence[SummarizedText], written: Sequence[str]) -> dict[str, np.ndarray]:
    """`evaluate.summaries.columns` of summaries, their sentences told apart by our rules."""
    from ..build.sentences import sentences

    def lines(text: str) -> str:
        return "\n".join(" ".join(sentence.split()) for sentence in sentences(text))

    references = [[lines(summary) for summary in example.summary] for example in examples]
    return columns([example.text for example in examples], references, [lines(text) for text in written])


# Written for this project; in the public domain (CC0).
SAMPLE = """
The ferry could not sail at noon. The wind had torn its sail, and the sailmaker was at a wedding. It left at six.
= A torn sail held the ferry until six.
---
The baker burned the first loaves. He gave them to the gulls. The second loaves were good, and all were sold by eight.
= The baker's second loaves sold out by eight.
---
A whale came into the bay at dawn. Children ran to the pier to count its breaths. At noon it swam out again.
= A whale visited the bay until noon.
---
The lamp went out at two. Anna climbed the stairs with a match. No ship had seen the dark.
= Anna lit the lamp again in time.
---
Tom: Did you feed the cat? Ben: I thought you did. Tom: Then she has eaten my fish.
= Nobody fed the cat, and she ate Tom's fish.
---
The school has a new bell. It was cast from old coins that the town had saved. It rang for the first time on Monday.
= The school's new bell is made of old coins.
---
Rain fell for nine days. The road to the mill was under water. Flour came by boat this week.
= After long rain, flour came by boat.
---
The council met about the bridge. Half of them wanted stone and half wanted wood. They will meet again in May.
= The council did not agree on the bridge.
---
Mia: The train is late. Leo: How late? Mia: Forty minutes. Leo: Then I will bring you soup.
= Leo brings soup, as Mia's train is late.
---
A boy found a purse on the quay. There were three coins in it and a letter. He took it to the captain it belonged to.
= A boy returned a lost purse to its captain.
---
The clock in the tower was slow. The watchmaker cleaned it and found a nest. He left the nest, and the clock is still slow.
= The clock stays slow for the sake of a nest.
---
Two boats raced round the island. The red one was ahead until the rocks. The blue one won by a length.
= The blue boat won the race round the island.
---
The library lends lanterns now. One may keep them for a week. Ten were lent on the first day.
= Lanterns can be borrowed at the library.
---
Our well was dry in July. The neighbours dug with us for five days. We have water again, and so have they.
= With the neighbours' help the well has water.
---
Kim: Is the hall free on Friday? Jo: The choir sings then. Kim: And on Sunday? Jo: On Sunday it is yours.
= Kim gets the hall on Sunday.
---
Frost took the apple blossoms. The bees stayed in. There will be few apples this year.
= Frost leaves few apples this year.
---
The captain sold his ship. He bought a small garden with the money. His beans stand in rows like a fleet.
= The captain gave up his ship for a garden.
---
The new map has an error. It shows the well behind the church. It is in front of it.
= The new map puts the well in the wrong place.
---
渡船中午没有开。风把帆撕破了，补帆的人在喝喜酒。六点才开船。
= 帆破了，渡船六点才开。
---
面包师把第一炉烤焦了，都喂了海鸥。第二炉很好，八点就卖完了。
= 第二炉面包八点卖完。
---
清晨有鲸鱼游进海湾。孩子们跑到码头看。中午它又游走了。
= 鲸鱼在海湾停到中午。
---
灯在两点灭了。安娜拿着火柴上楼。没有一条船看见黑暗。
= 安娜及时点亮了灯。
---
小明：猫喂了吗？小刚：我以为你喂了。小明：那它吃了我的鱼。
= 没人喂猫，猫吃了鱼。
---
学校有了新钟，是用全镇攒下的旧硬币铸的。星期一第一次敲响。
= 学校的新钟由旧硬币铸成。
---
雨下了九天。去磨坊的路淹了。这星期面粉用船运来。
= 雨后面粉改用船运。
---
镇上开会讨论桥。一半人要石桥，一半人要木桥。五月再谈。
= 建什么桥没有谈成。
---
小美：火车晚点了。小力：多久？小美：四十分钟。小力：我给你送汤来。
= 火车晚点，小力去送汤。
---
男孩在码头捡到钱包，里面有三枚硬币和一封信。他把它还给了船长。
= 男孩把钱包还给船长。
---
塔上的钟走得慢。修钟人发现里面有鸟窝。他留下了窝，钟还是慢。
= 为了鸟窝，钟还是慢。
---
两条船绕岛比赛。红船一直领先。过了礁石，蓝船赢了。
= 蓝船赢了绕岛比赛。
---
图书馆开始出借灯笼，可以借一星期。第一天就借出十盏。
= 图书馆可以借灯笼了。
---
七月井干了。邻居和我们一起挖了五天。现在大家都有水了。
= 邻居帮忙，井又有水了。
"""
