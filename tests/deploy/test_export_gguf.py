"""GGUF files, read back by llama.cpp's own `gguf` package and by transformers, which computes with what it read."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import tokenizers
import torch
import transformers
from torch import Tensor

from lodestar.build.formats import save_model
from lodestar.contracts.errors import UserError
from lodestar.contracts.tokenizer import SpecialIds, Tokenizer
from lodestar.deploy.export_gguf import export_gguf
from lodestar.deploy.gguf.blocks import KINDS, encoded
from lodestar.model.config import ModelConfig, RotaryScaling
from lodestar.model.positions import rotary_frequencies
from lodestar.model.transformer import Transformer
from lodestar.prepare.tokenizer import train_character_tokenizer, train_tokenizer

V = 320
LLAMA: dict[str, Any] = {
    "vocabulary_size": V, "width": 64, "depth": 2, "heads": 4, "key_value_heads": 2, "context": 48, "feed_forward_width": 96,
    "tied_embeddings": False,
}  # fmt: skip
GEMMA: dict[str, Any] = {
    **LLAMA, "depth": 6, "norm_place": "sandwich", "feed_forward": "geglu-tanh", "scaled_embeddings": True, "tied_embeddings": True,
    "attention_scale": 0.25,
}  # fmt: skip
WINDOWS_6 = (8, 8, 8, 8, 8, None)


def model(**changes: Any) -> Transformer:
    torch.manual_seed(0)
    built = Transformer(ModelConfig(**{**LLAMA, **changes})).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return built


def read(path: Path) -> tuple[dict[str, Any], dict[str, gguf.ReaderTensor]]:
    """The fields and the tensors of a file."""
    reader = gguf.GGUFReader(path)
    return {name: field.contents() for name, field in reader.fields.items()}, {tensor.name: tensor for tensor in reader.tensors}


def numbers(tensor: gguf.ReaderTensor) -> Tensor:
    return torch.from_numpy(np.array(gguf.dequantize(tensor.data, tensor.tensor_type)))


def bpe(pattern: str | None = None, *, ignore_merges: bool = False, specials: tuple[str, ...] = ("<|endoftext|>", "<|pad|>")) -> Tokenizer:
    """A byte-level tokenizer, as GPT-2's, or with another pattern between which merges stay."""
    from tokenizers import decoders, models, pre_tokenizers, trainers

    backend = tokenizers.Tokenizer(models.BPE(ignore_merges=ignore_merges))
    levels = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    split = [] if pattern is None else [pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")]
    backend.pre_tokenizer = pre_tokenizers.Sequence([*split, levels])
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(specials), initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    backend.train_from_iterator(["the cat sat on the mat", "that rat's 123 hats — 世界"] * 3, trainer)
    return Tokenizer(backend)


def pieces_with_bytes(*, prepend: bool) -> Tokenizer:
    """As the tokenizers of Llama 2 (which puts a space before the text) and Gemma (which does not)."""
    from tokenizers import decoders, models, normalizers, trainers

    sample = ["▁the▁cat▁sat▁on▁the▁mat", "▁that▁rat▁sat▁at▁the▁hat"]
    trained = tokenizers.Tokenizer(models.BPE())
    trained.train_from_iterator(sample * 3, trainers.BpeTrainer(vocab_size=40, show_progress=False))
    learnt = json.loads(trained.to_str())["model"]
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {name: place for place, name in enumerate([*names, *learnt["vocab"]])}
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in learnt["merges"]]
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    spaces = normalizers.Replace(" ", "▁")
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prepend else spaces
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    return Tokenizer(backend, SpecialIds(end_of_text=2, begin=1, stops=(2,)))


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0", "q4_0"])
def test_blocks_are_bit_for_bit_those_of_the_reference(kind: str) -> None:
    x = torch.randn(6, 96, generator=torch.Generator().manual_seed(0)) * torch.logspace(-4, 3, 6)[:, None]
    x[0, :32] = 0.0  # a block without a scale
    x[1, :32] = torch.arange(32) - 15.5  # halves, which are rounded away from 0
    found = b"".join(bytes(piece) for piece in encoded(x, KINDS[kind]))
    reference = gguf.quantize(x.numpy(), gguf.GGMLQuantizationType[kind.upper()])
    assert found == reference.tobytes()


