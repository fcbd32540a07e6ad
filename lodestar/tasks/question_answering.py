"""Question answering: the words of a text that answer a question about it, or that it does not answer it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from ..contracts.config import Config
from ..contracts.errors import UserError, quoted
from ..contracts.language import Words
from ..contracts.task import Batch, Example, Task
from ..evaluate.squad import ANSWER_F1, EXACT_MATCH, NO_ANSWER_ACCURACY, answer_scores, best_threshold
from ..prepare.squad import read_answers

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..build.spans import Span
    from ..contracts.reading import Reading
    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig


class Answer(Config):
    """Words of the text that answer the question."""

    text: str
    """The answer as it stands in the text, letter by letter."""
    start: int | None = None
    """The characters before it; None where it is worded in another way than the text, so that it can judge and not teach."""


class QuestionOnText(Example):
    """A question about a text, and its answers."""

    question: str
    """What is asked."""
    context: str
    """The text that answers it, or does not."""
    answers: list[Answer]
    """What people found, the first one to be learnt; [] where the text has no answer."""

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """SQuAD's questions (`answers`: [{"text", "answer_start"}], `is_impossible`), the columns of Hugging Face's data sets (`answers`:
        {"text": […], "answer_start": […]}), or the answers as strings. An answer that does not stand at its start is looked for.
        """
        known = {name: fields[name] for name in ("question", "context") if name in fields}
        if not isinstance(fields.get("context"), str) or not {"answers", "answer", "is_impossible"} & set(fields):
            return known | {"answers": fields["answers"]} if "answers" in fields else known
        return known | {"answers": [{"text": text, "start": start} for text, start in read_answers(fields, fields["context"])]}

    def kinship(self) -> str:
        return self.context

    @model_validator(mode="after")
    def _answers_stand_in_the_text(self) -> QuestionOnText:
        for answer in self.answers:
            if answer.start is not None and not (answer.text and self.context.startswith(answer.text, answer.start)):
                raise ValueError(f"the answer {quoted(answer.text)} does not stand at character {answer.start}; correct its start")
        return self


class Options(Config):
    """venture.yaml: `options`."""

    longest_answer: int | None = Field(None, ge=1)
    """Characters of an answer at most; as many as the longest one of the training records where absent."""
    overlap: int = Field(128, ge=0)
    """Tokens that a window over a text longer than the context shares with the one before it; at most half a window."""
    no_answer: Literal["auto", "yes", "no"] = "auto"
    """Whether the model may say that a text has no answer; `auto`: where training records have none."""


class AnswerRequest(Config):
    """A question and a text; or several of either: lists are asked pair by pair, and what is no list is the same in each pair."""

    question: str | list[str]
    context: str | list[str]


class QuestionAnswering(Task):
    words = Words(
        "Find the words of a text that answer a question, or say that it has none.", "在文本中找出问题的答案；没有答案时如实说明。"
    )
    example = QuestionOnText
    metrics = (ANSWER_F1, EXACT_MATCH, NO_ANSWER_ACCURACY)
    batching = "padded"
    endpoint = "answer"
    single_characters = True
    template = {
        "task": "question-answering",
        "statement": Words(
            "Answers visitors' questions from the museum's own texts, in English and Chinese, and says when they have no answer.",
            "根据博物馆自己的文字，用中英文回答访客的问题；没有答案时如实说明。",
        ),
        "audience": Words("visitors with a question in front of an exhibit", "站在展品前有疑问的访客"),
        "north_star": "answer_f1",
        "data": {"sources": ["builtin:sample"], "validation": 0.2, "test": 0.2, "vocabulary": 512},
        "model": {"size": "tiny", "context": 192, "overrides": {"depth": 2, "width": 128}},
        "train": {"tokens": 400_000, "batch_tokens": 2048},
        "targets": [
            {
                "metric": "answer_f1",
                "at_least": 0.3,
                "why": Words(
                    "better than the words nearest to the question, with this little data; raise it with your own",
                    "数据这么少，至少要胜过取问题近旁的词；换成您自己的数据后请调高",
                ),
            },
            {
                "metric": "latency_ms_p95",
                "at_most": 500,
                "unit": "ms",
                "why": Words("a visitor does not wait in front of a screen", "访客不会在屏幕前久等"),
            },
            {
                "metric": "memory_bytes",
                "at_most": 2_000_000_000,
                "unit": "bytes",
                "why": Words("runs on the museum's own machine", "在博物馆自己的机器上运行"),
            },
        ],
    }

    def __init__(self, options: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> None:
        super().__init__(options, state)
        self._options = Options.parse(self.options, where="options")

    @property
    def longest_answer(self) -> int:
        """Characters of an answer at most."""
        from ..build.spans import LONGEST_ANSWER

        return int(self._options.longest_answer or self.state.get("longest_answer", LONGEST_ANSWER))

    @property
    def may_refuse(self) -> bool:
        """Whether the model may say that a text has no answer; an open model, of whose training nothing is known, may."""
        return bool(self.state.get("no_answer", True)) if self._options.no_answer == "auto" else self._options.no_answer == "yes"

    @property
    def threshold(self) -> float:
        """How much likelier than the best answer none must be, in the sum of two logits, for the model to give none."""
        return float(self.state.get("threshold", 0.0))

    @classmethod
    def sample(cls) -> Sequence[QuestionOnText]:
        return [QuestionOnText.model_validate(QuestionOnText.of_record(record)) for record in _sample_records()]

    def texts(self, example: QuestionOnText) -> Iterator[str]:
        if example.question.strip() and example.context.strip():  # else the record is blank, and is counted as that
            yield example.question
            yield example.context

    def fit(self, examples: Iterable[QuestionOnText]) -> None:
        """Learn how long answers are, and whether there are questions without one.

        Raises:
            UserError: no question has an answer.
        """
        longest, without = 0, False
        for example in examples:
            longest = max([longest, *(len(answer.text) for answer in example.answers)])
            without = without or not example.answers
        if not longest:
            raise UserError("no training record has an answer", where="data", fix="give questions that their texts answer")
        self.state |= {"longest_answer": longest, "no_answer": without}

    def encode(self, example: QuestionOnText, tokenizer: Tokenizer) -> Mapping[str, Sequence[int] | int]:
        return self.rows(example, tokenizer, None)[0]

    def rows(self, example: QuestionOnText, tokenizer: Tokenizer, context: int | None) -> Sequence[Mapping[str, Sequence[int] | int]]:
        from ..build.windows import LEAST_ROOM, room_beside, windows

        if context is not None and room_beside(example.question, tokenizer, context) < LEAST_ROOM:
            context = None  # a question that nothing fits beside: the row is too long, and what becomes of it is told as of any other
        taught = next((answer for answer in example.answers if answer.start is not None), None)
        made: list[Mapping[str, Sequence[int] | int]] = []
        for window in windows(tokenizer, example.question, example.context, context, self._options.overlap):
            start, end = (0, 0) if taught is None else window.place(taught.start or 0, (taught.start or 0) + len(taught.text))
            made.append({"tokens": window.tokens, "token_types": window.token_types, "start": start, "end": end})
        return made

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": "encoder", "dropout": 0.1, "token_types": 3}

    def build(self, config: ModelConfig) -> nn.Module:
        from ..build.heads import SpanClassifier

        return SpanClassifier(config)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from torch import ones_like

        from ..build.spans import span_losses

        losses_B = span_losses(model, batch)
        return losses_B.sum(), ones_like(batch["start"]).sum()

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[QuestionOnText]) -> dict[str, np.ndarray]:
        return answer_columns(self.predictions(model, tokenizer, examples), examples)

    def instruction(self, example: QuestionOnText) -> str:
        unanswered = " Reply with nothing where the text does not say."
        return (
            "Answer the question with a part of the text, word for word, and nothing else."
            f"{unanswered}\n\nText: {example.context}\n\nQuestion: {example.question}"
        )

    def answered(self, answers: Sequence[str], examples: Sequence[QuestionOnText]) -> dict[str, np.ndarray]:
        return answer_columns([answer.strip() for answer in answers], examples)

    def predictions(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[QuestionOnText]) -> list[str]:
        """The answers that the model gives; empty where it gives none."""
        spans = self._spans(model, tokenizer, examples)
        return [self._text(span, example.context) for span, example in zip(spans, examples, strict=True)]

    def _spans(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[QuestionOnText]) -> list[Span | None]:
        """The best answers; None to a question that is too long to be asked, as which it was not learnt, either."""
        from ..build.spans import best_span_of_each
        from ..build.windows import LEAST_ROOM, room_beside

        context: int = model.config.context  # type: ignore[union-attr, assignment] # the reader that `build` makes
        asked = [row for row, example in enumerate(examples) if room_beside(example.question, tokenizer, context) >= LEAST_ROOM]
        pairs = [(examples[row].question, examples[row].context) for row in asked]
        spans = best_span_of_each(model, tokenizer, pairs, longest_answer=self.longest_answer, overlap=self._options.overlap)
        found: list[Span | None] = [None] * len(examples)
        for row, span in zip(asked, spans, strict=True):
            found[row] = span
        return found

    def _text(self, span: Span | None, context: str) -> str:
        """The answer that is given: the span's, or none, which is empty."""
        if span is None or (self.may_refuse and span.null_score - span.score > self.threshold):
            return ""
        return context[span.start : span.end]

    def calibrate(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[QuestionOnText]) -> None:
        """Choose the threshold of giving no answer for the highest F1, where questions without an answer validate."""
        import numpy as np

        known = list(examples)
        if not self.may_refuse or all(example.answers for example in known):
            return
        pairs = [(span, one) for span, one in zip(self._spans(model, tokenizer, known), known, strict=True) if span is not None]
        if pairs:
            margins = np.array([span.null_score - span.score for span, _ in pairs])
            answered = answer_columns([example.context[span.start : span.end] for span, example in pairs], [one for _, one in pairs])["f1"]
            refused = answer_columns([""] * len(pairs), [one for _, one in pairs])["f1"]
            self.state["threshold"] = best_threshold(margins, answered, refused)

    def baseline(self, train: Sequence[QuestionOnText], examples: Sequence[QuestionOnText]) -> tuple[str, dict[str, np.ndarray]]:
        """The words nearest to the question's; none to all questions, where most of those to learn from have none."""
        from ..evaluate.overlap import nearest_words, usual_lengths

        known = [example for example in train if example.answers]
        if 2 * len(known) < len(train):
            return "no answer to any question", answer_columns([""] * len(examples), examples)
        lengths = usual_lengths((example.answers[0].text, example.context) for example in known)
        found = [nearest_words(example.question, example.context, lengths) for example in examples]
        return "the words nearest to the question's", answer_columns(found, examples)

    def request(self, example: QuestionOnText) -> dict[str, Any]:
        return {"question": example.question, "context": example.context}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        """`answer`, the characters `start` to `end` of the context that it is, its `score` (0 to 1), and in how many `windows` the context
        was read; of lists, `results` with these for each pair. Where there is no answer, the first three are None.

        Where the model may say so, the score is how far the decision is from the threshold: a half there, and more the surer it is. Else
        it is the answer's probability among all spans of its window.

        Raises:
            UserError: a question or a context is blank, or the question is too long.
        """
        from ..build.spans import best_span_of_each

        asked = AnswerRequest.parse(request, where="request")
        pairs = _pairs(asked)
        spans = best_span_of_each(model, tokenizer, pairs, longest_answer=self.longest_answer, overlap=self._options.overlap)
        results = [self._result(span, context) for span, (_, context) in zip(spans, pairs, strict=True)]
        usage = {"prompt_tokens": sum(len(tokenizer.encode(text)) for pair in pairs for text in pair)}
        if isinstance(asked.question, str) and isinstance(asked.context, str):
            return {**results[0], "usage": usage}
        return {"results": results, "usage": usage}

    def reading(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any], output: str | None = None) -> Reading:
        """The answer in its window; with `output`, words of the context in its place; of none, the row's first token."""
        from ..build.spans import best_span_of_each, read_span

        (pair, *more) = _pairs(AnswerRequest.parse(request, where="request"))
        if more:
            raise UserError("several questions were sent, and one is explained at a time", where="request", fix="send one pair")
        if output is None:
            (span,) = best_span_of_each(model, tokenizer, [pair], longest_answer=self.longest_answer, overlap=self._options.overlap)
            place = (span.start, span.end) if self._text(span, pair[1]) else None
        else:
            start = pair[1].find(output)
            if start < 0 or not output:
                raise UserError(f"the output {quoted(output)} does not stand in the context", where="output", fix="give words of it")
            place = (start, start + len(output))
        return read_span(model, tokenizer, pair, place, overlap=self._options.overlap)

    def _result(self, span: Span, context: str) -> dict[str, Any]:
        given = self._text(span, context)
        distance = abs(span.null_score - span.score - self.threshold)
        score = 1 / (1 + math.exp(-distance)) if self.may_refuse else span.probability
        start, end = (span.start, span.end) if given else (None, None)
        return {"answer": given or None, "start": start, "end": end, "score": score, "windows": span.windows}


