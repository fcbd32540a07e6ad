"""Each family of decoders against `transformers`, which builds small random models of it in several shapes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lodestar.build.formats import load_model, save_model
from lodestar.build.formats.family import Family, families
from lodestar.build.formats.folder import origin_of
from lodestar.build.formats.load import find_family
from lodestar.build.formats.save import config_of
from lodestar.model.generate import generate
from lodestar.model.transformer import Transformer

VOCABULARY, CONTEXT, PROMPT, NEW = 97, 48, 21, 10
TOLERANCE = 1e-4
"""Of logits, in float32: what sums in another order differ by stays far below."""
NO_IDS: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 36, "intermediate_size": 52, "num_hidden_layers": 3, "num_attention_heads": 6,
    "num_key_value_heads": 2, "max_position_embeddings": CONTEXT, **NO_IDS,
}  # fmt: skip
GPT2: dict[str, Any] = {"vocab_size": VOCABULARY, "n_positions": CONTEXT, "n_embd": 36, "n_layer": 3, "n_head": 4, **NO_IDS}
HEADS: dict[str, Any] = {"head_dim": 10}
EXPERTS: dict[str, Any] = {"num_local_experts": 5, "num_experts_per_tok": 2}
FACTORS = [1.0, 1.3, 2.0]


def rope(kind: str, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 5_000.0, **more}}


@dataclass(frozen=True)
class Case:
    kind: str
    """The name of transformers' config class, without "Config"."""
    choices: dict[str, Any] = field(default_factory=dict)
    shape: dict[str, Any] = field(default_factory=lambda: SHAPE)


