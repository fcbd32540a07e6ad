"""Translation, many to many: an encoder-decoder, or a decoder, that writes in one language what it reads in another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from ..contracts.config import Config
from ..contracts.errors import UserError
from ..contracts.language import LANGUAGE_CODE, Words
from ..contracts.task import Batch, Example, Task
from ..evaluate.translation import BLEU, CHRF

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..build.translation import PairForm
    from ..contracts.findings import Findings
    from ..contracts.reading import Reading
    from ..contracts.tokenizer import Tokenizer
    from ..model.beam import BeamSettings
    from ..model.config import ModelConfig


class Pair(Example):
    """A text and its translation; {"translation": {"en": …, "de": …}} becomes one, too."""

    source: str
    """What is to be translated."""
    target: str
    """Its translation."""
    source_language: str = ""
    """Its ISO 639 code, perhaps with a script or region; `options.source` where empty."""
    target_language: str = ""
    """As that; `options.target` where empty."""

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        both = fields.get("translation")
        if not isinstance(both, Mapping):
            return fields
        if len(both) != 2:
            what = f"the translation has {len(both)} languages ({', '.join(map(str, both))})"
            raise UserError(what, fix="give two, the source's first")
        (read, source), (write, target) = both.items()
        return {"source": source, "target": target, "source_language": str(read), "target_language": str(write)}

    @field_validator("source_language", "target_language")
    @classmethod
    def _is_a_code(cls, code: str) -> str:
        if code and not LANGUAGE_CODE.fullmatch(code):
            raise ValueError(f"{code!r} is no language code; give an ISO 639 code: en, de, zh, ja, ko")
        return code

    def kinship(self) -> str:
        # Of both directions of a pair, and of one text's translations into several languages, the same side.
        return self.source if self.source_language <= self.target_language else self.target


class Options(Config):
    """venture.yaml: `options`."""

    source: str = ""
    """The language of sources whose records name none."""
    target: str = ""
    """The language of such targets."""
    both_directions: bool = False
    """Whether each pair is learnt the other way round, too."""
    temperature: float = Field(1.0, ge=1, le=100)
    """T: each direction's share of what is read is as its share of the pairs to the power 1/T, so that those of few pairs are read more
    often: whole times, the one of most pairs once (Arivazhagan et al. 2019, who take 5); the vocabulary is learnt in the same shares.
    1: all are read once."""
    architecture: Literal["encoder-decoder", "decoder"] = "encoder-decoder"
    """`decoder`: source and target in one sequence, of which the target is learnt; for fine-tuning a language model (model.base)."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """The share of each target's probability that is given to all tokens alike in training."""
    word_dropout: float = Field(0.0, ge=0, lt=1)
    """The share of tokens that the model is not shown in training (Sennrich and Zhang 2019): helps where there are few pairs."""
    consistency: float = Field(0.0, ge=0)
    """α of R-Drop (Wu et al. 2021): two readings of each pair, with other dropout, are drawn together; at twice the time. 0: none."""
    beams: int = Field(4, ge=1, le=32)
    """Hypotheses that are kept of each sentence; 1 decodes greedily."""
    length_penalty: float = Field(1.0, ge=0, le=5)
    """α: a hypothesis of n tokens scores its log-probability over n^α. Higher writes longer."""


