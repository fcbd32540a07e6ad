"""T5, mT5, BART, mBART, Marian and M2M-100 against `transformers`, which builds small random models of them in several shapes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from lodestar import generate
from lodestar.build.formats import load_model, save_model
from lodestar.build.formats.folder import origin_of
from lodestar.build.heads import EncoderDecoderClassifier
from lodestar.contracts.errors import UserError
from lodestar.model.cache import KVCache
from lodestar.model.transformer import Transformer

VOCABULARY, CONTEXT, SOURCE, TARGET, NEW = 61, 32, 19, 4, 12
TOLERANCE = 1e-4
"""Of logits and states, in float32: what sums in another order differ by stays far below."""
IDS: dict[str, Any] = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2}
T5: dict[str, Any] = {
    "vocab_size": VOCABULARY, "d_model": 28, "d_kv": 5, "d_ff": 44, "num_layers": 2, "num_heads": 3,
    "relative_attention_num_buckets": 10, "relative_attention_max_distance": 14, **IDS,
}  # fmt: skip
BART: dict[str, Any] = {
    "vocab_size": VOCABULARY, "d_model": 24, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 3,
    "decoder_attention_heads": 3, "encoder_ffn_dim": 36, "decoder_ffn_dim": 36, "max_position_embeddings": CONTEXT,
    "forced_eos_token_id": None, **IDS,
}  # fmt: skip
UNLIKE: dict[str, Any] = {"decoder_layers": 3, "encoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 20}
"""A decoder unlike its encoder."""


@dataclass(frozen=True)
class Case:
    architecture: str
    shape: dict[str, Any]
    choices: dict[str, Any] = field(default_factory=dict)


CASES = {
    "t5": Case("T5ForConditionalGeneration", T5),
    "t5-deep-decoder": Case("T5ForConditionalGeneration", T5, {"num_decoder_layers": 4, "feed_forward_proj": "gelu"}),
    "t5-1.1": Case("T5ForConditionalGeneration", T5, {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "t5-silu": Case("T5ForConditionalGeneration", T5, {"feed_forward_proj": "gated-silu", "num_heads": 1, "d_kv": 9}),
    "mt5": Case("MT5ForConditionalGeneration", T5),
    "mt5-shallow-decoder": Case("MT5ForConditionalGeneration", T5, {"num_decoder_layers": 1, "feed_forward_proj": "gated-relu"}),
    "bart": Case("BartForConditionalGeneration", BART),
    "bart-unlike": Case("BartForConditionalGeneration", BART, {**UNLIKE, "scale_embedding": True, "activation_function": "relu"}),
    "mbart": Case("MBartForConditionalGeneration", BART, {"scale_embedding": True}),
    "mbart-unlike": Case("MBartForConditionalGeneration", BART, UNLIKE),
    "marian": Case("MarianMTModel", BART, {"activation_function": "swish", "scale_embedding": True}),
    "marian-unlike": Case("MarianMTModel", BART, UNLIKE),
    "marian-apart": Case("MarianMTModel", BART, {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": VOCABULARY - 9}),
    "m2m100": Case("M2M100ForConditionalGeneration", BART),
    "m2m100-unlike": Case("M2M100ForConditionalGeneration", BART, {**UNLIKE, "scale_embedding": False, "pad_token_id": 4}),
}


@dataclass(frozen=True)
class Batch:
    sources: torch.Tensor
    mask: torch.Tensor
    targets: torch.Tensor

    def theirs(self) -> dict[str, torch.Tensor]:
        return {"input_ids": self.sources, "attention_mask": self.mask, "decoder_input_ids": self.targets}

    def source(self) -> dict[str, Any]:
        return {"source_tokens": self.sources, "source_mask": self.mask.bool()}


@dataclass(frozen=True)
class Pair:
    theirs: Any
    ours: Transformer
    folder: Path
    batch: Batch
    answer: Any
    """Their output, with logits and states."""


def make(case: Case) -> Any:
    """A random model whose norms and biases are random, too; the tables of sinusoids stay what they are."""
    kind = getattr(transformers, case.architecture)
    torch.manual_seed(0)
    model = kind(kind.config_class(**{**case.shape, **case.choices})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.15)
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.normal_()
    return model


def make_batch(model: Any) -> Batch:
    """Sources of unequal lengths, padded on the right, and targets that begin with the decoder's start token."""
    generator = torch.Generator().manual_seed(1)
    sources = torch.randint(5, VOCABULARY, (3, SOURCE), generator=generator)
    mask = (torch.arange(SOURCE) < torch.tensor([[SOURCE], [SOURCE - 7], [2]])).long()
    written = getattr(model.config, "decoder_vocab_size", VOCABULARY)
    targets = torch.randint(5, written, (3, TARGET), generator=generator)
    targets[:, 0] = model.config.decoder_start_token_id
    return Batch(sources.masked_fill(mask == 0, model.config.pad_token_id), mask, targets)