@pytest.mark.parametrize(("kind", "steps"), [("q8_0", 0.5), ("q4_0", 1.0)])
def test_what_is_read_back_differs_by_a_step_of_the_block_at_most(kind: Any, steps: float, tmp_path: Path) -> None:
    original = model()
    export_gguf(original, tmp_path / "m.gguf", kind=kind)
    _, tensors = read(tmp_path / "m.gguf")
    weight = original.state_dict()["decoder.blocks.1.feed_forward.gate.weight"]
    found = tensors["blk.1.ffn_gate.weight"]
    assert found.tensor_type.name == kind.upper()
    blocks = weight.view(-1, 32)
    step = blocks.abs().amax(-1, keepdim=True) / (127 if kind == "q8_0" else 8)
    # Half a step by rounding, a whole one where 4 bits end at 7 of 8; and the scale itself is a float16, 2⁻¹¹ off at most.
    slack = blocks.abs().amax(-1, keepdim=True) * 2**-11
    assert bool(((numbers(found).view(-1, 32) - blocks).abs() <= steps * step + slack).all())


ARCHITECTURES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "llama": ({}, "llama", {"llama.attention.head_count_kv": 2, "llama.rope.dimension_count": 16}),
    "llama, biases": ({"bias": True, "head_width": 32, "tied_embeddings": True}, "llama", {"llama.attention.key_length": 32}),
    "qwen2": ({"biased": ("query", "key", "value")}, "qwen2", {"qwen2.embedding_length": 64, "qwen2.feed_forward_length": 96}),
    "qwen3": ({"qk_norm": True}, "qwen3", {"qwen3.vocab_size": V}),
    "gemma2": (
        {**GEMMA, "depth": 4, "attention_cap": 50.0, "logit_cap": 30.0, "layer_windows": (8, None, 8, None)},
        "gemma2",
        {"gemma2.attn_logit_softcapping": 50.0, "gemma2.final_logit_softcapping": 30.0, "gemma2.attention.sliding_window": 8},
    ),
    "gemma3": (
        {**GEMMA, "qk_norm": True, "layer_windows": WINDOWS_6, "rotary_base": 1e6, "local_rotary_base": 1e4},
        "gemma3",
        {"gemma3.attention.sliding_window": 8, "gemma3.rope.freq_base": 1e6, "gemma3.rope.freq_base_swa": 1e4},
    ),
    "mixtral": ({"experts": 3, "expert_width": 32}, "llama", {"llama.expert_count": 3, "llama.expert_used_count": 2}),
    "qwen3moe": ({"qk_norm": True, "experts": 3, "expert_width": 32}, "qwen3moe", {"qwen3moe.expert_feed_forward_length": 32}),
    "olmo2": ({"norm_place": "output", "qk_norm": True, "qk_norm_over": "all"}, "olmo2", {"olmo2.block_count": 2}),
    "phi3": ({"rotary_share": 0.5}, "phi3", {"phi3.rope.dimension_count": 8}),
    "gpt2": (
        {"position": "learned", "norm": "layer", "norm_epsilon": 1e-5, "bias": True, "feed_forward": "gelu-tanh", "key_value_heads": 4},
        "gpt2",
        {"gpt2.context_length": 48, "gpt2.attention.layer_norm_epsilon": pytest.approx(1e-5)},
    ),
}


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_a_shape_is_written_as_its_architecture_with_every_number(case: str, tmp_path: Path) -> None:
    changes, architecture, expected = ARCHITECTURES[case]
    original = model(**changes)
    export_gguf(original, tmp_path / "m.gguf", kind="f32", name="A model")
    fields, tensors = read(tmp_path / "m.gguf")
    assert fields["general.architecture"] == architecture
    assert fields["general.name"] == "A model"
    assert {name: fields[name] for name in expected} == expected
    assert sum(numbers(tensor).numel() for tensor in tensors.values()) == original.parameter_count()
    assert {tensor.tensor_type.name for tensor in tensors.values()} == {"F32"}
    named = gguf.MODEL_TENSORS[getattr(gguf.MODEL_ARCH, architecture.upper())]
    known = {gguf.TENSOR_NAMES[one].format(bid=layer) for one in named for layer in range(original.config.depth)}
    assert {name.removesuffix(".weight").removesuffix(".bias") for name in tensors} <= known


TRANSFORMERS = {
    "llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3", "gemma2": "Gemma2", "gemma3": "Gemma3Text", "qwen3moe": "Qwen3Moe",
    "gpt2": "GPT2",
}  # fmt: skip
"""What it reads as it stands: of the others it does not read the biases, the experts or the share that is turned."""