class Translation(Task):
    words = Words("Translate between languages, many to many; sentences and whole documents.", "多语言互译：句子与整篇文档。")
    example = Pair
    metrics = (BLEU, CHRF)
    batching: Literal["packed", "padded", "whole", "paired"] = "paired"
    endpoint = "translate"
    template = {
        "task": "translation",
        "statement": Words(
            "Translates what our crew says between English and Chinese, on our own machine.",
            "在我们自己的机器上，为船员互译中英文。",
        ),
        "audience": Words("a crew that shares a ship but not a language", "同在一条船上、语言却不相通的船员"),
        "north_star": "chrf",
        "data": {"sources": ["builtin:sample"], "validation": 0.1, "test": 0.1, "vocabulary": 400, "too_long": "drop"},
        "model": {"size": "tiny", "context": 128, "overrides": {"depth": 2, "width": 128}},
        "train": {"tokens": 100_000, "batch_tokens": 2048},
        "targets": [
            {
                "metric": "chrf",
                "at_least": 1.0,
                "why": Words(
                    "the sample is too small to promise more; raise it with your own pairs",
                    "样本太小，不能承诺更多；换成您自己的句对后请调高",
                ),
            },
            {
                "metric": "latency_ms_p95",
                "at_most": 2000,
                "unit": "ms",
                "why": Words("a sentence is translated before the next one is said", "下一句话出口之前，这一句已经译好"),
            },
            {
                "metric": "memory_bytes",
                "at_most": 2_000_000_000,
                "unit": "bytes",
                "why": Words("runs on the ship's own computer", "能在船上的电脑上运行"),
            },
        ],
    }

    def __init__(self, options: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self.chosen = Options.parse(self.options, where="options")
        if self.chosen.architecture == "decoder":
            self.batching = "whole"
        # What reads and writes every language has no side to itself.
        self.separable = self.batching == "paired" and not self.chosen.both_directions

    @classmethod
    def sample(cls) -> Sequence[Pair]:
        pairs = [line.split(" | ") for line in SAMPLE.strip().split("\n")]
        there = [Pair(source=en, target=zh, source_language="en", target_language="zh") for en, zh in pairs]
        back = [Pair(source=zh, target=en, source_language="zh", target_language="en") for en, zh in pairs]
        return [*there, *back]

    # Data

    @property
    def directions(self) -> list[tuple[str, str]]:
        """(source, target) languages that the model was trained on; ("", "") where the records name none."""
        return [(source, target) for source, target in self.state["directions"]]

    @property
    def tagged(self) -> bool:
        """Whether the model writes several languages, and so must be told which."""
        return len({target for _, target in self.directions}) > 1

    @property
    def pair_form(self) -> PairForm:
        from ..build.translation import PairForm

        if "form" in self.state:
            return PairForm.from_json(self.state["form"])
        return PairForm("decoder" if self.chosen.architecture == "decoder" else "own")

    def adopt(self, folder: Path) -> None:
        from ..build.translation import PairForm

        self.state["form"] = PairForm.of_base(folder).to_json()

    def texts(self, example: Pair) -> Iterator[str]:
        # With one side blank there is nothing to learn: the record counts as blank.
        read, written = self.sides(example)
        yield from (*read, *written)

    def sides(self, example: Pair) -> tuple[Sequence[str], Sequence[str]]:
        blank = not (example.source.strip() and example.target.strip())
        # As often as they are read: else the vocabulary has no room for a language of few pairs (Conneau and Lample 2019), and spells it.
        times = 0 if blank else self._readings(example)
        return (example.source,) * times, (example.target,) * times

    def languages(self, example: Pair) -> tuple[str, str]:
        """Of a record: its own, else those of the options."""
        return example.source_language or self.chosen.source, example.target_language or self.chosen.target

    def fit(self, examples: Iterable[Pair]) -> None:
        """Learn the directions.

        Raises:
            UserError: some records name their languages and others do not; a language is missing that the model has to name.
        """
        from ..evaluate.translation import check_installed

        check_installed()
        counts = Counter(self.languages(example) for example in examples)
        for source, target in counts:
            half = bool(source) != bool(target)
            if half or (not source and (len(counts) > 1 or self.pair_form.names_languages)):
                what = f"{counts[source, target]:,} records name no {'target' if source else 'source'} language"
                raise UserError(what, where="data", fix="set options.source and options.target, or data.constants")
        if self.chosen.both_directions:
            counts.update({(target, source): count for (source, target), count in counts.items()})
            if ("", "") in counts:
                raise UserError("both_directions needs the languages", where="options", fix="set options.source and options.target")
        self.state["directions"] = sorted(map(list, counts))
        if self.chosen.temperature > 1:
            self.state["readings"] = readings([counts[direction] for direction in self.directions], self.chosen.temperature)
        self.state["form"] = self.pair_form.to_json()
        if self.pair_form.kind == "own" and self.tagged:
            from ..build.translation import own_tag

            self.special_tokens = tuple(own_tag(target) for target in sorted({target for _, target in counts}))

    def encode(self, example: Pair, tokenizer: Tokenizer) -> Mapping[str, Sequence[int] | int]:
        return self.pair_form.pair(example.source, example.target, self.languages(example), tokenizer, tagged=self.tagged)

    def rows(self, example: Pair, tokenizer: Tokenizer, context: int | None) -> Sequence[Mapping[str, Sequence[int] | int]]:
        return [row for (one,) in self._ways([example]) for row in [self.encode(one, tokenizer)] * self._readings(one)]

    def _readings(self, example: Pair) -> int:
        return self.state["readings"][self._direction(example)] if "readings" in self.state else 1

    # Model

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": self.chosen.architecture, "dropout": 0.1}

    def build(self, config: ModelConfig) -> nn.Module:
        from ..model.transformer import Transformer

        return Transformer(config)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        if self.pair_form.kind == "decoder":
            from ..build.language import next_token_loss

            return next_token_loss(model, batch)
        from ..build.seq2seq import pair_loss

        chosen = self.chosen
        return pair_loss(model, batch, chosen.label_smoothing, word_dropout=chosen.word_dropout, consistency=chosen.consistency)

    # Quality

    def signatures(self) -> dict[str, str]:
        from ..evaluate.translation import signature

        named, ways = {target for _, target in self.directions}, ", each pair both ways" if self.chosen.both_directions else ""
        return {metric.name: ", ".join(sorted({signature(metric.name, one) for one in named})) + ways for metric in self.metrics}

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Pair]) -> dict[str, np.ndarray]:
        from ..build.translation import Translator

        translator = Translator(model, tokenizer, self.pair_form, self.beams(None), tagged=self.tagged)
        asked = [(example.source, self.languages(example)) for way in self._ways(examples) for example in way]
        return self._columns([one.text for one in translator.translate(asked, label="translate")], examples)

    def baseline(self, train: Sequence[Pair], examples: Sequence[Pair]) -> tuple[str, dict[str, np.ndarray]]:
        """Word by word, by a dictionary learnt from the training pairs."""
        from ..build.languages import joined, words_of
        from ..evaluate.dictionary import translate_all

        known = [(example.source, example.target, self._direction(example)) for way in self._ways(train) for example in way]
        asked = [(example.source, self._direction(example)) for way in self._ways(examples) for example in way]
        return "word by word (IBM model 1)", self._columns(translate_all(known, asked, words_of, joined), examples)

    def instruction(self, example: Pair) -> str:
        if self.chosen.both_directions:
            return super().instruction(example)  # each record would be two questions
        source, target = self.languages(example)
        return f"Translate from {source} to {target}. Reply with the translation alone.\n\n{example.source}"

    def answered(self, answers: Sequence[str], examples: Sequence[Pair]) -> dict[str, np.ndarray]:
        return self._columns(list(answers), examples)

    def findings(self, columns: Mapping[str, np.ndarray], examples: Sequence[Pair], train: Sequence[Pair]) -> Findings | None:
        """The scores of each direction, where there are several."""
        from ..contracts.findings import Findings
        from ..evaluate.translation import direction_findings

        return Findings(sentences=direction_findings(columns, self.directions)) if len(self.directions) > 1 else None

    def _ways(self, examples: Sequence[Pair]) -> list[list[Pair]]:
        """The pairs as they are given and, where both directions are learnt, the other way round."""
        if not self.chosen.both_directions:
            return [list(examples)]
        return [list(examples), [self._turned(example) for example in examples]]

    def _turned(self, example: Pair) -> Pair:
        source, target = self.languages(example)
        return Pair(source=example.target, target=example.source, source_language=target, target_language=source)

    def _columns(self, written: Sequence[str], examples: Sequence[Pair]) -> dict[str, np.ndarray]:
        """Of the examples' translations, those of the other way after those of the one."""
        from ..evaluate.translation import both_ways, columns

        tables = []
        for number, way in enumerate(self._ways(examples)):
            languages, directions = [self.languages(one)[1] for one in way], [self._direction(one) for one in way]
            texts = written[number * len(examples) :][: len(examples)]
            tables.append(columns(texts, [one.target for one in way], languages, directions))
        return tables[0] if len(tables) == 1 else both_ways(*tables)

    def _direction(self, example: Pair) -> int:
        languages = self.languages(example)
        if languages not in self.directions:
            raise self._unknown(*languages)
        return self.directions.index(languages)

    def _unknown(self, source: str, target: str) -> UserError:
        known = ", ".join(f"{read or '?'} to {write or '?'}" for read, write in self.directions)
        return UserError(
            f"the model was not trained from {source or '?':.20} to {target or '?':.20}", where="request", fix=f"it translates {known}"
        )

    def beams(self, asked: int | None) -> BeamSettings:
        """How hypotheses are searched for."""
        from ..model.beam import BeamSettings

        return BeamSettings(asked or self.chosen.beams, self.chosen.length_penalty, stopping="usual")

    # Product

    def choices(self) -> dict[str, Any]:
        """`directions`, as [source, target]."""
        return {"directions": [list(direction) for direction in self.directions]}

    def request(self, example: Pair) -> dict[str, Any]:
        text, (source, target) = example.source, self.languages(example)
        if (source, target) not in self.directions:
            # The sample's pairs for a model of other languages: what of them it can read, if any.
            source, target = next((one for one in self.directions if one[0] in (source, target)), self.directions[0])
            text = example.target if source == self.languages(example)[1] else text
        return {"input": text} | ({"source": source, "target": target} if source else {})

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        """`text`, `source`, `target` (and `truncated`, where the translation was cut off) of a text; of a list of texts, `results` with
        these for each.
        """
        from ..build.translation import TranslateRequest, Translator

        asked = TranslateRequest.parse(request, where="request")
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        if not texts:
            raise UserError("the list of inputs is empty", where="request", fix="send at least one text")
        if not asked.document and (asked.format != "plain" or asked.glossary or asked.numbers):
            raise UserError("format, glossary and numbers are for documents", where="request", fix="send document: true")
        languages = self._asked_languages(asked.source, asked.target)
        translator = Translator(model, tokenizer, self.pair_form, self.beams(asked.beams), tagged=self.tagged)
        if asked.document:
            written = [
                translator.document(text, languages, form=asked.format, glossary=asked.glossary, numbers=asked.numbers) for text in texts
            ]
        else:
            written = translator.translate([(text, languages) for text in texts])
        results = [
            {"text": one.text, "source": languages[0], "target": languages[1], **({"truncated": True} if one.truncated else {})}
            for one in written
        ]
        usage = {"prompt_tokens": translator.tokens_read, "completion_tokens": translator.tokens_written}
        return {**results[0], "usage": usage} if isinstance(asked.input, str) else {"results": results, "usage": usage}

    def reading(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any], output: str | None = None) -> Reading:
        from ..build.translation import TranslateRequest, Translator

        asked = TranslateRequest.parse(request, where="request")
        if not isinstance(asked.input, str) or asked.document:
            what = "a document was sent" if asked.document else "several texts were sent"
            raise UserError(f"{what}, and one text is explained at a time", where="request", fix="send one sentence of it as input")
        translator = Translator(model, tokenizer, self.pair_form, self.beams(asked.beams), tagged=self.tagged)
        return translator.read(asked.input, self._asked_languages(asked.source, asked.target), output)

    def _asked_languages(self, source: str | None, target: str | None) -> tuple[str, str]:
        fitting = [pair for pair in self.directions if source in (None, pair[0]) and target in (None, pair[1])]
        if not fitting:
            raise self._unknown(source or "any language", target or "any language")
        if len({write for _, write in fitting}) > 1:
            choices = ", ".join(sorted({write for _, write in fitting}))
            raise UserError("the model writes several languages", where="request", fix=f"send target: one of {choices}")
        if len(fitting) > 1 and self.pair_form.kind != "own":
            choices = ", ".join(sorted({read for read, _ in fitting}))
            raise UserError("the model reads several languages", where="request", fix=f"send source: one of {choices}")
        return fitting[0] if len(fitting) == 1 else ("", fitting[0][1])