def answer_columns(found: Sequence[str], examples: Sequence[QuestionOnText]) -> dict[str, np.ndarray]:
    """What the metrics compute from, of answers that were found by whatever method; empty where none was given."""
    import numpy as np

    answers = [[answer.text for answer in example.answers] for example in examples]
    scores = [answer_scores(text, known, example.context) for text, known, example in zip(found, answers, examples, strict=True)]
    exact, f1 = np.array(scores).reshape(-1, 2).T
    answerable, answered = np.array([len(known) > 0 for known in answers], int), np.array([text != "" for text in found], int)
    return {"exact": exact, "f1": f1, "answerable": answerable, "answered": answered}


def _pairs(asked: AnswerRequest) -> list[tuple[str, str]]:
    """Questions with their contexts, each of them looked at."""
    sides = {"question": asked.question, "context": asked.context}
    counts = {name: len(side) for name, side in sides.items() if isinstance(side, list)}
    if len(set(counts.values())) > 1:
        what = f"{counts['question']} questions and {counts['context']} contexts are no pairs"
        raise UserError(what, where="request", fix="send as many of each, or one that is the same for all")
    if 0 in counts.values():
        raise UserError(f"the list of {next(iter(counts))}s is empty", where="request", fix="send at least one")
    for name, side in sides.items():
        for text in [side] if isinstance(side, str) else side:
            if not text.strip():
                raise UserError(f"the {name} is blank", where="request", fix="write one")
    count = next(iter(counts.values()), 1)
    questions, contexts = ([side] * count if isinstance(side, str) else side for side in sides.values())
    return list(zip(questions, contexts, strict=True))


