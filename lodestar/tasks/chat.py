"""Chat: an assistant that answers in conversations, over many turns, with calls of tools as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from ..contracts.errors import UserError
from ..contracts.language import Words
from ..contracts.messages import last_answer
from ..contracts.task import Batch, Example, Problem, Reply, Task
from ..evaluate.instructions import RULES_KEPT, check_rules, from_ifeval, kept
from ..evaluate.metrics import BITS_PER_BYTE, PERPLEXITY
from ..evaluate.rewards import CodeReward, arithmetic_reward, check_tests, final_number
from ..prepare.conversations import recognise

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..build.chat import ChatRequest, Question
    from ..build.chat_template import ChatFormat, Rendered
    from ..contracts.reading import Reading
    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig
    from ..model.transformer import Transformer

ANSWER_TOKENS = 512
"""Tokens of an answer that is held against rules; half of the context where that is less."""


class Conversation(Example):
    """Who said what: OpenAI's messages; ShareGPT's, Alpaca's and preference records become them."""

    messages: list[dict[str, Any]]
    """`role`, `content` and `tool_calls`; the model learns what the assistant says, and no more."""
    tools: list[dict[str, Any]] = []
    """The functions that may be called, as OpenAI's API takes them."""
    rejected: list[dict[str, Any]] = []
    """Of a preference pair: the worse messages in place of the last ones."""
    desirable: bool | None = None
    """Whether the last message is wanted, where it is known; one that is not is learnt from by kind kto alone."""
    answer: str = ""
    """The number that the last message must end with, where it can be checked so."""
    tests: list[str] = []
    """Tests of the program in the last message, each such as `assert add(1, 2) == 3`."""
    rules: list[dict[str, Any]] = []
    """What the answer to the last question must keep to, such as `{"rule": "words", "at_most": 50}`; see evaluate/instructions.py."""

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        if "instruction_id_list" in fields:
            fields = {"completion": "", **fields}  # IFEval's records ask, and answer nothing
        return recognise(fields) | _checks(fields)

    @field_validator("tests")
    @classmethod
    def _tests_can_be_run(cls, tests: list[str]) -> list[str]:
        check_tests(tests)
        return tests

    @field_validator("rules")
    @classmethod
    def _rules_can_be_checked(cls, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
        try:
            return check_rules(rules, "rules")
        except UserError as error:
            raise ValueError(str(error)) from None

    @property
    def only_asks(self) -> bool:
        """Whether there is no answer to learn from or to measure by, but rules for one."""
        last = self.messages[-1]
        return bool(self.rules) and not last["content"] and not last.get("tool_calls")

    @property
    def answers(self) -> list[str]:
        """What the assistant says, as far as it is wanted."""
        messages = self.messages[:-1] if self.desirable is False else self.messages
        return [str(message["content"]) for message in messages if message["role"] == "assistant"]


class Chat(Task):
    words = Words(
        "Answer in conversations: an assistant of your domain, over many turns, with tools.", "多轮对话：您所在领域的助手，可调用工具。"
    )
    example = Conversation
    metrics = (BITS_PER_BYTE, PERPLEXITY, RULES_KEPT)
    batching = "whole"
    endpoint = "chat/completions"
    checked_by = "answer (a number), or tests"
    special_tokens = ("<|im_start|>", "<|im_end|>")
    template = {
        "task": "chat",
        "statement": Words(
            "Answers the questions that our crew asks every day, in our own words, on our own machine.",
            "在我们自己的机器上，用我们自己的话，回答船员每天都会问的问题。",
        ),
        "audience": Words("people who ask the same few questions again and again", "反复询问同样几个问题的人"),
        "north_star": "bits_per_byte",
        "data": {"sources": ["builtin:sample"], "validation": 0.15, "test": 0.15, "vocabulary": 300, "too_long": "cut"},
        "model": {"size": "tiny", "context": 256, "overrides": {"depth": 2, "width": 128}},
        "train": {"tokens": 10_000, "batch_tokens": 1024, "learning_rate": 0.005, "dropout": 0.2},
        "targets": [
            {
                "metric": "bits_per_byte",
                "at_most": 8.0,
                "unit": "bits/byte",
                "why": Words(
                    "the sample is too small to promise more; fine-tune an open model on your own conversations (model.base)",
                    "样本太小，不能承诺更多；请用您自己的对话微调开放模型（model.base）",
                ),
            },
            {
                "metric": "latency_ms_p95",
                "at_most": 3000,
                "unit": "ms",
                "why": Words("an answer comes before the question is forgotten", "答案来时，问题还没有被忘记"),
            },
        ],
    }

    @property
    def form(self) -> ChatFormat:
        """How the model reads conversations: its base's template, else ours."""
        from ..build.chat_template import ChatFormat

        return ChatFormat.from_json(self.state["format"]) if "format" in self.state else ChatFormat()

    @classmethod
    def sample(cls) -> Sequence[Conversation]:
        return [_conversation(text) for text in SAMPLE.strip().split("\n---\n")]

    def texts(self, example: Conversation) -> Iterator[str]:
        for message in example.messages:
            yield str(message["content"])

    def adopt(self, folder: Path) -> None:
        from ..build.chat_template import ChatFormat

        self.state["format"] = ChatFormat.load(folder, make=True).to_json()

    def fit(self, examples: Iterable[Conversation]) -> None:
        if any(example.only_asks for example in examples):
            fix = "name their files under data.splits: test"
            raise UserError("there are training records with rules and no answer, which can only be measured", where="data", fix=fix)
        self.state.setdefault("format", self.form.to_json())

    def encode(self, example: Conversation, tokenizer: Tokenizer) -> Mapping[str, Sequence[int] | int]:
        rendered = self._rendered(example, tokenizer)
        return {"tokens": rendered.ids, "targets": rendered.targets}

    def preference(self, example: Conversation, tokenizer: Tokenizer) -> tuple[Reply, Reply] | None:
        if not example.rejected:
            return None
        shared = len(example.messages) - len(example.rejected)
        prompt, replies = example.messages[:shared], (example.messages[shared:], example.rejected)
        chosen, rejected = (self._reply(prompt, reply, example.tools, tokenizer) for reply in replies)
        return chosen, rejected

    def judged(self, example: Conversation, tokenizer: Tokenizer) -> tuple[Reply, bool] | None:
        if example.desirable is None:
            return None
        *prompt, last = example.messages
        return self._reply(prompt, [last], example.tools, tokenizer), example.desirable

    def _reply(
        self, prompt: Sequence[dict[str, Any]], messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]], tokenizer: Tokenizer
    ) -> Reply:
        """What is said after a prompt: what the assistant said before is no part of it."""
        spoken = any(message["role"] == "assistant" for message in prompt)
        before = sum(self.form.encode(tokenizer, prompt, tools).assistant) if spoken else 0
        rendered = self.form.encode(tokenizer, [*prompt, *messages], tools)
        counts = accumulate(rendered.assistant)
        return rendered.ids, [own and count > before for own, count in zip(rendered.assistant, counts, strict=True)]

    def problem(self, example: Conversation, tokenizer: Tokenizer) -> Problem | None:
        *before, last = example.messages
        if not (example.answer or example.tests) or last["role"] != "assistant" or not before:
            return None
        prompt = self.form.prompt(tokenizer, before, example.tools)
        return Problem(prompt, example.tests or example.answer, str(last["content"]))

    def rewards(self, replies: Sequence[str], expected: Sequence[Any], *, partial: bool = False) -> Sequence[float]:
        found = dict[int, float]()
        for judge, kind in ((CodeReward(partial=partial), list), (arithmetic_reward, str)):
            places = [place for place, held in enumerate(expected) if isinstance(held, kind)]
            judged = judge([replies[place] for place in places], [expected[place] for place in places])
            found |= zip(places, judged, strict=True)
        return [found[place] for place in range(len(replies))]

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": "decoder"}

    def build(self, config: ModelConfig) -> nn.Module:
        from ..model.transformer import Transformer

        return Transformer(config)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        from ..build.language import next_token_loss

        return next_token_loss(model, batch)

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Conversation]) -> dict[str, np.ndarray]:
        """`nats`, `bytes` and `tokens` of what the assistant says in each conversation; the end of a turn counts no byte. `rules_kept`:
        whether the model's own answer in place of the last one keeps all rules; -1 where there are none.
        """
        import numpy as np

        from ..build.language import document_nats
        from ..model.transformer import Transformer

        assert isinstance(model, Transformer)
        rendered = [self._rendered(example, tokenizer) for example in examples]
        learnt = [[token for token, own in zip(one.ids, one.assistant, strict=True) if own] for one in rendered]
        answered = _answered(examples)
        return {
            "nats": document_nats(model, [one.ids for one in rendered], [one.targets for one in rendered]) * answered,
            "bytes": np.array([len(tokenizer.decode(ids).encode()) for ids in learnt], dtype=np.int64) * answered,
            "tokens": np.array([len(ids) for ids in learnt], dtype=np.int64) * answered,
            "rules_kept": self._rules_kept(model, tokenizer, examples),
        }

    def _rules_kept(self, model: Transformer, tokenizer: Tokenizer, examples: Sequence[Conversation]) -> np.ndarray:
        import numpy as np

        from ..build.completion import complete_rows

        ruled = [(number, example) for number, example in enumerate(examples) if example.rules]
        prompts = [self.form.prompt(tokenizer, last_answer(example.messages)[0], example.tools) for _, example in ruled]
        answers = complete_rows(model, tokenizer, prompts, ANSWER_TOKENS, self.form.stop_ids(tokenizer)) if ruled else []
        found = np.full(len(examples), -1)
        for (number, example), told in zip(ruled, answers, strict=True):
            found[number] = all(kept(rule, told) for rule in example.rules)
        return found

    def baseline(self, train: Sequence[Conversation], examples: Sequence[Conversation]) -> tuple[str, dict[str, np.ndarray]]:
        """Byte n-grams of the answers alone, which know nothing of the question."""
        import numpy as np

        from ..evaluate.ngram import ByteNGram

        counted = ByteNGram([answer for example in train for answer in example.answers])
        columns = counted.document_columns([answer for example in examples for answer in example.answers])
        owners = np.repeat(np.arange(len(examples)), [len(example.answers) for example in examples])
        summed = {name: np.bincount(owners, column, minlength=len(examples)).astype(column.dtype) for name, column in columns.items()}
        answered = _answered(examples)
        return counted.name, {name: column * answered for name, column in summed.items()} | {"rules_kept": np.full(len(examples), -1)}

    def request(self, example: Conversation) -> dict[str, Any]:
        """The conversation up to the assistant's first message."""
        first = next(number for number, message in enumerate(example.messages) if message["role"] == "assistant")
        tools = {"tools": example.tools} if example.tools else {}
        return {"messages": example.messages[:first], "max_tokens": 32, **tools}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        from ..build.chat import ChatRequest, answer

        asked = ChatRequest.parse(request, where="request")
        return answer(tokenizer, self.ask(model, tokenizer, asked), asked.seed)

    def ask(self, model: nn.Module, tokenizer: Tokenizer, request: ChatRequest) -> Question:
        from ..build.chat import ask

        return ask(model, tokenizer, self.form, request)

    def reading(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any], output: str | None = None) -> Reading:
        from ..build.chat import ChatRequest
        from ..build.reading import read_written

        asked = self.ask(model, tokenizer, ChatRequest.parse({**request, "max_tokens": 1}, where="request"))
        return read_written(model, tokenizer, asked.ids, output, asked.stop_ids)

    def _rendered(self, example: Conversation, tokenizer: Tokenizer) -> Rendered:
        rendered = self.form.encode(tokenizer, example.messages, example.tools)
        if example.desirable is not False:
            return rendered
        # Nobody wants it said, so nobody is to learn to say it.
        _, last = self._reply(example.messages[:-1], example.messages[-1:], example.tools, tokenizer)
        return replace(rendered, assistant=[own and not mark for own, mark in zip(rendered.assistant, last, strict=True)])