@torch.no_grad()
def answer_of(model: Any, batch: Batch) -> Any:
    return model(**batch.theirs(), output_hidden_states=True)


@pytest.fixture(scope="module")
def pairs() -> dict[str, Pair]:
    return {}


def get_pair(name: str, pairs: dict[str, Pair], make_folder: pytest.TempPathFactory) -> Pair:
    if name not in pairs:
        folder = make_folder.mktemp(name)
        theirs = make(CASES[name])
        theirs.save_pretrained(folder)
        ours = load_model(folder)
        assert isinstance(ours, Transformer)
        batch = make_batch(theirs)
        pairs[name] = Pair(theirs, ours, folder, batch, answer_of(theirs, batch))
    return pairs[name]


@pytest.fixture(params=CASES)
def pair(request: pytest.FixtureRequest, pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return get_pair(request.param, pairs, tmp_path_factory)


def assert_near(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)
    assert theirs.std() > 100 * TOLERANCE, "the comparison would not see a difference"


@torch.no_grad()
def test_the_answers_are_those_of_transformers(pair: Pair) -> None:
    batch, answer = pair.batch, pair.answer
    memory, real = pair.ours.encode(batch.sources, batch.mask.bool()), batch.mask.bool()
    assert_near(memory[real], answer.encoder_last_hidden_state[real])
    hidden = pair.ours.hidden(batch.targets, memory=memory, source_mask=real)
    assert_near(hidden, answer.decoder_hidden_states[-1])
    assert_near(pair.ours(batch.targets, **batch.source()), answer.logits)


@pytest.mark.parametrize("name", ["t5", "bart-unlike", "m2m100"])
def test_the_gradients_are_those_of_transformers(name: str, pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory) -> None:
    pair = get_pair(name, pairs, tmp_path_factory)
    ours = load_model(pair.folder)
    answer = ours(pair.batch.targets, **pair.batch.source())
    weight = torch.randn(answer.shape, generator=torch.Generator().manual_seed(5))
    (answer * weight).sum().backward()
    theirs = pair.theirs.get_input_embeddings().weight
    (expected,) = torch.autograd.grad((pair.theirs(**pair.batch.theirs()).logits * weight).sum(), theirs)
    assert_near(ours.get_parameter("embedding.weight").grad, expected)  # type: ignore[arg-type]


def their_tokens(model: Any, batch: Batch, **settings: Any) -> torch.Tensor:
    """What `transformers` decodes greedily from the targets on, (B, NEW). Its cache has no room for a decoder deeper than the encoder."""
    tokens = model.generate(
        **batch.theirs(),
        max_new_tokens=NEW,
        num_beams=1,
        do_sample=False,
        use_cache=False,
        decoder_start_token_id=int(batch.targets[0, 0]),
        **settings,
    )
    return tokens[:, TARGET:]


def test_greedy_decoding_with_the_cache_gives_the_same_tokens(pair: Pair) -> None:
    pair.theirs.generation_config.eos_token_id = None  # go on to the end
    expected = their_tokens(pair.theirs, pair.batch)
    found = generate(pair.ours, pair.batch.targets, NEW, **pair.batch.source())
    assert torch.equal(found, expected)
    alone = generate(pair.ours, pair.batch.targets[1:2], NEW, source_tokens=pair.batch.sources[1:2, : SOURCE - 7])
    assert torch.equal(alone, expected[1:2]), "a row alone, without its padding"


@torch.no_grad()
def test_token_by_token_with_the_cache_the_logits_are_those_of_the_whole(pair: Pair) -> None:
    """On random tokens: what random models decode soon repeats itself."""
    sources, mask = pair.batch.sources, pair.batch.mask
    targets = torch.randint(5, pair.ours.config.vocabulary_size, (3, CONTEXT - 3), generator=torch.Generator().manual_seed(4))
    expected = pair.theirs(input_ids=sources, attention_mask=mask, decoder_input_ids=targets).logits
    memory, cache = pair.ours.encode(sources, mask.bool()), KVCache(pair.ours.config, 3, CONTEXT)
    pieces = [
        pair.ours(piece, memory=memory, source_mask=mask.bool(), cache=cache) for piece in (targets[:, :4], *targets[:, 4:].split(1, dim=1))
    ]
    assert_near(torch.cat(pieces, 1), expected)


def test_decoding_stops_where_transformers_does(pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory) -> None:
    pair = get_pair("bart", pairs, tmp_path_factory)
    pair.theirs.generation_config.eos_token_id = None
    stop = int(their_tokens(pair.theirs, pair.batch)[0, 3])  # one that a row draws before the end
    pair.theirs.generation_config.eos_token_id = stop
    expected = their_tokens(pair.theirs, pair.batch)
    found = generate(pair.ours, pair.batch.targets, NEW, stop_ids=[stop], **pair.batch.source())
    stopped = (expected == stop).long().cumsum(-1) - (expected == stop).long() > 0  # after the stop theirs pads, and ours repeats it
    assert stopped.any()
    assert torch.equal(found.masked_fill(stopped, -1), expected.masked_fill(stopped, -1))


@torch.no_grad()
def test_what_is_saved_loads_in_transformers_and_here_alike(pair: Pair, tmp_path: Path) -> None:
    save_model(pair.ours, tmp_path / "again")
    again = answer_of(type(pair.theirs).from_pretrained(tmp_path / "again"), pair.batch)
    assert torch.equal(again.logits, pair.answer.logits)
    assert json.loads((tmp_path / "again" / "config.json").read_text()) == json.loads((pair.folder / "config.json").read_text())
    save_model(load_model(tmp_path / "again"), tmp_path / "third")
    second, third = (load_file(tmp_path / name / "model.safetensors") for name in ("again", "third"))
    assert second.keys() == third.keys()
    assert all(torch.equal(second[name], third[name]) for name in second)


@torch.no_grad()
def test_a_config_written_anew_means_the_same_to_both(pair: Pair, tmp_path: Path) -> None:
    origin = origin_of(pair.ours)
    assert origin is not None
    bare = Transformer(pair.ours.config).eval()
    bare.load_state_dict(pair.ours.state_dict())
    save_model(bare, tmp_path / "new", family=origin.family)
    assert_near(answer_of(type(pair.theirs).from_pretrained(tmp_path / "new"), pair.batch).logits, pair.answer.logits)
    ours = load_model(tmp_path / "new")
    assert isinstance(ours, Transformer)
    assert torch.equal(ours(pair.batch.targets, **pair.batch.source()), bare(pair.batch.targets, **pair.batch.source()))


@torch.no_grad()
@pytest.mark.parametrize("name", ["t5", "mt5", "bart", "marian", "m2m100"])
def test_a_checkpoint_that_holds_tied_tensors_and_sinusoids_twice_loads(
    name: str, pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """As those that were converted from pickles."""
    pair = get_pair(name, pairs, tmp_path_factory)
    tensors = load_file(pair.folder / "model.safetensors")
    theirs = "" if name in ("t5", "mt5") else "model."
    copies = [f"{theirs}encoder.embed_tokens.weight", f"{theirs}decoder.embed_tokens.weight", "lm_head.weight"]
    tensors |= {copy: tensors[f"{theirs}shared.weight"].clone() for copy in copies}
    if name == "marian":
        tensors |= {f"model.{stack}.embed_positions.weight": torch.zeros(CONTEXT, 24) for stack in ("encoder", "decoder")}
    if name == "t5":
        tensors["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.zeros(10, 3)
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((pair.folder / "config.json").read_text())
    assert_near(load_model(tmp_path)(pair.batch.targets, **pair.batch.source()), pair.answer.logits)


@torch.no_grad()
@pytest.mark.parametrize("written_by", [4, 5])
def test_an_output_matrix_of_its_own_is_taken_from_the_file(
    written_by: int, pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """Flan-T5's. Version 4 of `transformers` says so in config.json; version 5 says that it is tied, and looks at the file."""
    pair = get_pair("t5-1.1", pairs, tmp_path_factory)
    tensors = load_file(pair.folder / "model.safetensors")
    tensors["lm_head.weight"] = torch.randn(VOCABULARY, 28, generator=torch.Generator().manual_seed(3)) * 0.3
    fields = json.loads((pair.folder / "config.json").read_text())
    if written_by == 4:
        del fields["scale_decoder_outputs"]
        fields["tie_word_embeddings"] = False
    (tmp_path / "flan").mkdir()
    save_file(tensors, tmp_path / "flan" / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "flan" / "config.json").write_text(json.dumps(fields))
    expected = answer_of(transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "flan"), pair.batch).logits
    ours = load_model(tmp_path / "flan")
    assert not torch.allclose(expected, pair.answer.logits)
    assert_near(ours(pair.batch.targets, **pair.batch.source()), expected)
    save_model(ours, tmp_path / "again")
    again = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "again")
    assert torch.equal(answer_of(again, pair.batch).logits, expected)


@torch.no_grad()
@pytest.mark.parametrize(
    ("architecture", "choices"),
    [
        ("T5EncoderModel", {}),
        ("MT5EncoderModel", {}),
        ("T5EncoderModel", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    ],
)
def test_the_encoder_of_t5_loads_alone(architecture: str, choices: dict[str, Any], tmp_path: Path) -> None:
    theirs = make(Case(architecture, T5, choices))
    theirs.save_pretrained(tmp_path / "theirs")
    batch = make_batch(theirs)
    ours, real = load_model(tmp_path / "theirs"), batch.mask.bool()
    expected = theirs(input_ids=batch.sources, attention_mask=batch.mask).last_hidden_state
    assert_near(ours(batch.sources, attention_mask=real)[real], expected[real])
    del ours.origin
    save_model(ours, tmp_path / "new")
    again = type(theirs).from_pretrained(tmp_path / "new")(input_ids=batch.sources, attention_mask=batch.mask).last_hidden_state
    assert_near(again[real], expected[real])


@torch.no_grad()
def test_bart_without_a_head_has_the_logits_of_its_embedding(tmp_path: Path) -> None:
    """As facebook/bart-base is published."""
    theirs = make(Case("BartModel", BART))
    theirs.save_pretrained(tmp_path / "theirs")
    batch = make_batch(theirs)
    ours = load_model(tmp_path / "theirs")
    assert isinstance(ours, Transformer)
    expected = answer_of(theirs, batch).last_hidden_state
    assert_near(ours.hidden(batch.targets, **batch.source()), expected)
    assert_near(ours(batch.targets, **batch.source()), expected @ theirs.shared.weight.T)
    save_model(ours, tmp_path / "again")
    assert torch.equal(answer_of(transformers.BartModel.from_pretrained(tmp_path / "again"), batch).last_hidden_state, expected)


@torch.no_grad()
@pytest.mark.parametrize("labels", [3, 5])
def test_bart_classifies_by_the_state_of_its_last_end_token(labels: int, tmp_path: Path) -> None:
    theirs = make(Case("BartForSequenceClassification", BART, {**UNLIKE, "num_labels": labels}))
    theirs.save_pretrained(tmp_path / "theirs")
    batch = make_batch(theirs)
    tokens = batch.sources.masked_scatter(batch.mask.diff(append=torch.zeros(3, 1)) == -1, torch.tensor([2, 2, 2]))  # end each row
    expected = theirs(input_ids=tokens, attention_mask=batch.mask).logits
    ours = load_model(tmp_path / "theirs")
    assert isinstance(ours, EncoderDecoderClassifier)
    assert_near(ours(tokens, batch.mask.bool()), expected)
    save_model(ours, tmp_path / "again")
    del ours.origin
    save_model(ours, tmp_path / "new", family="bart")
    for name in ("again", "new"):
        again = transformers.BartForSequenceClassification.from_pretrained(tmp_path / name)
        assert_near(again(input_ids=tokens, attention_mask=batch.mask).logits, expected)
        assert_near(load_model(tmp_path / name)(tokens, batch.mask.bool()), expected)
    with pytest.raises(ValueError, match=r"a row has no end token \(2\), whose state decides; add it to the text"):
        ours(batch.sources, batch.mask.bool())


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("marian", {"decoder_vocab_size": 50}, "decoder_vocab_size is 50, which Lodestar does not have"),
        ("marian", {"share_encoder_decoder_embeddings": False}, "'model.decoder.embed_tokens.weight'.* are missing"),
        ("mbart", {"tie_word_embeddings": False}, "tie_word_embeddings is False, which Lodestar does not have"),
        ("bart", {"is_decoder": True}, "is_decoder is True, which Lodestar does not have"),
        ("bart", {"encoder_attention_heads": 5}, r"heads \(5\) does not divide width \(24\)"),
        ("t5", {"feed_forward_proj": "gated-mish"}, "the activation 'mish' is not one that Lodestar has"),
        ("t5", {"num_decoder_layers": 3}, "'decoder.block.2.layer.0.SelfAttention.k.weight'.* are missing"),
        ("m2m100", {"decoder_layers": 1}, r"'model.decoder.layers.1.encoder_attn.k_proj.bias'.* are unknown to its config"),
    ],
)
def test_what_our_model_does_not_have_is_refused(
    name: str, changes: dict[str, Any], sentence: str, pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    pair = get_pair(name, pairs, tmp_path_factory)
    fields = json.loads((pair.folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(fields | changes))
    (tmp_path / "model.safetensors").symlink_to(pair.folder / "model.safetensors")
    with pytest.raises(UserError, match=sentence):
        load_model(tmp_path)


def test_an_input_past_the_position_table_is_refused(pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory) -> None:
    pair = get_pair("bart", pairs, tmp_path_factory)
    with pytest.raises(ValueError, match=f"{CONTEXT + 1} tokens exceed the context of {CONTEXT}; shorten the input"):
        pair.ours(pair.batch.targets, source_tokens=torch.full((3, CONTEXT + 1), 5))