def _sample_records() -> Iterator[dict[str, Any]]:
    for passage in SAMPLE.strip().split("\n\n"):
        context, *asked = passage.split("\n")
        for line in asked:
            question, _, answer = line.partition(" = ")
            yield {"question": question, "context": context, "answers": [answer] if answer != "-" else []}


# Written for this project; in the public domain (CC0). A passage, its questions with their answers, and one that it does not answer. The
# passages are made alike, so that something can be learnt from so few.
SAMPLE = """
The lighthouse on Crab Point was built in 1874 by Nora Finch. It is 40 metres high.
Who built the lighthouse? = Nora Finch
When was the lighthouse built? = 1874
How high is the lighthouse? = 40 metres
Who painted the lighthouse? = -

The stone bridge in Alder was built in 1702 by Tom Reed. It is 9 metres high.
Who built the bridge? = Tom Reed
When was the bridge built? = 1702
How high is the bridge? = 9 metres

The clock tower of Wick was built in 1911 by Ida Moss. It is 31 metres high.
Who built the tower? = Ida Moss
When was the tower built? = 1911
How much did the tower cost? = -

The old windmill at Low Fen was built in 1788 by Jan Boer. It is 17 metres high.
Who built the windmill? = Jan Boer
How high is the windmill? = 17 metres
Who painted the windmill? = -

The glass hall in Port Lee was built in 1936 by Ruth Hale. It is 25 metres high.
Who built the hall? = Ruth Hale
When was the hall built? = 1936
How high is the hall? = 25 metres

The city gate of Brey was built in 1544 by Otto Lang. It is 12 metres high.
When was the gate built? = 1544
How high is the gate? = 12 metres
How much did the gate cost? = -

The iron pier at Sandy Cove was built in 1893 by Amy Stone. It is 6 metres high.
Who built the pier? = Amy Stone
When was the pier built? = 1893
Who painted the pier? = -

The round chapel in Dove Hill was built in 1620 by Paul Grey. It is 14 metres high.
Who built the chapel? = Paul Grey
How high is the chapel? = 14 metres
How much did the chapel cost? = -

The wooden fort of Elm Bay was built in 1755 by Kate Marsh. It is 8 metres high.
Who built the fort? = Kate Marsh
When was the fort built? = 1755
How high is the fort? = 8 metres

The water tower in Ash was built in 1928 by Leo Park. It is 36 metres high.
Who built the tower? = Leo Park
When was the tower built? = 1928
Who painted the tower? = -

东山灯塔由林海建于1874年，高40米。
谁建了灯塔？ = 林海
灯塔建于哪年？ = 1874年
灯塔有多高？ = 40米
谁画了灯塔？ = -

南河石桥由陈青建于1702年，高9米。
谁建了石桥？ = 陈青
石桥建于哪年？ = 1702年
石桥有多高？ = 9米

西城钟楼由王宁建于1911年，高31米。
谁建了钟楼？ = 王宁
钟楼建于哪年？ = 1911年
钟楼花了多少钱？ = -

北滩风车由李山建于1788年，高17米。
谁建了风车？ = 李山
风车有多高？ = 17米
谁画了风车？ = -

新港礼堂由赵云建于1936年，高25米。
谁建了礼堂？ = 赵云
礼堂建于哪年？ = 1936年
礼堂有多高？ = 25米

老城城门由孙明建于1544年，高12米。
城门建于哪年？ = 1544年
城门有多高？ = 12米
城门花了多少钱？ = -

金湾码头由周雨建于1893年，高6米。
谁建了码头？ = 周雨
码头建于哪年？ = 1893年
谁画了码头？ = -

白鹤古塔由吴林建于1620年，高14米。
谁建了古塔？ = 吴林
古塔有多高？ = 14米
古塔花了多少钱？ = -

青湖木屋由郑安建于1755年，高8米。
谁建了木屋？ = 郑安
木屋建于哪年？ = 1755年
木屋有多高？ = 8米

云岭水塔由冯乐建于1928年，高36米。
谁建了水塔？ = 冯乐
水塔建于哪年？ = 1928年
谁画了水塔？ = -
"""