def readings(counts: Sequence[int], temperature: float) -> list[int]:
    """How many times each direction's pairs are read in a pass over the data: (n_max / n)^(1 - 1/T), rounded, where it has n pairs."""
    return [round((max(counts) / count) ** (1 - 1 / temperature)) for count in counts]


# Written for this project; in the public domain (CC0).
SAMPLE = """
The harbour is quiet tonight. | 今晚港口很安静。
Who has the key to the boat? | 谁有船的钥匙？
We sail at six in the morning. | 我们早上六点出发。
The lamp on the pier is green. | 码头上的灯是绿色的。
Please close the window, it is raining. | 请关上窗户，下雨了。
My sister mends the nets. | 我妹妹在补渔网。
The cook is making fish soup. | 厨师在做鱼汤。
Do not touch the red rope. | 不要碰那根红绳子。
How far is the next island? | 下一座岛有多远？
The wind comes from the north. | 风从北方来。
I lost my gloves on the deck. | 我在甲板上丢了手套。
Two gulls sit on the mast. | 两只海鸥站在桅杆上。
The map is in the blue box. | 地图在蓝色的盒子里。
Can you hear the bell? | 你听得见钟声吗？
Tomorrow we paint the cabin. | 明天我们粉刷船舱。
The children wave from the shore. | 孩子们在岸上挥手。
The water is cold and clear. | 水又冷又清。
Our radio is broken again. | 我们的收音机又坏了。
The old captain drinks tea. | 老船长在喝茶。
There is ice on the steps. | 台阶上有冰。
Bring me the long ladder. | 把长梯子拿给我。
The fog will lift at noon. | 中午雾就会散。
We have bread for three days. | 我们有三天的面包。
The dog sleeps under the table. | 狗在桌子下面睡觉。
Someone left a letter for you. | 有人给你留了一封信。
The stars are bright this evening. | 今晚的星星很亮。
Turn left behind the lighthouse. | 过了灯塔向左转。
The engine makes a strange noise. | 发动机发出奇怪的声音。
I will write the names down. | 我会把名字写下来。
The market opens after the storm. | 暴风雨过后市场开门。
He speaks slowly so that we understand. | 他说得很慢，好让我们听懂。
The sea is quiet and clear tonight. | 今晚的海又静又清。
"""