def _answered(examples: Sequence[Conversation]) -> np.ndarray:
    """1 for each conversation that has an answer to be measured by, 0 for one that only asks."""
    import numpy as np

    return np.array([not example.only_asks for example in examples], dtype=np.int64)


def _checks(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the last message can be held against. A field called `answer` that holds no number is something else."""
    found: dict[str, Any] = {}
    if "instruction_id_list" in fields:
        found["rules"] = from_ifeval(fields["instruction_id_list"], fields.get("kwargs") or [{}] * len(fields["instruction_id_list"]))
    elif "rules" in fields:
        found["rules"] = fields["rules"]
    answer, tests = fields.get("answer"), fields.get("tests")
    if isinstance(answer, str | int | float) and not isinstance(answer, bool) and final_number(str(answer)) is not None:
        found["answer"] = str(answer)
    if isinstance(tests, list) and tests and all(isinstance(test, str) for test in tests):
        found["tests"] = tests
    return found


def _conversation(text: str) -> Conversation:
    """A conversation of the sample: lines of S (system), U (user), A (assistant), C (a call as JSON), T (a tool's result) or R (rules)."""
    messages: list[dict[str, Any]] = []
    rules: list[dict[str, Any]] = []
    roles = {"S": "system", "U": "user", "A": "assistant", "C": "function_call", "T": "tool"}
    for line in text.splitlines():
        mark, _, said = line.partition(": ")
        if mark == "R":
            rules = json.loads(said)
        else:
            messages.append({"from": roles[mark], "value": said})
    return Conversation.model_validate(recognise({"conversations": messages}) | {"rules": rules})


# Written for this project; in the public domain (CC0).
SAMPLE = """
U: Which way is north?
A: Find the star that stands still.
---
U: How long is a watch?
A: Four hours, and the cook's tea.
---
U: When do we sail?
A: At six, with the tide.
U: And if it rains?
A: At six, in coats.
---
U: Who keeps the log?
A: Whoever stands the watch.
---
U: What is a knot?
A: One sea mile an hour.
---
U: How tall is the mast?
A: Nine metres from the deck.
---
S: Be brief.
U: Is the soup ready?
A: Soon.
R: [{"rule": "words", "at_most": 3}]
---
U: Where are the coats?
A: Under the stairs, on the left.
---
U: May I climb the mast?
A: With a line, and by day.
---
U: What does the bell say?
A: Two strokes each hour.
---
U: How deep is it here?
C: {"name": "depth", "arguments": {}}
T: 12
A: Twelve metres.
---
U: Is the lamp lit?
A: Yes, since dusk.
---
U: Who feeds the cat?
A: The youngest of us.
---
U: Are we lost?
A: No. We are early.
---
U: What is for supper?
A: Bread, fish and an apple.
---
U: 哪边是北？
A: 找那颗不动的星。
---
U: 一班多长？
A: 四个小时。
---
U: 几点开船？
A: 六点，趁涨潮。
---
U: 谁写日志？
A: 谁值班谁写。
---
U: 雨衣在哪？
A: 楼梯下左边。
---
U: 汤好了吗？
A: 快了。
U: 还要多久？
A: 一刻钟。
---
S: 回答要短。
U: 灯亮了吗？
A: 亮了。
R: [{"rule": "words", "at_most": 3}, {"rule": "language", "language": "zh"}]
---
U: 谁喂猫？
A: 最小的船员。
---
U: 晚饭吃什么？
A: 面包和鱼。
---
U: 能爬桅杆吗？
A: 白天可以，要系绳。
---
U: 水多深？
C: {"name": "depth", "arguments": {}}
T: 9
A: 九米。
---
U: 迷路了吗？
A: 没有，只是早到。
---
U: 桅杆多高？
A: 九米。
"""