@pytest.mark.parametrize("case", TRANSFORMERS)
def test_transformers_computes_our_logits_from_the_file(case: str, tmp_path: Path) -> None:
    original = model(**ARCHITECTURES[case][0])
    save_model(original, tmp_path / "config", family="gemma3_text" if case == "gemma3" else None)
    export_gguf(original, tmp_path / "m.gguf", kind="f32")
    name = TRANSFORMERS[case]
    # From the file itself it takes only some of the config.
    config = getattr(transformers, f"{name}Config").from_pretrained(tmp_path / "config")
    head = "LMHeadModel" if case == "gpt2" else "ForCausalLM"
    kind = getattr(transformers, name.removesuffix("Text") + head)
    theirs = kind.from_pretrained(tmp_path, gguf_file="m.gguf", config=config, dtype=torch.float32).eval()
    tokens = torch.randint(0, V, (2, 30), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens).logits, original(tokens), atol=1e-4, rtol=1e-5)


def test_neighbours_turn_where_halves_did(tmp_path: Path) -> None:
    """llama.cpp's llama pairs rows 2i and 2i + 1 of a head, ours rows i and i + d/2."""
    original = model(biased=("query",))
    export_gguf(original, tmp_path / "m.gguf", kind="f32")
    _, tensors = read(tmp_path / "m.gguf")
    for theirs, ours, heads in (("attn_q.weight", "query.weight", 4), ("attn_k.weight", "key.weight", 2), ("attn_q.bias", "query.bias", 4)):
        written, held = numbers(tensors[f"blk.0.{theirs}"]), original.state_dict()[f"decoder.blocks.0.attention.{ours}"]
        for head in range(heads):
            for pair in range(8):
                for half in (0, 1):
                    assert torch.equal(written[16 * head + 2 * pair + half], held[16 * head + pair + 8 * half])
    value = original.state_dict()["decoder.blocks.0.attention.value.weight"]
    assert torch.equal(numbers(tensors["blk.0.attn_v.weight"]), value)


def test_experts_are_stacked_and_fused_rows_follow_each_other(tmp_path: Path) -> None:
    experts = model(**ARCHITECTURES["mixtral"][0])
    export_gguf(experts, tmp_path / "m.gguf", kind="f32")
    _, tensors = read(tmp_path / "m.gguf")
    held = experts.state_dict()
    assert torch.equal(numbers(tensors["blk.1.ffn_down_exps.weight"])[2], held["decoder.blocks.1.feed_forward.experts.2.down.weight"])
    fused = model(**ARCHITECTURES["phi3"][0])
    export_gguf(fused, tmp_path / "f.gguf", kind="f32")
    _, tensors = read(tmp_path / "f.gguf")
    parts = [fused.state_dict()[f"decoder.blocks.0.attention.{part}.weight"] for part in ("query", "key", "value")]
    assert torch.equal(numbers(tensors["blk.0.attn_qkv.weight"]), torch.cat(parts))


def test_each_kind_is_used_where_it_may_be(tmp_path: Path) -> None:
    original = model(feed_forward_width=80)  # 80 numbers in a row of `down` are no multiple of a block of 32
    export_gguf(original, tmp_path / "m.gguf", kind="q4_0")
    fields, tensors = read(tmp_path / "m.gguf")
    kinds = {name: tensor.tensor_type.name for name, tensor in tensors.items()}
    assert fields["general.file_type"] == gguf.LlamaFileType.MOSTLY_Q4_0
    assert {kinds["token_embd.weight"], kinds["output.weight"]} == {"Q8_0"}
    assert (kinds["blk.0.ffn_up.weight"], kinds["blk.0.ffn_down.weight"], kinds["blk.0.ffn_norm.weight"]) == ("Q4_0", "F16", "F32")
    half = model().bfloat16()
    export_gguf(half, tmp_path / "h.gguf", kind="f16")
    _, tensors = read(tmp_path / "h.gguf")
    assert torch.equal(numbers(tensors["output.weight"]), half.state_dict()["output.weight"].half().float())


