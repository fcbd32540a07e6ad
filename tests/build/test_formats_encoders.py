"""BERT, RoBERTa and ModernBERT with each head against `transformers`, which builds small random models of them in several shapes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from lodestar.build.formats import load_model, save_model
from lodestar.build.formats.classifier import classifier_of
from lodestar.build.formats.folder import origin_of
from lodestar.build.heads import HeadShape, MaskedLanguageModel, PooledEncoder, SequenceClassifier, TokenClassifier
from lodestar.contracts.errors import UserError
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer

VOCABULARY, CONTEXT, LENGTH = 61, 26, 17
TOLERANCE = 1e-4
"""Of logits and states, in float32: what sums in another order differ by stays far below."""
BERT: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 30, "num_hidden_layers": 3, "num_attention_heads": 5, "intermediate_size": 44,
    "max_position_embeddings": CONTEXT, "type_vocab_size": 3, "pad_token_id": 0,
}  # fmt: skip
ROBERTA: dict[str, Any] = {**BERT, "type_vocab_size": 1, "pad_token_id": 1, "max_position_embeddings": CONTEXT + 2}
MODERN: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 36, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 28,
    "max_position_embeddings": CONTEXT, "local_attention": 6, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1, "cls_token_id": 2,
    "sep_token_id": 1,
}  # fmt: skip
BIASES: dict[str, Any] = {"attention_bias": True, "mlp_bias": True, "norm_bias": True}
ROPE: dict[str, Any] = {
    "full_attention": {"rope_type": "default", "rope_theta": 900.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 30.0},
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    architecture: str
    shape: dict[str, Any]
    choices: dict[str, Any] = field(default_factory=dict)


CASES = {
    "bert": Case("BertModel", BERT),
    "bert-masked": Case("BertForMaskedLM", BERT, {"hidden_act": "relu", "layer_norm_eps": 1e-5}),
    "bert-sequence": Case("BertForSequenceClassification", BERT, {"num_labels": 4, "num_attention_heads": 1}),
    "bert-token": Case("BertForTokenClassification", BERT, {"num_labels": 7, "hidden_act": "gelu_new"}),
    "bert-answer": Case("BertForQuestionAnswering", BERT, {"num_hidden_layers": 1, "hidden_size": 33, "num_attention_heads": 3}),
    "roberta": Case("RobertaModel", ROBERTA),
    "roberta-masked": Case("RobertaForMaskedLM", ROBERTA, {"hidden_act": "silu"}),
    "roberta-sequence": Case("RobertaForSequenceClassification", ROBERTA, {"num_labels": 3}),
    "roberta-token": Case("RobertaForTokenClassification", ROBERTA, {"pad_token_id": 4, "max_position_embeddings": CONTEXT + 5}),
    "xlm-roberta-sequence": Case("XLMRobertaForSequenceClassification", ROBERTA, {"num_labels": 1}),
    "modernbert": Case("ModernBertModel", MODERN),
    "modernbert-masked": Case("ModernBertForMaskedLM", MODERN, {**BIASES, "classifier_bias": True, "classifier_activation": "silu"}),
    "modernbert-masked-plain": Case("ModernBertForMaskedLM", MODERN, {"decoder_bias": False, "rope_parameters": ROPE}),
    "modernbert-first": Case("ModernBertForSequenceClassification", MODERN, {"num_labels": 3, "hidden_activation": "silu"}),
    "modernbert-mean": Case(
        "ModernBertForSequenceClassification",
        MODERN,
        {"classifier_pooling": "mean", "layer_types": ["sliding_attention", "full_attention", "full_attention", "sliding_attention"]},
    ),
    "modernbert-token": Case("ModernBertForTokenClassification", MODERN, {"num_labels": 5, "local_attention": 2}),
}


@dataclass(frozen=True)
class Batch:
    tokens: torch.Tensor
    mask: torch.Tensor
    types: torch.Tensor | None

    def theirs(self) -> dict[str, torch.Tensor]:
        types = {} if self.types is None else {"token_type_ids": self.types}
        return {"input_ids": self.tokens, "attention_mask": self.mask, **types}

    def ours(self) -> dict[str, Any]:
        return {"tokens": self.tokens, "attention_mask": self.mask.bool(), "token_types": self.types}


@dataclass(frozen=True)
class Pair:
    theirs: Any
    ours: nn.Module
    folder: Path
    batch: Batch
    answer: torch.Tensor
    """Their logits; of a bare model, its last states."""
    states: torch.Tensor


def make(case: Case) -> Any:
    """A random model whose norms and biases are random, too."""
    kind = getattr(transformers, case.architecture)
    torch.manual_seed(0)
    model = kind(kind.config_class(**{**case.shape, **case.choices})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model


def make_batch(model: Any) -> Batch:
    """Rows of unequal lengths, padded on the right with the model's own padding token."""
    generator = torch.Generator().manual_seed(1)
    config = model.config
    tokens = torch.randint(5, VOCABULARY, (3, LENGTH), generator=generator)
    mask = (torch.arange(LENGTH) < torch.tensor([[LENGTH], [LENGTH - 5], [1]])).long()
    types = None
    if getattr(config, "type_vocab_size", 1) > 1:
        types = torch.randint(config.type_vocab_size, (3, LENGTH), generator=generator)
    return Batch(tokens.masked_fill(mask == 0, config.pad_token_id), mask, types)