CASES = {
    "gpt2": Case("GPT2", {}, GPT2),
    "gpt2-untied": Case("GPT2", {"tie_word_embeddings": False, "n_inner": 20, "activation_function": "relu"}, GPT2),
    "llama": Case("Llama"),
    "llama-tied": Case("Llama", {"tie_word_embeddings": True, "num_key_value_heads": 6, "attention_bias": True, "mlp_bias": True}),
    "llama-wide-heads": Case("Llama", {**HEADS, "num_key_value_heads": 1, "rms_norm_eps": 1e-3}),
    "llama-linear": Case("Llama", rope("linear", factor=2.5)),
    "llama-dynamic": Case("Llama", {"max_position_embeddings": 16, **rope("dynamic", factor=4.0)}),
    "llama-yarn": Case("Llama", rope("yarn", factor=4.0, original_max_position_embeddings=12)),
    "llama-yarn-tuned": Case(
        "Llama",
        rope("yarn", factor=2.0, original_max_position_embeddings=24, beta_fast=4.0, beta_slow=2.0, attention_factor=1.2, truncate=False),
    ),
    "llama-yarn-scaled": Case("Llama", rope("yarn", factor=4.0, original_max_position_embeddings=12, mscale=0.7, mscale_all_dim=1.1)),
    "llama-longrope": Case(
        "Llama", rope("longrope", factor=3.0, original_max_position_embeddings=12, short_factor=FACTORS, long_factor=[2.0, 4.0, 6.0])
    ),
    "llama-3": Case("Llama", rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=24)),
    "mistral": Case("Mistral", {"sliding_window": None}),
    "mistral-window": Case("Mistral", {"sliding_window": 5, **HEADS}),
    "qwen2": Case("Qwen2"),
    "qwen2-window": Case(
        "Qwen2", {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1, "tie_word_embeddings": True}
    ),
    "qwen2-yarn": Case("Qwen2", rope("yarn", factor=4.0, original_max_position_embeddings=12)),
    "qwen3": Case("Qwen3", {**HEADS, "tie_word_embeddings": True}),
    "qwen3-window": Case(
        "Qwen3", {**HEADS, "attention_bias": True, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2}
    ),
    "qwen3-layer-types": Case(
        "Qwen3",
        {**HEADS, "use_sliding_window": True, "sliding_window": 4,
         "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    ),
    "gemma2": Case("Gemma2", {**HEADS, "sliding_window": 5, "query_pre_attn_scalar": 7}),
    "gemma2-untied": Case(
        "Gemma2",
        {**HEADS, "tie_word_embeddings": False, "attn_logit_softcapping": None, "final_logit_softcapping": 3.0, "attention_bias": True},
    ),
    "gemma3": Case("Gemma3Text", {**HEADS, "num_hidden_layers": 7, "sliding_window": 5, "query_pre_attn_scalar": 12}),
    "gemma3-linear": Case(
        "Gemma3Text",
        {**HEADS, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention", "full_attention"],
         "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 9_000.0},
                             "sliding_attention": {"rope_type": "default", "rope_theta": 400.0}}},
    ),
    "phi3": Case("Phi3"),
    "phi3-window": Case("Phi3", {"sliding_window": 5, "num_key_value_heads": 6, "tie_word_embeddings": True}),
    "phi3-partial": Case("Phi3", rope("default", partial_rotary_factor=0.67)),
    "phi3-longrope": Case(
        "Phi3", {"original_max_position_embeddings": 12, **rope("longrope", short_factor=FACTORS, long_factor=[2.0, 4.0, 6.0])}
    ),
    "phi3-longrope-short": Case(
        "Phi3", {"original_max_position_embeddings": 40, **rope("longrope", short_factor=FACTORS, long_factor=[2.0, 4.0, 6.0])}
    ),
    "phi3-longrope-crossing": Case(
        "Phi3",
        {"original_max_position_embeddings": PROMPT + 3, **rope("longrope", short_factor=FACTORS, long_factor=[2.0, 4.0, 6.0])},
    ),
    "olmo2": Case("Olmo2"),
    "olmo2-biased": Case("Olmo2", {"attention_bias": True, "num_key_value_heads": 6, "tie_word_embeddings": True}),
    "mixtral": Case("Mixtral", EXPERTS),
    "mixtral-window": Case("Mixtral", {**EXPERTS, "num_experts_per_tok": 1, "sliding_window": 5, **HEADS}),
    "qwen3-moe": Case("Qwen3Moe", {**HEADS, "num_experts": 5, "num_experts_per_tok": 3, "moe_intermediate_size": 20}),
    "qwen3-moe-dense": Case(
        "Qwen3Moe",
        {**HEADS, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 20, "norm_topk_prob": True, "mlp_only_layers": [1],
         "use_sliding_window": True, "sliding_window": 6},
    ),
    "qwen3-moe-sparse-step": Case(
        "Qwen3Moe", {**HEADS, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 20, "decoder_sparse_step": 2}
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    theirs: Any
    ours: Transformer
    folder: Path
    hidden: torch.Tensor
    logits: torch.Tensor
    """Of the prompt, by theirs before they met a longer one: their dynamic rotary scaling remembers the longest."""


def build(case: Case) -> Any:
    """A random model whose norms and biases are random, too. The eager attention alone has soft caps."""
    config = getattr(transformers, f"{case.kind}Config")(**{**case.shape, **case.choices})
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model


@pytest.fixture(scope="module")
def pairs() -> dict[str, Pair]:
    return {}


@pytest.fixture(params=CASES)
def pair(request: pytest.FixtureRequest, pairs: dict[str, Pair], prompt: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    name = request.param
    if name not in pairs:
        folder = tmp_path_factory.mktemp(name)
        theirs = build(CASES[name])
        theirs.save_pretrained(folder)
        ours = load_model(folder)
        assert isinstance(ours, Transformer)
        with torch.no_grad():
            answer = theirs(prompt, output_hidden_states=True)
        pairs[name] = Pair(theirs, ours, folder, answer.hidden_states[-1], answer.logits)
    return pairs[name]


@pytest.fixture
def prompt() -> torch.Tensor:
    return torch.randint(0, VOCABULARY, (2, PROMPT), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_the_answers_are_those_of_transformers(pair: Pair, prompt: torch.Tensor) -> None:
    hidden = pair.ours.hidden(prompt)
    torch.testing.assert_close(hidden, pair.hidden, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(pair.ours.logits(hidden), pair.logits, rtol=0, atol=TOLERANCE)
    assert pair.logits.std() > 0.1, "the comparison would not see a difference"


def test_greedy_decoding_with_the_cache_gives_the_same_tokens(pair: Pair, prompt: torch.Tensor) -> None:
    expected = pair.theirs.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=NEW, do_sample=False, pad_token_id=0)
    assert torch.equal(generate(pair.ours, prompt, NEW), expected[:, PROMPT:])


@torch.no_grad()
def test_what_is_saved_loads_in_transformers_and_here_alike(pair: Pair, prompt: torch.Tensor, tmp_path: Path) -> None:
    save_model(pair.ours, tmp_path / "again")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "again", attn_implementation="eager")
    assert torch.equal(theirs(prompt).logits, pair.logits)
    assert_same(load_model(tmp_path / "again"), pair.ours)
    assert json.loads((tmp_path / "again" / "config.json").read_text()) == json.loads((pair.folder / "config.json").read_text())


@torch.no_grad()
def test_a_config_written_anew_means_the_same_to_both(pair: Pair, prompt: torch.Tensor, tmp_path: Path) -> None:
    bare = Transformer(pair.ours.config).eval()
    bare.load_state_dict(pair.ours.state_dict())
    save_model(bare, tmp_path / "new", family=family_of(pair.ours).name)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "new", attn_implementation="eager")
    torch.testing.assert_close(theirs(prompt).logits, pair.logits, rtol=0, atol=TOLERANCE)
    assert_same(load_model(tmp_path / "new"), pair.ours)


@torch.no_grad()
def test_the_rotary_fields_of_transformers_4_mean_the_same(pair: Pair, prompt: torch.Tensor, tmp_path: Path) -> None:
    fields = json.loads((pair.folder / "config.json").read_text())
    parameters = fields.pop("rope_parameters", None)
    if parameters is None:
        pytest.skip("no rotary positions")
    local = parameters.get("sliding_attention")
    parameters = dict(parameters.get("full_attention", parameters))
    fields["rope_theta"] = parameters.pop("rope_theta")
    if "partial_rotary_factor" in parameters:
        fields["partial_rotary_factor"] = parameters.pop("partial_rotary_factor")
    kind = parameters.pop("rope_type")
    fields["rope_scaling"] = None if kind == "default" else {"type": kind, **parameters}
    if local is not None:
        fields["rope_local_base_freq"] = local["rope_theta"]
    family = find_family(fields, tmp_path)
    assert family.read_config(family.full(fields)) == pair.ours.config


def test_linear_layers_are_known_by_their_names(pair: Pair) -> None:
    family = family_of(pair.ours)
    names = family.module_names(pair.ours.config)
    fused = family.fused_names(pair.ours.config)
    for ours, theirs in names.items():
        mine, other = pair.ours.get_submodule(ours), pair.theirs.get_submodule(theirs) if _has(pair.theirs, theirs) else None
        if other is not None and hasattr(other, "in_features"):
            assert (mine.in_features, mine.out_features) == (other.in_features, other.out_features)
    for theirs, parts in fused.items():
        rows = sum(pair.ours.get_parameter(f"{part}.weight").shape[0] for part in parts)
        assert rows in pair.theirs.get_submodule(theirs).weight.shape
    linear = {name for name, module in pair.ours.named_modules() if isinstance(module, torch.nn.Linear)}
    assert linear == {*names, *(part for parts in fused.values() for part in parts)}


def family_of(model: torch.nn.Module) -> Family:
    origin = origin_of(model)
    assert origin is not None
    return next(family for family in families() if family.name == origin.family)


def _has(model: Any, name: str) -> bool:
    return any(found == name for found, _ in model.named_modules())


def assert_same(one: torch.nn.Module, other: torch.nn.Module) -> None:
    """The same bits."""
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    assert config_of(one).parameter_count() == config_of(other).parameter_count()
