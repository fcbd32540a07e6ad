"""Classification: sentiment, topic, intent, tags. An encoder that gives a text one label of a fixed set, or as many as apply."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from ..contracts.config import Config
from ..contracts.errors import UserError, nearest
from ..contracts.findings import Findings
from ..contracts.language import Words
from ..contracts.progress import note
from ..contracts.reading import Reading
from ..contracts.task import Batch, Example, Task, Variant
from ..evaluate.labelling import Calibration, Labelling, OneLabel, SeveralLabels, label_index

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig

LABELS_AT_MOST = 1000
"""More distinct labels than this are a column of something else."""
SEPARATORS = re.compile("[|;,\uff5c\uff1b\uff0c\u3001]")
"""What cuts a column of labels; a list is not cut."""
SAMPLES = Path(__file__).parent / "samples"
"""Written for this project; in the public domain (CC0). A few words carry the meaning in all of it: so little can be learnt from."""


class LabelledText(Example):
    """A text and the label that a person gave it; or the labels, where it may have several."""

    text: str
    """What is to be classified."""
    label: str | None = None
    """Its label; the labels of the training records are the ones that the model can give. A number is taken as its text."""
    labels: list[str] | None = None
    """In the place of `label`: all its labels, or none. A list; or one text, cut at `|`, `;` and `,`."""

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Labels as texts, whatever they stand as in the file: a number, a list, or a list in a text.

        Raises:
            UserError: the record has neither `label` nor `labels`.
        """
        given = dict(fields)
        if isinstance(given.get("label"), list):
            given["labels"] = given.pop("label")
        if "labels" in given and given["labels"] is not None:
            given["labels"] = _label_list(given["labels"])
        elif given.get("label") is not None:
            given["label"] = _label_text(given["label"])
        elif "label" not in given:
            guess = nearest("label", [str(name) for name in fields if name != "text"])
            raise UserError(
                f"no column 'label' or 'labels'; the columns found are {', '.join(map(str, fields)) or 'none'}",
                fix=f"set data.columns: {{label: {guess or 'COLUMN'}}}",
            )
        return given

    @model_validator(mode="after")
    def _labelled_in_one_way(self) -> Self:
        if (self.label is None) == (self.labels is None):
            raise ValueError("a record needs exactly one of label and labels; give label, or for a text with several of them labels")
        return self

    @property
    def names(self) -> Sequence[str]:
        """All its labels."""
        return [self.label] if self.label is not None else self.labels or []


def _label_text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    # A column of integers with a gap is one of floats.
    return str(int(value)) if isinstance(value, int) or (isinstance(value, float) and value.is_integer()) else value


def _label_list(value: Any) -> Any:
    if isinstance(value, str):
        found = None
        if value.lstrip().startswith("["):
            try:
                found = json.loads(value)
            except ValueError:
                found = None
        value = found if isinstance(found, list) else [part.strip() for part in SEPARATORS.split(value) if part.strip()]
    elif isinstance(value, int | float):
        value = [value]
    if not isinstance(value, list):
        return value
    texts = [_label_text(each) for each in value]
    # What is no text is left for the validation to refuse.
    return list(dict.fromkeys(texts)) if all(isinstance(each, str) for each in texts) else texts


class Options(Config):
    """venture.yaml: `options`."""

    masking: float = Field(0.15, ge=0, lt=1)
    """The share of a text's tokens that are hidden from the model in training, for it to name them (Devlin et al. 2019): a second lesson in
    the same texts, and noise that keeps it from learning few labelled texts by heart. 0: none.

    Measured in bench/RESULTS.d/classification.md: a log loss of 0.65 rather than 0.90, at the same accuracy.
    """
    multi_label: bool = False
    """A text may have several labels, or none: each is decided by itself."""
    ngrams: bool = False
    """Linear models on n-grams of tokens beside the encoder, as a part of the model; how much each counts is fitted on validation. With a
    few thousand texts to learn from it is usually worth it (bench/RESULTS.d/classification.md)."""
    precision: float | None = Field(None, gt=0, lt=1)
    """The share of answers that is to be right: a text that the model is less sure of gets no label. How sure it has to be is chosen on
    validation; absent, every text is answered."""


