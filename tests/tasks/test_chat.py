"""The chat task: what is learnt of a conversation, what is measured of it, and how it answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lodestar.build.chat_template import ChatFormat
from lodestar.build.language import document_nats
from lodestar.contracts.errors import UserError
from lodestar.contracts.task import IGNORE
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer
from lodestar.prepare.tokenizer import train_tokenizer
from lodestar.tasks.chat import Chat, Conversation


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer((text for example in Chat.sample() for text in Chat().texts(example)), 400, Chat.special_tokens)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Transformer:
    torch.manual_seed(0)
    config = ModelConfig(vocabulary_size=tokenizer.vocabulary_size, width=32, depth=2, heads=2, context=64, initial_std=0.4)
    return Transformer(config).eval()


TALK = Conversation(messages=[
    {"role": "user", "content": "When do we sail?"}, {"role": "assistant", "content": "At six."},
    {"role": "user", "content": "下雨呢？"}, {"role": "assistant", "content": "照样。"},
])  # fmt: skip


def test_the_answers_and_their_ends_are_learnt_and_nothing_else(tokenizer: Tokenizer) -> None:
    encoded = Chat().encode(TALK, tokenizer)
    targets = encoded["targets"]
    assert isinstance(targets, list)
    learnt = [token for token in targets if token != IGNORE]
    assert tokenizer.backend.decode(learnt, skip_special_tokens=False) == "At six.<|im_end|>照样。<|im_end|>"
    assert len(targets) == len(encoded["tokens"])  # type: ignore[arg-type]


def test_a_reply_that_nobody_wants_is_not_learnt(model: Transformer, tokenizer: Tokenizer) -> None:
    first, second = "At six.", "Perhaps."
    said = zip(["user", "assistant"] * 2, ["When?", first, "Sure?", second], strict=True)
    messages = [{"role": role, "content": text} for role, text in said]
    task, unwanted = Chat(), Conversation(messages=messages, desirable=False)

    def learnt(example: Conversation) -> str:
        return tokenizer.decode([target for target in task.encode(example, tokenizer)["targets"] if target != IGNORE])  # type: ignore[union-attr]

    assert learnt(Conversation(messages=messages, desirable=True)) == first + second
    assert learnt(unwanted) == first
    assert unwanted.answers == [first]
    judged = task.judged(unwanted, tokenizer)
    assert judged is not None
    (ids, own), wanted = judged
    assert not wanted
    assert tokenizer.decode([token for token, mark in zip(ids, own, strict=True) if mark]) == second
    alone = Conversation(messages=messages[:2], desirable=False)
    row = task.encode(alone, tokenizer)
    loss, terms = task.loss(model.train(), {name: torch.tensor([row[name]]) for name in ("tokens", "targets")})
    loss.backward()
    assert (loss.item(), int(terms)) == (0.0, 0)
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters() if parameter.grad is not None)
    measured = task.measure(model.eval(), tokenizer, [alone])
    assert (measured["nats"][0], measured["bytes"][0], measured["tokens"][0]) == (0, 0, 0)


def test_what_is_measured_is_the_answers_given_all_before_them(model: Transformer, tokenizer: Tokenizer) -> None:
    columns = Chat().measure(model, tokenizer, [TALK])
    encoded = Chat().encode(TALK, tokenizer)
    tokens, targets = torch.tensor(encoded["tokens"]), torch.tensor(encoded["targets"])
    with torch.inference_mode():
        chances = model(tokens[None])[0].log_softmax(-1)
    learnt = targets != IGNORE
    expected = -float(chances[learnt].gather(1, targets[learnt][:, None]).double().sum())
    assert columns["nats"][0] == pytest.approx(expected, rel=1e-5)
    assert columns["bytes"][0] == len("At six.照样。".encode())
    assert columns["tokens"][0] == int(learnt.sum())
    # A conversation longer than the context is read in windows, and every answer counts.
    long = Conversation(messages=[*TALK.messages * 6])
    ids = Chat().encode(long, tokenizer)
    assert len(ids["tokens"]) > model.config.context  # type: ignore[arg-type]
    assert Chat().measure(model, tokenizer, [long])["tokens"][0] == 6 * int(learnt.sum())
    assert document_nats(model, [ids["tokens"]])[0] > Chat().measure(model, tokenizer, [long])["nats"][0]  # type: ignore[list-item]


def test_answers_are_held_against_the_rules_of_their_records(model: Transformer, tokenizer: Tokenizer) -> None:
    """The model's answer is the one that it gives when asked, and a record that only asks counts for nothing else."""
    task = Chat()
    asked = {"role": "user", "content": "When do we sail?"}
    said = task.answer(model, tokenizer, {"messages": [asked], "max_tokens": 32})["message"]["content"]
    with_rules = [
        Conversation.model_validate(Conversation.of_record({"prompt": "When do we sail?", "completion": "At six.", "rules": rules}))
        for rules in (
            [{"rule": "begins", "with": said[:3]}],
            [{"rule": "begins", "with": said[:3]}, {"rule": "lacks", "texts": [said[:3]]}],
        )
    ]
    record = {"key": 1, "prompt": "When do we sail?", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    asks = Conversation.model_validate(Conversation.of_record(record))
    assert asks.only_asks
    columns = task.measure(model, tokenizer, [TALK, *with_rules, asks])
    assert columns["rules_kept"].tolist() == [-1, 1, 0, int("," not in said and "，" not in said)]
    assert columns["nats"][3] == columns["bytes"][3] == columns["tokens"][3] == 0
    assert columns["nats"][2] == columns["nats"][1] > 0
    _, baseline = task.baseline([TALK], [TALK, asks])
    assert baseline["nats"][1] == baseline["bytes"][1] == 0
    with pytest.raises(UserError, match="can only be measured"):
        task.fit([TALK, asks])
    with pytest.raises(ValueError, match="unknown rule 'wrods'; did you mean 'words'"):
        Conversation(messages=TALK.messages, rules=[{"rule": "wrods"}])


def test_cached_decoding_equals_decoding_without_a_cache(model: Transformer, tokenizer: Tokenizer) -> None:
    task = Chat()
    request = task.request(TALK)
    read = task.form.prompt(tokenizer, request["messages"])
    stops, written = task.form.stop_ids(tokenizer), list[int]()
    with torch.inference_mode():
        while len(written) < request["max_tokens"] and len(read) + len(written) < model.config.context:
            token = int(model(torch.tensor([read + written]))[0, -1].argmax())
            if token in stops:
                break
            written.append(token)
    answer = task.answer(model, tokenizer, request)
    assert answer["message"]["content"] == tokenizer.decode(written)


def test_a_base_without_a_template_gets_one_that_ends_with_its_own_end(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    with pytest.raises(UserError, match="no chat template"):
        ChatFormat.load(tmp_path)
    task = Chat()
    task.adopt(tmp_path)
    assert task.form.text(TALK.messages[:2]) == "### user\nWhen do we sail?</s>\n### assistant\nAt six.</s>\n"
    (tmp_path / "task.json").write_text(json.dumps(Chat(state={"format": ChatFormat("{{ 1 }}", {}).to_json()}).describe()))
    task.adopt(tmp_path)
    assert task.form.template == "{{ 1 }}", "a folder of ours brings the one that it was trained with"
