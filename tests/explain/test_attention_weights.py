"""Attention weights against what the modules compute with them, and against transformers' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from lodestar.build.formats import load_model
from lodestar.build.heads import SequenceClassifier
from lodestar.explain.attention import attention_maps, transformer_of
from lodestar.model.attention import Attention, Mask
from lodestar.model.cache import KVCache
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer

SIZE: dict[str, Any] = {"vocabulary_size": 50, "width": 24, "depth": 2, "heads": 4, "context": 32}
SHAPES: dict[str, dict[str, Any]] = {
    "decoder": {"architecture": "decoder", "key_value_heads": 2},
    "window": {"architecture": "decoder", "window": 3},
    "capped": {"architecture": "decoder", "attention_cap": 2.0, "key_value_heads": 1, "qk_norm": True},
    "scaled": {"architecture": "decoder", "attention_scale": 0.5},
    "encoder": {"architecture": "encoder", "position": "learned"},
    "relative": {"architecture": "encoder-decoder", "position": "relative"},
    "encoder-decoder": {"architecture": "encoder-decoder"},
}


def make(choices: dict[str, Any]) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(ModelConfig(**{**SIZE, **choices})).eval()
    for parameter in model.parameters():  # weights large enough that no row is even
        nn.init.normal_(parameter, std=0.4) if parameter.dim() > 1 else None
    return model


@pytest.mark.parametrize("name", SHAPES)
def test_weights_times_values_are_the_modules_output(name: str) -> None:
    model = make(SHAPES[name])
    tokens = torch.randint(0, 50, (2, 9))
    source = torch.randint(0, 50, (2, 7)) if model.encoder is not None and model.decoder is not None else None
    mask = torch.ones(2, 9, dtype=torch.bool) if source is None else torch.ones(2, 7, dtype=torch.bool)
    mask[1, -2:] = False
    outputs: list[tuple[Attention, Tensor, dict[str, Any], Tensor]] = []

    def keep(module: nn.Module, given: tuple[Tensor, Mask], named: dict[str, Any], output: Tensor) -> None:
        assert isinstance(module, Attention)
        outputs.append((module, given[0], named, output))

    for module in model.modules():
        if isinstance(module, Attention):
            module.register_forward_hook(keep, with_kwargs=True)
    with torch.no_grad(), attention_maps(model) as maps:
        if source is None:
            model(tokens, attention_mask=mask)
        else:
            model(tokens, source_tokens=source, source_mask=mask)
    crossed = zip(maps.decoder, maps.cross, strict=True) if maps.cross else ((one,) for one in maps.decoder)
    weights = [*maps.encoder, *(one for layer in crossed for one in layer)]
    assert len(weights) == len(outputs) == (2 if source is None else 6)
    for (module, x, named, output), weights_BHTS in zip(outputs, weights, strict=True):
        read = named.get("source_BSW")
        values = module.keys_values(x if read is None else read, named.get("rotary") if read is None else None)[1]
        mixed = weights_BHTS @ values.repeat_interleave(module.heads // module.kv_heads, 1)
        torch.testing.assert_close(module.output(mixed.transpose(1, 2).flatten(2)), output, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(weights_BHTS.sum(-1), torch.ones(weights_BHTS.shape[:-1]), rtol=0, atol=1e-6)


def test_a_decoder_never_looks_ahead_nor_past_its_window() -> None:
    with torch.no_grad(), attention_maps(model := make(SHAPES["window"])) as maps:
        model(torch.randint(0, 50, (1, 9)))
    apart = torch.arange(9)[:, None] - torch.arange(9)[None, :]
    for weights in maps.decoder:
        assert bool((weights[0, :, (apart < 0) | (apart >= 3)] == 0).all())


def test_nothing_is_kept_afterwards() -> None:
    model = make(SHAPES["decoder"])
    with torch.no_grad(), attention_maps(model) as maps:
        model(torch.zeros(1, 3, dtype=torch.long))
    with torch.no_grad():
        model(torch.zeros(1, 3, dtype=torch.long))
    assert len(maps.decoder) == 2


def test_a_cached_pass_is_refused() -> None:
    model = make(SHAPES["decoder"])
    cache = KVCache(model.config, 1, 8)
    with torch.no_grad(), attention_maps(model), pytest.raises(ValueError, match="without one"):
        model(torch.zeros(1, 3, dtype=torch.long), cache=cache)


def test_a_head_brings_its_transformer() -> None:
    classifier = SequenceClassifier(ModelConfig(**{**SIZE, "architecture": "encoder"}), 3)
    assert transformer_of(classifier) is classifier.transformer
    with pytest.raises(ValueError, match="Linear"):
        transformer_of(nn.Linear(2, 2))


OPEN: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", {"hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 4, "num_key_value_heads": 2}),
    "gpt2": ("GPT2LMHeadModel", {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 32}),
    "bert": ("BertForSequenceClassification", {"hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 3}),
    "t5": ("T5ForConditionalGeneration", {"d_model": 28, "d_kv": 5, "d_ff": 44, "num_layers": 2, "num_heads": 3}),
    "marian": (
        "MarianMTModel",
        {
            "d_model": 24, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 3, "decoder_attention_heads": 4,
            "encoder_ffn_dim": 36, "decoder_ffn_dim": 36, "max_position_embeddings": 32, "pad_token_id": 1, "decoder_start_token_id": 2,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
def test_equal_to_what_transformers_gives(name: str, tmp_path: Path) -> None:
    architecture, shape = OPEN[name]
    cls: Any = getattr(transformers, architecture)
    common = {"num_hidden_layers": 2, "max_position_embeddings": 32} if name in ("llama", "bert") else {}
    torch.manual_seed(1)
    config = cls.config_class(vocab_size=61, **common, **shape)
    config._attn_implementation = "eager"
    theirs = cls(config).eval()
    for parameter in theirs.parameters():
        if parameter.dim() > 1 and parameter.requires_grad:  # Marian's sinusoids stay what they are
            nn.init.normal_(parameter, std=0.3)
    theirs.tie_weights()
    theirs.save_pretrained(tmp_path / name)
    ours = load_model(tmp_path / name)
    tokens, source = torch.randint(3, 61, (2, 8)), torch.randint(3, 61, (2, 11))
    with torch.no_grad(), attention_maps(ours) as maps:
        if maps_cross := name in ("t5", "marian"):
            given = theirs(input_ids=source, decoder_input_ids=tokens, output_attentions=True)
            ours(tokens, source_tokens=source)
        else:
            given = theirs(tokens, output_attentions=True)
            ours(tokens)
    if maps_cross:
        pairs = [(maps.encoder, given.encoder_attentions), (maps.decoder, given.decoder_attentions), (maps.cross, given.cross_attentions)]
    else:
        pairs = [(maps.encoder or maps.decoder, given.attentions)]
    for own, reference in pairs:
        assert len(own) == 2
        for ours_BHTS, theirs_BHTS in zip(own, reference, strict=True):
            torch.testing.assert_close(ours_BHTS, theirs_BHTS, rtol=1e-4, atol=1e-5)