@pytest.mark.parametrize(
    ("scaling", "changes", "expected"),
    [
        (RotaryScaling("linear", 2.0), {}, {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 2.0}),
        (
            RotaryScaling("yarn", 4.0, 16, attention_factor=1.1386294361119891),
            {},
            {"llama.rope.scaling.type": "yarn", "llama.rope.scaling.original_context_length": 16},
        ),
        (
            RotaryScaling("longrope", original_context=16, attention_factor=1.25, short_factors=(1.0,) * 8, long_factors=(2.0,) * 8),
            {},
            {"phi3.rope.scaling.type": "longrope", "phi3.rope.scaling.attn_factor": 1.25},
        ),
    ],
)
def test_rotary_scalings_are_told(scaling: RotaryScaling, changes: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    export_gguf(model(rotary_scaling=scaling, **changes), tmp_path / "m.gguf", kind="f16")
    fields, tensors = read(tmp_path / "m.gguf")
    assert {name: fields[name] for name in expected} == expected
    if scaling.kind == "longrope":
        assert numbers(tensors["rope_factors_long.weight"]).tolist() == [2.0] * 8


def test_llama_3_is_told_by_what_each_frequency_is_divided(tmp_path: Path) -> None:
    scaling = RotaryScaling("llama3", 8.0, 32, low_frequency_factor=1.0, high_frequency_factor=4.0)
    export_gguf(model(rotary_scaling=scaling), tmp_path / "m.gguf", kind="f16")
    fields, tensors = read(tmp_path / "m.gguf")
    assert "llama.rope.scaling.type" not in fields
    expected = rotary_frequencies(16, 10_000.0).float() / numbers(tensors["rope_freqs.weight"])
    torch.testing.assert_close(expected, rotary_frequencies(16, 10_000.0, scaling).float())
    assert numbers(tensors["rope_freqs.weight"])[[0, -1]].tolist() == [1.0, 8.0]


def test_where_there_are_no_windows_the_context_ends_at_ours(tmp_path: Path) -> None:
    export_gguf(model(window=20), tmp_path / "m.gguf")
    assert read(tmp_path / "m.gguf")[0]["llama.context_length"] == 20


def test_a_byte_level_tokenizer_is_told(tmp_path: Path) -> None:
    tokenizer = bpe()
    tokenizer.backend.add_tokens(["<user>"])
    export_gguf(model(), tmp_path / "m.gguf", tokenizer=tokenizer, chat_template="{{ messages[0].content }}")
    fields, _ = read(tmp_path / "m.gguf")
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    size = tokenizer.vocabulary_size
    assert tokens[:size] == [tokenizer.backend.id_to_token(one) for one in range(size)]
    assert tokens[size:] == [f"[PAD{one}]" for one in range(size, V)]
    kinds = gguf.TokenType
    assert [types[one] for one in (0, 1, 2, size - 1, size)] == [
        kinds.CONTROL, kinds.CONTROL, kinds.NORMAL, kinds.USER_DEFINED, kinds.UNUSED,
    ]  # fmt: skip
    assert (fields["tokenizer.ggml.model"], fields["tokenizer.ggml.pre"]) == ("gpt2", "gpt-2")
    assert (fields["tokenizer.ggml.eos_token_id"], fields["tokenizer.ggml.padding_token_id"]) == (0, 1)
    assert fields["tokenizer.chat_template"] == "{{ messages[0].content }}"
    # The reference BPE of the library, built from nothing but what the file says.
    from tokenizers import models, pre_tokenizers

    vocabulary = {token: place for place, token in enumerate(tokens)}
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    again = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    again.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    text = "that cat's 12 mats,  世界!"
    assert again.encode(text).ids == tokenizer.encode(text)


@pytest.mark.parametrize(
    ("digits", "ignore_merges", "name"), [(r"\p{N}", False, "qwen2"), (r"\p{N}{1,3}", True, "llama-bpe"), (r"\p{N}{1,3}", False, "dbrx")]
)
def test_patterns_of_the_open_families_have_their_names(digits: str, ignore_merges: bool, name: str, tmp_path: Path) -> None:
    letters, signs = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|", r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer = bpe(letters + digits + signs, ignore_merges=ignore_merges)
    export_gguf(model(), tmp_path / "m.gguf", tokenizer=tokenizer)
    assert read(tmp_path / "m.gguf")[0]["tokenizer.ggml.pre"] == name


def as_llama_cpp(tokens: list[str], scores: list[float], text: str) -> list[int]:
    """Its way with such pieces, `llm_tokenizer_spm`: of all neighbours whose union is a piece, join the two with the highest score."""
    ids = {token: place for place, token in enumerate(tokens)}
    parts = list(text)
    while True:
        joinable = [(scores[ids[a + b]], -place) for place, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in ids]
        if not joinable:
            break
        place = -max(joinable)[1]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return [one for part in parts for one in ([ids[part]] if part in ids else [ids[f"<0x{byte:02X}>"] for byte in part.encode()])]


@pytest.mark.parametrize("prepend", [True, False])
def test_pieces_that_fall_back_on_bytes_are_told(prepend: bool, tmp_path: Path) -> None:
    tokenizer = pieces_with_bytes(prepend=prepend)
    export_gguf(model(), tmp_path / "m.gguf", tokenizer=tokenizer)
    fields, _ = read(tmp_path / "m.gguf")
    types, kinds = fields["tokenizer.ggml.token_type"], gguf.TokenType
    assert fields["tokenizer.ggml.model"] == "llama"
    assert fields["tokenizer.ggml.add_space_prefix"] is prepend
    assert [types[one] for one in (0, 1, 3, 258, 259)] == [kinds.UNKNOWN, kinds.CONTROL, kinds.BYTE, kinds.BYTE, kinds.NORMAL]
    assert (fields["tokenizer.ggml.bos_token_id"], fields["tokenizer.ggml.unknown_token_id"]) == (1, 0)
    for text in ("that cat sat on the mat", "the hat é at", "  oh that rat"):
        spaced = ("▁" if prepend else "") + text.replace(" ", "▁")
        assert as_llama_cpp(fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.scores"], spaced) == tokenizer.encode(text)


def test_a_file_without_a_tokenizer_says_so(tmp_path: Path) -> None:
    export_gguf(model(), tmp_path / "m.gguf")
    fields, _ = read(tmp_path / "m.gguf")
    assert (fields["tokenizer.ggml.model"], fields["llama.vocab_size"]) == ("none", V)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"feed_forward": "relu2"}, "in llama, the nearest, feed_forward is 'swiglu', and the model's is 'relu2'"),
        ({"rotary_scaling": RotaryScaling("dynamic", 2.0, 32)}, "there is no rotary scaling dynamic"),
        ({"rotary_scaling": RotaryScaling("yarn", 4.0, 16, beta_fast=16.0)}, "yarn has no settings but its usual ones"),
        ({"attention_scale": 0.5}, "attention_scale is 1/√16, and the model's is 0.5"),
        ({"biased": ("norm", "output"), **ARCHITECTURES["olmo2"][0]}, r"biases are not those of the model \(output\)"),
        (
            {**GEMMA, "qk_norm": True, "local_rotary_base": 1e4, "layer_windows": (None, 8, 8, 8, 8, 8)},
            "all but every 6th layer have the one",
        ),
        ({"experts": 2, "dense_layers": (0,)}, r"dense_layers is \(\), and the model's is \(0,\)"),
    ],
)
def test_a_shape_that_llama_cpp_does_not_have_is_refused(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        export_gguf(model(**changes), tmp_path / "m.gguf")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tokenizer", "sentence"),
    [
        (lambda: train_character_tokenizer(["abc"]), "no tokenizer of the kind WordLevel"),
        (lambda: train_tokenizer(["the cat"], 300), "does not split texts as the tokenizer does"),
        (lambda: bpe(specials=tuple(f"<{one}>" for one in range(99))), "the tokenizer has 355 ids, and the model's embedding has 320 rows"),
    ],
)
def test_a_tokenizer_that_llama_cpp_does_not_have_is_refused(tokenizer: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{sentence}.*export without the tokenizer"):
        export_gguf(model(), tmp_path / "m.gguf", tokenizer=tokenizer())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("value", "kind"), [(float("nan"), "q8_0"), (1e6, "f16"), (float("inf"), "f32")])
def test_numbers_that_do_not_fit_are_named_and_nothing_is_written(value: float, kind: Any, tmp_path: Path) -> None:
    broken = model()
    with torch.no_grad():
        broken.get_parameter("decoder.blocks.1.feed_forward.up.weight")[3, 5] = value
    with pytest.raises(UserError, match=r"blk.1.ffn_up.weight: it holds NaN, infinity, or numbers too large for a float16"):
        export_gguf(broken, tmp_path / "m.gguf", kind=kind)
    assert not list(tmp_path.iterdir())


def test_what_is_no_decoder_and_unknown_kinds_are_refused(tmp_path: Path) -> None:
    encoder = Transformer(ModelConfig(**{**LLAMA, "architecture": "encoder"}))
    with pytest.raises(UserError, match="GGUF export is for decoders, and this is a model with an encoder; give a decoder"):
        export_gguf(encoder, tmp_path / "m.gguf")
    with pytest.raises(UserError, match=r"unknown kind of GGUF file 'q8'; did you mean 'q8_0'\?"):
        export_gguf(model(), tmp_path / "m.gguf", kind="q8")  # type: ignore[arg-type]