@torch.no_grad()
def answer_of(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (or a bare model's states) and last states."""
    output = model(**batch.theirs(), output_hidden_states=True)
    if "start_logits" in output:
        return torch.stack((output.start_logits, output.end_logits), -1), output.hidden_states[-1]
    return output[0], output.hidden_states[-1]


@pytest.fixture(scope="module")
def pairs() -> dict[str, Pair]:
    return {}


def get_pair(name: str, pairs: dict[str, Pair], make_folder: pytest.TempPathFactory) -> Pair:
    if name not in pairs:
        folder = make_folder.mktemp(name)
        theirs = make(CASES[name])
        theirs.save_pretrained(folder)
        batch = make_batch(theirs)
        pairs[name] = Pair(theirs, load_model(folder), folder, batch, *answer_of(theirs, batch))
    return pairs[name]


@pytest.fixture(params=CASES)
def pair(request: pytest.FixtureRequest, pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return get_pair(request.param, pairs, tmp_path_factory)


def assert_near(ours: torch.Tensor, theirs: torch.Tensor, mask: torch.Tensor) -> None:
    """Equal on real tokens (or on each row, where there is one answer a row), and different enough to tell."""
    if theirs.ndim == 3:
        ours, theirs = ours[mask.bool()], theirs[mask.bool()]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)
    assert theirs.std() > 100 * TOLERANCE, "the comparison would not see a difference"


@torch.no_grad()
def test_the_answers_are_those_of_transformers(pair: Pair) -> None:
    assert_near(pair.ours(**pair.batch.ours()), pair.answer, pair.batch.mask)
    encoder = pair.ours if isinstance(pair.ours, Transformer) else pair.ours.transformer
    assert isinstance(encoder, Transformer)
    tokens = pair.batch.ours()
    assert_near(encoder.hidden(tokens.pop("tokens"), **tokens), pair.states, pair.batch.mask)


@pytest.mark.parametrize("name", ["bert-sequence", "roberta-masked", "modernbert-mean"])
def test_the_gradients_are_those_of_transformers(name: str, pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory) -> None:
    pair = get_pair(name, pairs, tmp_path_factory)
    ours = load_model(pair.folder)
    answer = ours(**pair.batch.ours())
    weight = torch.randn(answer.shape, generator=torch.Generator().manual_seed(5))
    if answer.ndim == 3:
        weight = weight * pair.batch.mask[..., None]
    (answer * weight).sum().backward()
    theirs = pair.theirs.get_input_embeddings().weight
    (expected,) = torch.autograd.grad((pair.theirs(**pair.batch.theirs()).logits * weight).sum(), theirs)
    assert_near(ours.get_parameter("transformer.embedding.weight").grad, expected, pair.batch.mask)  # type: ignore[arg-type]


@torch.no_grad()
def test_without_a_mask_every_token_is_real(pair: Pair) -> None:
    row = Batch(pair.batch.tokens[:1], pair.batch.mask[:1], None)  # it has no padding
    expected, _ = answer_of(pair.theirs, row)
    torch.testing.assert_close(pair.ours(row.tokens), expected, rtol=0, atol=TOLERANCE)


@torch.no_grad()
def test_what_is_saved_loads_in_transformers_and_here_alike(pair: Pair, tmp_path: Path) -> None:
    save_model(pair.ours, tmp_path / "again")
    again, _ = answer_of(type(pair.theirs).from_pretrained(tmp_path / "again"), pair.batch)
    assert torch.equal(again, pair.answer)
    assert json.loads((tmp_path / "again" / "config.json").read_text()) == json.loads((pair.folder / "config.json").read_text())
    save_model(load_model(tmp_path / "again"), tmp_path / "third")
    second, third = (load_file(tmp_path / name / "model.safetensors") for name in ("again", "third"))
    assert second.keys() == third.keys()
    assert all(torch.equal(second[name], third[name]) for name in second)


@torch.no_grad()
def test_a_config_written_anew_means_the_same_to_both(pair: Pair, tmp_path: Path) -> None:
    origin = origin_of(pair.ours)
    assert origin is not None
    del pair.ours.origin
    try:
        save_model(pair.ours, tmp_path / "new", family=origin.family)
    finally:
        pair.ours.origin = origin  # type: ignore[assignment]
    kind = type(pair.theirs)
    if "XLM" in kind.__name__:  # the same model under the name of its family
        kind = transformers.RobertaForSequenceClassification
    theirs = kind.from_pretrained(tmp_path / "new")
    assert_near(answer_of(theirs, pair.batch)[0], pair.answer, pair.batch.mask)
    ours = load_model(tmp_path / "new")
    assert type(ours) is type(pair.ours)
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in pair.ours.state_dict().items())


@torch.no_grad()
def test_a_published_checkpoint_of_bert_loads_under_its_old_names(
    pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """As bert-base-uncased: gamma and beta, position_ids, and what belongs to the heads of its pre-training."""
    pair = get_pair("bert-masked", pairs, tmp_path_factory)
    tensors = load_file(pair.folder / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in tensors.items()
    }
    old["bert.embeddings.position_ids"] = torch.arange(CONTEXT)[None]
    old["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    old["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].clone()
    old |= {f"cls.seq_relationship.{leaf}": torch.zeros(2) for leaf in ("weight", "bias")}
    old |= {f"bert.pooler.dense.{leaf}": torch.zeros(2) for leaf in ("weight", "bias")}
    save_file(old, tmp_path / "model.safetensors")
    config = (pair.folder / "config.json").read_text()
    for architecture in ("BertForMaskedLM", "BertForPreTraining"):
        (tmp_path / "config.json").write_text(config.replace("BertForMaskedLM", architecture))
        ours = load_model(tmp_path)
        assert torch.equal(ours(**pair.batch.ours()), pair.ours(**pair.batch.ours()))
        save_model(ours, tmp_path / architecture)
        assert (tmp_path / architecture / "config.json").read_text() == config, "what is left out is not promised"


@torch.no_grad()
def test_the_fields_of_transformers_4_mean_the_same(
    pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    pair = get_pair("modernbert-masked-plain", pairs, tmp_path_factory)
    fields = json.loads((pair.folder / "config.json").read_text())
    del fields["rope_parameters"], fields["layer_types"]
    fields |= {"global_rope_theta": 900.0, "local_rope_theta": 30.0, "global_attn_every_n_layers": 3}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    (tmp_path / "model.safetensors").symlink_to(pair.folder / "model.safetensors")
    assert torch.equal(load_model(tmp_path)(**pair.batch.ours()), pair.ours(**pair.batch.ours()))


@torch.no_grad()
@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_the_pooled_vector_is_theirs(name: str, pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory) -> None:
    pair = get_pair(name, pairs, tmp_path_factory)
    assert isinstance(pair.ours, PooledEncoder)
    expected = pair.theirs(**pair.batch.theirs()).pooler_output
    torch.testing.assert_close(pair.ours.pooled(pair.ours(**pair.batch.ours())), expected, rtol=0, atol=TOLERANCE)


@torch.no_grad()
def test_masked_tokens_alone_have_the_logits_of_all(pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory) -> None:
    pair = get_pair("roberta-masked", pairs, tmp_path_factory)
    assert isinstance(pair.ours, MaskedLanguageModel)
    where = pair.batch.tokens % 7 == 3
    states = pair.ours.transformer.hidden(pair.batch.tokens, attention_mask=pair.batch.mask.bool())
    torch.testing.assert_close(pair.ours.logits(states[where]), pair.ours(**pair.batch.ours())[where])


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "taken"),
    [("bert", True), ("bert-masked", False), ("roberta-sequence", True), ("xlm-roberta-sequence", True), ("modernbert", False),
     ("modernbert-masked", True)],
)  # fmt: skip
def test_an_encoder_becomes_a_classifier_of_ones_own_labels(
    name: str, taken: bool, pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    pair = get_pair(name, pairs, tmp_path_factory)
    labels = ["bad", "fair", "good", "best"]
    made = classifier_of(pair.ours, labels).eval()
    encoder = pair.ours if isinstance(pair.ours, Transformer) else pair.ours.transformer
    assert made.transformer is encoder, "no second encoder in memory"
    source = next((part for part in pair.ours.children() if type(part) is type(made.projection)), None)
    same = source is not None and torch.equal(source.get_parameter("dense.weight"), made.projection.get_parameter("dense.weight"))
    assert same == taken
    save_model(made, tmp_path / "mine")
    kind = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "mine")
    assert [kind.config.id2label[number] for number in range(4)] == labels
    torch.testing.assert_close(answer_of(kind, pair.batch)[0], made(**pair.batch.ours()), rtol=0, atol=TOLERANCE)


def test_only_an_encoder_that_was_read_becomes_a_classifier() -> None:
    made = Transformer(ModelConfig(vocabulary_size=5, width=8, depth=1, heads=1, context=4, architecture="encoder"))
    with pytest.raises(UserError, match="no classifier of texts is built around this model; load one of the families bert, modern"):
        classifier_of(made, ["a", "b"])


@pytest.mark.parametrize(
    ("case", "changes", "sentence"),
    [
        ("bert", {"is_decoder": True}, "is_decoder is True, which Lodestar does not have"),
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key', which Lodestar does not have"),
        ("bert-masked", {"tie_word_embeddings": False}, "tie_word_embeddings is False, which Lodestar does not have"),
        ("bert", {"hidden_act": "mish"}, "the activation 'mish' is not one that Lodestar has"),
        ("modernbert", {"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "rope_type is 'yarn', which Lodestar does not have"),
        ("roberta", {"vocab_size": 60}, r"'roberta.embeddings.word_embeddings.weight' has the shape \[61, 30\]"),
    ],
)
def test_what_our_model_does_not_have_is_refused(
    case: str, changes: dict[str, Any], sentence: str, pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    pair = get_pair(case, pairs, tmp_path_factory)
    fields = json.loads((pair.folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(fields | changes))
    (tmp_path / "model.safetensors").symlink_to(pair.folder / "model.safetensors")
    with pytest.raises(UserError, match=sentence):
        load_model(tmp_path)


SMALL = ModelConfig(vocabulary_size=11, width=12, depth=2, heads=2, context=9, architecture="encoder", bias=True)


@torch.no_grad()
@pytest.mark.parametrize("shape", [None, HeadShape("first", "tanh"), HeadShape("mean", "gelu", dense_bias=False, norm=True)])
def test_padding_changes_no_answer(shape: HeadShape | None) -> None:
    torch.manual_seed(2)
    model = SequenceClassifier(SMALL, 3, shape).eval()
    tokens = torch.tensor([[3, 7, 5, 1]])
    padded = torch.tensor([[3, 7, 5, 1, 0, 0]])
    torch.testing.assert_close(model(padded, torch.tensor([[True] * 4 + [False] * 2])), model(tokens))
    assert not torch.allclose(model(padded), model(tokens)), "padding that is not masked counts"


@torch.no_grad()
def test_the_plain_head_is_the_mean_and_a_linear_layer() -> None:
    model = SequenceClassifier(SMALL, 3).eval()
    assert set(dict(model.named_parameters())) - {f"transformer.{name}" for name, _ in model.transformer.named_parameters()} == {
        "output.weight", "output.bias",
    }  # fmt: skip
    tokens = torch.tensor([[3, 7, 5]])
    mean = model.transformer.hidden(tokens).mean(1)
    torch.testing.assert_close(model(tokens), mean @ model.output.weight.T + model.output.bias)
    assert TokenClassifier(SMALL, 3)(tokens).shape == (1, 3, 3)