class ClassifyRequest(Config):
    """One text, or several."""

    input: str | list[str]


_TEMPLATE: dict[str, Any] = {
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


def _variant(statement: Words, audience: Words, sample: str, *, north_star: str = "accuracy", **fields: Any) -> Variant:
    """The template with another sample, which is put into the new folder for its reader to see and to replace."""
    name = f"{sample}.csv"
    template = _TEMPLATE | {"statement": statement, "audience": audience, "north_star": north_star, **fields}
    template["data"] = {**_TEMPLATE["data"], "sources": [name]}
    first, *others = _TEMPLATE["targets"]
    why = Words("a beginning, with this little data; raise it with your own", "数据这么少，只是起点；换成您自己的数据后请调高")
    template["targets"] = [{**first, "metric": north_star, "at_least": 0.2, "why": why}, *others]
    return Variant(template, {name: SAMPLES / f"classification-{sample}.csv"})


class Classification(Task):
    words = Words(
        "Give a text one label of a fixed set, or as many as apply: sentiment, topic, intent, tags.",
        "给文本打标签（一个，或所有适用的）：情感、主题、意图、标记。",
    )
    example = LabelledText
    metrics = tuple(dict.fromkeys((*OneLabel(abstains=True).metrics, *SeveralLabels.metrics)))
    batching = "padded"
    shaped_by_data = True
    single_characters = True  # n-grams of tokens are then n-grams of characters, which suit Chinese better than those of merged ones
    endpoint = "classify"
    template = _TEMPLATE
    variants = {
        "topic": _variant(
            Words("Sorts news by topic, in English and Chinese.", "按主题整理中英文新闻。"),
            Words("an editor with more agencies than time", "消息源多而时间少的编辑"),
            "topic",
        ),
        "intent": _variant(
            Words("Sends each customer's message to the queue that it is for.", "把每位顾客的消息送到对应的队列。"),
            Words("a support team with one inbox", "只有一个收件箱的客服团队"),
            "intent",
        ),
        "tags": _variant(
            Words("Notes everything that a review speaks of.", "记下一条评论谈到的所有方面。"),
            Words("a product team that counts what is praised and what breaks", "统计好评与故障的产品团队"),
            "tags",
            options={"multi_label": True},
            north_star="f1_micro",
        ),
    }

    def __init__(self, options: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> None:
        super().__init__(options, state)
        chosen = Options.parse(self.options, where="options")
        self.masking, self.multi_label, self.precision = chosen.masking, chosen.multi_label, chosen.precision
        self.ngrams = chosen.ngrams
        self._labelling: Labelling = SeveralLabels() if self.multi_label else OneLabel(abstains=self.precision is not None)
        self.metrics = self._labelling.metrics

    @classmethod
    def sample(cls, kind: str = "sentiment") -> Sequence[LabelledText]:
        """The sample of that kind: sentiment, topic, intent, or tags."""
        with (SAMPLES / f"classification-{kind}.csv").open(encoding="utf-8", newline="") as file:
            return [LabelledText.model_validate(LabelledText.of_record(row)) for row in csv.DictReader(file)]

    @property
    def labels(self) -> list[str]:
        """The labels that the model can give, in the order of its outputs."""
        return list(self.state["labels"])

    @property
    def calibration(self) -> Calibration:
        """What was fitted on validation; the model's own word where nothing was."""
        return Calibration.parse(self.state.get("calibration", {}), where="task.json")

    def texts(self, example: LabelledText) -> Iterator[str]:
        yield example.text

    def fit(self, examples: Iterable[LabelledText]) -> None:
        """Learn the label set.

        Raises:
            UserError: there is one label alone, or so many that they are no labels; a text has several, and the options do not say so.
        """
        counts: Counter[str] = Counter()
        for example in examples:
            self._check_number(example)
            counts.update(example.names)
        if len(counts) < 2:
            only = f"one label alone, {next(iter(counts))!r}" if counts else "no labels" if self.multi_label else "no records"
            raise UserError(f"the training records have {only}", where="data", fix="give records of at least two labels")
        if len(counts) > LABELS_AT_MOST:
            fix = "set data.columns: {label: COLUMN} to the column that holds the labels"
            raise UserError(f"the training records have {len(counts)} different labels", where="data", fix=fix)
        self.state["labels"] = sorted(counts)

    def _check_number(self, example: LabelledText) -> None:
        if not self.multi_label and len(example.names) != 1:
            raise UserError(
                f"a record has {len(example.names) or 'no'} labels: {example.text[:40]!r}",
                where="data", fix="set options: {multi_label: true}, or give each record one label",
            )  # fmt: skip

    def encode(self, example: LabelledText, tokenizer: Tokenizer) -> Mapping[str, Sequence[int] | int]:
        from ..build.classify import packed_labels

        self._check_number(example)
        indices = [self._index(label) for label in example.names]
        numbers = packed_labels(indices, len(self.labels)) if self.multi_label else {"label": indices[0]}
        return {"tokens": _tokens(example.text, tokenizer), **numbers}

    def _index(self, label: str) -> int:
        return label_index(label, self.labels, "records")

    def _truth(self, examples: Sequence[LabelledText]) -> np.ndarray:
        """The index of each record's label (n,), or of several labels (n, C) of 0 and 1."""
        import numpy as np

        if not self.multi_label:
            return np.array([self._index(example.names[0]) for example in examples])
        truth = np.zeros((len(examples), len(self.labels)), np.int8)
        for row, example in enumerate(examples):
            truth[row, [self._index(label) for label in example.names]] = 1
        return truth

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": "encoder", "dropout": 0.1}

    def build(self, config: ModelConfig) -> nn.Module:
        from ..build.heads import SequenceClassifier
        from ..build.ngram_votes import VotingClassifier

        return (VotingClassifier if self.ngrams else SequenceClassifier)(config, len(self.labels))

    def begin(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[LabelledText]) -> None:
        from ..build.ngram_votes import VotingClassifier

        if isinstance(model, VotingClassifier):
            rows = [_tokens(example.text, tokenizer)[: model.config.context] for example in examples]
            model.votes.learn(rows, self._truth(examples))

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from torch import ones_like

        from ..build.classify import label_loss, masked_reading

        rows = ones_like(batch["tokens"][:, 0]).sum()
        if not (model.training and self.masking):
            return label_loss(model(batch["tokens"], batch["attention_mask"]).float(), batch), rows
        logits_BC, token_loss = masked_reading(model, batch, self.masking)
        # Each text counts its labels and the mean of its hidden tokens alike.
        return label_loss(logits_BC, batch) + token_loss * rows, rows

    def calibrate(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[LabelledText]) -> None:
        from ..build.ngram_votes import VotingClassifier, weigh

        truth, said = self._truth(examples), list[Words]()
        if isinstance(model, VotingClassifier):
            logits, weights = weigh(model, [_tokens(example.text, tokenizer) for example in examples], tokenizer.pad, truth)
            said.append(weights)
        else:
            logits = self._logits(model, tokenizer, examples)
        calibration, fitted = self._labelling.fit(logits, truth, self.precision)
        self.state["calibration"] = calibration.model_dump(mode="json")
        for words in [*said, *fitted]:
            note(str(words))

    def _logits(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[LabelledText]) -> np.ndarray:
        from ..build.classify import class_logits

        return class_logits(model, [_tokens(example.text, tokenizer) for example in examples], tokenizer.pad)

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[LabelledText]) -> dict[str, np.ndarray]:
        return self._labelling.columns(self._logits(model, tokenizer, examples), self._truth(examples), self.calibration)

    def baseline(self, train: Sequence[LabelledText], examples: Sequence[LabelledText]) -> tuple[str, dict[str, np.ndarray]]:
        """Logistic regression on TF-IDF of character 1- to 4-grams: hard to beat on short texts (Wang and Manning 2012)."""
        from ..evaluate.linear import linear_logits

        texts, held_out = ([example.text for example in each] for each in (train, examples))
        logits = linear_logits(texts, self._truth(train), held_out, len(self.labels))
        return "logistic regression on character n-grams", self._labelling.columns(logits, self._truth(examples), None)

    def instruction(self, example: LabelledText) -> str:
        wanted = "all labels that apply, separated by commas" if self.multi_label else "the one label that fits"
        return f"Reply with {wanted} and nothing else. The labels are: {', '.join(self.labels)}.\n\n{example.text}"

    def answered(self, answers: Sequence[str], examples: Sequence[LabelledText]) -> dict[str, np.ndarray]:
        from ..evaluate.stated import stated_logits

        truth = self._truth(examples)
        return self._labelling.columns(stated_logits(answers, self.labels, truth), truth, None)

    def possible_answers(self) -> Sequence[str]:
        return self.labels

    def findings(self, columns: Mapping[str, np.ndarray], examples: Sequence[LabelledText], train: Sequence[LabelledText]) -> Findings:
        from ..evaluate.wrong_labels import label_findings

        return label_findings(columns, [example.text for example in examples], self.labels)

    def request(self, example: LabelledText) -> dict[str, Any]:
        return {"input": example.text}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        """`label` and `probabilities` of a text: None, and `abstained`, where the model is less sure than `options.precision` asks.
        Where a text may have several, `labels`, and the `thresholds` that they reach. `truncated`, where its end was not read.

        Of a list of texts, `results` with these for each.
        """
        from ..build.classify import class_logits

        asked = ClassifyRequest.parse(request, where="request").input
        texts = [asked] if isinstance(asked, str) else asked
        if not texts:
            raise UserError("the list of inputs is empty", where="request", fix="send at least one text")
        rows = [_tokens(text, tokenizer) for text in texts]
        results = self._labelling.answers(class_logits(model, rows, tokenizer.pad), self.labels, self.calibration)
        context: int = model.config.context  # type: ignore[union-attr, assignment] # the classifier that `build` makes
        for result, tokens in zip(results, rows, strict=True):
            if len(tokens) > context:
                result["truncated"] = True
        usage = {"prompt_tokens": sum(min(len(tokens), context) for tokens in rows)}
        return {**results[0], "usage": usage} if isinstance(asked, str) else {"results": results, "usage": usage}

    def next_labels(self, model: nn.Module, tokenizer: Tokenizer, texts: Sequence[str], count: int, seed: int = 0) -> list[dict[str, Any]]:
        """Which of the texts to label next, the most telling first: `text`, the model's `suggestion`, its `confidence` and the `reason`."""
        from ..build.classify import read_rows
        from ..evaluate.next_labels import next_labels

        logits, vectors = read_rows(model, [_tokens(text, tokenizer) for text in texts], tokenizer.pad)
        probabilities = self._labelling.probabilities(logits, self.calibration)
        rows = []
        for pick in next_labels(probabilities, vectors, count, several=self.multi_label, seed=seed):
            suggestion, confidence, doubt = self._labelling.doubt(probabilities[pick.index], self.labels)
            new = Words(f"; {pick.newness:.0%} new beside those above", f"；与上面各条相比有 {pick.newness:.0%} 是新的")
            reason = Words(doubt.en + new.en, doubt.zh + new.zh)
            rows.append({"text": texts[pick.index], "suggestion": suggestion, "confidence": confidence, "reason": reason})
        return rows

    def reading(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any], output: str | None = None) -> Reading:
        from ..build.reading import read_label

        asked = ClassifyRequest.parse(request, where="request").input
        if not isinstance(asked, str):
            raise UserError("several texts were sent, and one is explained at a time", where="request", fix="send one text as input")
        return read_label(
            model, _tokens(asked, tokenizer), self.labels, output,
            exclusive=not self.multi_label, temperature=self.calibration.temperature,
        )  # fmt: skip


def _tokens(text: str, tokenizer: Tokenizer) -> list[int]:
    """The mark at the end keeps an empty text from being a row of padding alone."""
    return [*tokenizer.encode(text), tokenizer.end_of_text]
