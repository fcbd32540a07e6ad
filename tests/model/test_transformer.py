"""The Transformer against its formulas, written out plainly in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lodestar.model.attention import Mask, attend, make_mask
from lodestar.model.cache import KVCache
from lodestar.model.config import CHOICES, ModelConfig
from lodestar.model.transformer import Transformer, meta_transformer

# --- the reference: one head, one query at a time, float64 ------------------------------------------------------------------------


def reference_attention(
    q_BHTD: Tensor, k_BGSD: Tensor, v_BGSD: Tensor, allowed_BTS: Tensor, scale: Any = None, cap: Any = None, bias_HTS: Any = None
) -> Tensor:
    """softmax(QKᵀ/√d_k)·V with loops over rows, heads and queries; `allowed_BTS` True where the query sees the key."""
    batch, heads, queries, width = q_BHTD.shape
    group = heads // k_BGSD.shape[1]
    out = torch.zeros_like(q_BHTD, dtype=torch.float64)
    for b in range(batch):
        for h in range(heads):
            keys, values = k_BGSD[b, h // group].double(), v_BGSD[b, h // group].double()
            for t in range(queries):
                seen = allowed_BTS[b, t].nonzero().flatten()
                scores = keys[seen] @ q_BHTD[b, h, t].double() * (1 / math.sqrt(width) if scale is None else scale)
                if cap is not None:
                    scores = cap * torch.tanh(scores / cap)
                if bias_HTS is not None:
                    scores = scores + bias_HTS[h, t, seen]
                weights = torch.exp(scores)
                out[b, h, t] = (weights / weights.sum()) @ values[seen]
    return out


def reference_allowed(batch: int, queries: int, keys: int, causal: bool, window: int | None, documents: Any, real: Any) -> Tensor:
    allowed = torch.zeros(batch, queries, keys, dtype=torch.bool)
    for b in range(batch):
        for t in range(queries):
            at = keys - queries + t
            for s in range(keys):
                seen = (not causal or s <= at) and (window is None or abs(at - s) < window)
                seen = seen and (documents is None or bool(documents[b, t] == documents[b, s]))
                seen = seen and (real is None or bool(real[b, s]))
                allowed[b, t, s] = seen or s == at
    return allowed


class Reference:
    """The forward pass of a Transformer from its state dict, in float64, nothing fused, nothing shared with the model's code."""

    def __init__(self, model: Transformer) -> None:
        self.c = model.config
        self.w = {name: value.detach().double() for name, value in model.state_dict().items()}

    def linear(self, x: Tensor, name: str) -> Tensor:
        y = x @ self.w[f"{name}.weight"].T
        return y + self.w[f"{name}.bias"] if f"{name}.bias" in self.w else y

    def norm(self, x: Tensor, name: str) -> Tensor:
        """Nothing where the model has no such norm: the names say which there should be, and the parameter count how many."""
        if f"{name}.weight" not in self.w:
            return x
        if self.c.norm == "layer":
            x = x - x.mean(-1, keepdim=True)
        return self.rms(x, name) + self.w.get(f"{name}.bias", 0.0)

    def rms(self, x: Tensor, name: str) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + self.c.norm_epsilon).sqrt() * self.w[f"{name}.weight"]

    def rotary(self, x: Tensor, positions: Tensor, base: float) -> Tensor:
        width = int(self.c.head_size * self.c.rotary_share)
        half = width // 2
        out = x.clone()
        for i in range(half):
            angle = positions.double()[:, None, :] * base ** (-2 * i / width)
            out[..., i] = x[..., i] * angle.cos() - x[..., i + half] * angle.sin()
            out[..., i + half] = x[..., i + half] * angle.cos() + x[..., i] * angle.sin()
        return out

    def relative_bias(self, table: Tensor, queries: int, keys: int, causal: bool) -> Tensor:
        """T5's buckets, one pair at a time."""
        bias = torch.zeros(table.shape[1], queries, keys, dtype=torch.float64)
        for t in range(queries):
            for s in range(keys):
                distance, buckets, first = keys - queries + t - s, self.c.relative_buckets, 0
                if not causal:
                    buckets //= 2
                    first = buckets if distance < 0 else 0
                    distance = abs(distance)
                distance, exact = max(distance, 0), buckets // 2
                if distance >= exact:
                    share = math.log(distance / exact) / math.log(self.c.relative_distance / exact)
                    distance = min(exact + int(share * (buckets - exact)), buckets - 1)
                bias[:, t, s] = table[first + distance]
        return bias

    def attention(self, x: Tensor, source: Tensor, name: str, allowed: Tensor, positions: Any, base: float, bias: Any) -> Tensor:
        def split(y: Tensor) -> Tensor:
            return y.unflatten(-1, (-1, self.c.head_size)).transpose(1, 2)

        q, k = self.linear(x, f"{name}.query"), self.linear(source, f"{name}.key")
        if self.c.qk_norm and self.c.qk_norm_over == "all":
            q, k = self.rms(q, f"{name}.query_norm"), self.rms(k, f"{name}.key_norm")
        q, k, v = split(q), split(k), split(self.linear(source, f"{name}.value"))
        if self.c.qk_norm and self.c.qk_norm_over == "head":
            q, k = self.rms(q, f"{name}.query_norm"), self.rms(k, f"{name}.key_norm")
        if positions is not None and self.c.position == "rotary":
            q, k = self.rotary(q, positions, base), self.rotary(k, positions, base)
        mixed = reference_attention(q, k, v, allowed, self.c.attention_scale, self.c.attention_cap, bias)
        return self.linear(mixed.transpose(1, 2).flatten(2), f"{name}.output")

    def activation(self, x: Tensor) -> Tensor:
        tanh = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return {
            "gelu": x * 0.5 * (1 + torch.erf(x / math.sqrt(2))),
            "gelu-tanh": tanh,
            "quick-gelu": x / (1 + torch.exp(-1.702 * x)),
            "relu": x.clamp(min=0),
            "relu2": x.clamp(min=0) ** 2,
            "silu": x / (1 + torch.exp(-x)),
            "swiglu": x / (1 + torch.exp(-x)),
            "geglu": x * 0.5 * (1 + torch.erf(x / math.sqrt(2))),
            "geglu-tanh": tanh,
            "reglu": x.clamp(min=0),
        }[self.c.feed_forward]

    def feed_forward(self, x: Tensor, name: str) -> Tensor:
        if f"{name}.router.weight" in self.w:
            return self.experts(x, name)
        up = self.linear(x, f"{name}.up")
        gated = f"{name}.gate.weight" in self.w
        hidden = self.activation(self.linear(x, f"{name}.gate")) * up if gated else self.activation(up)
        return self.linear(hidden, f"{name}.down")

    def experts(self, x: Tensor, name: str) -> Tensor:
        out = torch.zeros_like(x)
        for b in range(x.shape[0]):
            for t in range(x.shape[1]):
                shares = torch.softmax(self.linear(x[b, t], f"{name}.router"), 0)
                picked = shares.sort(descending=True).indices[: self.c.experts_per_token].tolist()
                total = shares[picked].sum() if self.c.experts_normalized else 1.0
                for expert in picked:
                    without_router = {key: value for key, value in self.w.items() if key != f"{name}.router.weight"}
                    one = Reference.__new__(Reference)
                    one.c, one.w = self.c, without_router
                    out[b, t] += shares[expert] / total * one.feed_forward(x[b, t], f"{name}.experts.{expert}")
        return out

    def stack(
        self, name: str, tokens: Tensor, allowed: Any, positions: Tensor, memory: Any = None, source_allowed: Any = None,
        condition: Any = None,
    ) -> Tensor:  # fmt: skip
        """`allowed`: the window of a layer → what its queries see."""
        apart = name == "encoder" and self.c.source_vocabulary_size is not None
        x = self.w["source_embedding.weight" if apart else "embedding.weight"][tokens]
        if self.c.scaled_embeddings:
            x = x * math.sqrt(self.c.width)
        if self.c.token_types:
            x = x + self.w["token_types.weight"][0]
        at = positions + self.c.position_offset
        if self.c.position == "learned":
            x = x + self.w[f"{name}.learned.weight"][at]
        if self.c.position.startswith("sinusoidal"):
            x = x + self.sinusoids(at)
        x = self.norm(x, f"{name}.embedding_norm")
        length, causal = tokens.shape[1], name == "decoder" and self.c.decoder_causal
        bias = self.relative_bias(self.w[f"{name}.relative.weight"], length, length, causal) if self.c.position == "relative" else None
        for i in range(self.c.decoder_layers if name == "decoder" else self.c.encoder_layers):
            block, window = f"{name}.blocks.{i}", self.c.window_of(i)
            base = self.c.rotary_base if window is None or self.c.local_rotary_base is None else self.c.local_rotary_base
            told = self.told(f"{block}.modulation", condition)
            x = self.residual(
                x, f"{block}.attention",
                lambda y, b=block, w=window, r=base: self.attention(y, y, f"{b}.attention", allowed(w), positions, r, bias), told[:3],
            )  # fmt: skip
            if memory is not None:
                x = self.residual(
                    x, f"{block}.cross",
                    lambda y, b=block: self.attention(y, memory, f"{b}.cross_attention", source_allowed, None, 0.0, None), told[3:6],
                )  # fmt: skip
            x = self.residual(x, f"{block}.feed_forward", lambda y, b=block: self.feed_forward(y, f"{b}.feed_forward"), told[-3:])
        x, last = self.norm(x, f"{name}.norm"), self.told(f"{name}.modulation", condition)
        return x * (1 + last[1]) + last[0] if last else x

    def told(self, name: str, condition: Any) -> list[Tensor]:
        """What a condition decides, each (B, 1, W); nothing where the model has no such layer."""
        if f"{name}.linear.weight" not in self.w:
            return []
        y = self.linear(condition / (1 + torch.exp(-condition)), f"{name}.linear")
        return [part[:, None] for part in y.split(self.c.width, dim=-1)]

    def sinusoids(self, at: Tensor) -> Tensor:
        width = self.c.width
        half = width // 2
        x = torch.zeros(*at.shape, width, dtype=torch.float64)
        for i in range(half):
            power = i / max(half - 1, 1) if self.c.position == "sinusoidal-fairseq" else 2 * i / width
            angle = at.double() / 10_000**power
            sine, cosine = (2 * i, 2 * i + 1) if self.c.position == "sinusoidal" else (i, half + i)
            x[..., sine], x[..., cosine] = angle.sin(), angle.cos()
        return x

    def residual(self, x: Tensor, name: str, f: Any, told: list[Tensor]) -> Tensor:
        if told:
            shift, scale, gate = told
            return x + gate * f(self.norm(x, f"{name}_norm") * (1 + scale) + shift)
        if self.c.norm_place == "post":
            return self.norm(x + f(x), f"{name}_norm")
        return x + self.norm(f(self.norm(x, f"{name}_norm")), f"{name}_output_norm")

    def logits(self, hidden: Tensor) -> Tensor:
        table = self.w["embedding.weight" if self.c.tied_embeddings else "output.weight"]
        logits = hidden * self.c.output_scale @ table.T + self.w.get("output_bias", 0.0)
        return logits if self.c.logit_cap is None else self.c.logit_cap * torch.tanh(logits / self.c.logit_cap)


# --- strategies -------------------------------------------------------------------------------------------------------------------


@st.composite
def configs(draw: st.DrawFn, architecture: str | None = None) -> ModelConfig:
    kv_heads, group = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 2]))
    heads = kv_heads * group
    head_width = draw(st.sampled_from([2, 4, 6]))
    own_width = draw(st.booleans())
    architecture = architecture or draw(st.sampled_from(["decoder", "encoder", "encoder-decoder"]))
    depth = draw(st.sampled_from([1, 2]))
    decoder_depth = draw(st.sampled_from([None, 1, 3])) if architecture == "encoder-decoder" else None
    same_depth = decoder_depth in (None, depth)
    windows = st.sampled_from([None, 1, 3, 50])
    experts = draw(st.sampled_from([0, 0, 3]))
    norm_place = draw(st.sampled_from(CHOICES["norm_place"]))
    return ModelConfig(
        vocabulary_size=draw(st.sampled_from([5, 17])),
        width=draw(st.sampled_from([6, 10, 16])) if own_width else heads * head_width,
        depth=depth,
        decoder_depth=decoder_depth,
        decoder_feed_forward_width=draw(st.sampled_from([None, 5])) if architecture == "encoder-decoder" else None,
        source_context=draw(st.sampled_from([None, 10])) if architecture == "encoder-decoder" else None,
        source_vocabulary_size=draw(st.sampled_from([None, 3, 30])) if architecture == "encoder-decoder" else None,
        decoder_causal=draw(st.booleans()) if architecture == "encoder-decoder" else True,
        heads=heads,
        key_value_heads=kv_heads,
        head_width=head_width if own_width else None,
        context=draw(st.sampled_from([9, 12])),
        architecture=architecture,  # type: ignore[arg-type]
        position=draw(st.sampled_from(CHOICES["position"])),
        position_offset=draw(st.sampled_from([0, 2])),
        rotary_base=draw(st.sampled_from([100.0, 10_000.0])),
        rotary_share=draw(st.sampled_from([1.0, 1.0, 0.5])) if head_width % 4 == 0 else 1.0,
        local_rotary_base=draw(st.sampled_from([None, 50.0])),
        relative_buckets=draw(st.sampled_from([4, 8])),
        relative_distance=draw(st.sampled_from([5, 16])),
        norm=draw(st.sampled_from(["rms", "layer"])),
        norm_place=norm_place,  # type: ignore[arg-type]
        conditioning=draw(st.sampled_from(CHOICES["conditioning"])) if norm_place == "pre" else "none",
        embedding_norm=draw(st.booleans()),
        skip_first_norm=draw(st.booleans()),
        feed_forward=draw(st.sampled_from(CHOICES["feed_forward"])),
        feed_forward_width=draw(st.sampled_from([None, 7])),
        experts=experts,
        experts_per_token=draw(st.sampled_from([1, 2])),
        expert_width=draw(st.sampled_from([None, 3])),
        experts_normalized=draw(st.booleans()),
        dense_layers=(0,) if experts and draw(st.booleans()) else (),
        qk_norm=draw(st.booleans()),
        qk_norm_over=draw(st.sampled_from(["head", "all"])),
        attention_scale=draw(st.sampled_from([None, 0.3])),
        attention_cap=draw(st.sampled_from([None, None, 2.0])),
        window=draw(windows),
        layer_windows=tuple(draw(windows) for _ in range(depth)) if same_depth and draw(st.booleans()) else None,
        bias=draw(st.booleans()),
        biased=draw(st.sampled_from([None, None, ("query", "value"), ("norm", "feed_forward"), ("output",)])),
        token_types=draw(st.sampled_from([0, 2])),
        tied_embeddings=draw(st.booleans()),
        scaled_embeddings=draw(st.booleans()),
        output_scale=draw(st.sampled_from([1.0, 0.5])),
        output_bias=draw(st.booleans()),
        logit_cap=draw(st.sampled_from([None, 3.0])),
        initial_std=0.5,  # large, so that every part matters to the output
    )


def random_model(config: ModelConfig, seed: int) -> Transformer:
    """Every parameter random, norms and biases, too, so that none can be forgotten."""
    torch.manual_seed(seed)
    model = Transformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
            if parameter.ndim == 1:
                parameter.add_(1.0)
    return model.eval().double()


def a_condition(config: ModelConfig, rows: int) -> Tensor | None:
    """Something to be conditioned on, where the model is."""
    return torch.randn(rows, config.width, dtype=torch.float64) if config.conditioning == "adaptive" else None


# --- attention --------------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_attention_is_the_formula(data: st.DataObject) -> None:
    integers = st.integers(1, 7)
    batch, groups, group, width = (
        data.draw(st.integers(1, 2)),
        data.draw(st.integers(1, 2)),
        data.draw(st.integers(1, 3)),
        data.draw(integers),
    )
    keys = data.draw(integers)
    queries = data.draw(st.integers(1, keys))
    causal, window = data.draw(st.booleans()), data.draw(st.sampled_from([None, 1, 2, 4]))
    real = data.draw(st.booleans())
    documents = queries == keys and data.draw(st.booleans())
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    q = torch.randn(batch, groups * group, queries, width, dtype=torch.float64)
    k, v = torch.randn(2, batch, groups, keys, width, dtype=torch.float64)
    document_ids = torch.randint(0, 3, (batch, queries)).sort(-1).values if documents else None
    real_BS = torch.rand(batch, keys) < 0.7 if real else None
    mask = make_mask(queries, keys, causal=causal, window=window, document_ids_BT=document_ids, attention_mask_BS=real_BS)
    allowed = reference_allowed(batch, queries, keys, causal, window, document_ids, real_BS)
    scale, cap = data.draw(st.sampled_from([None, 0.7])), data.draw(st.sampled_from([None, 1.5]))
    bias = torch.randn(groups * group, queries, keys, dtype=torch.float64) if data.draw(st.booleans()) else None
    ours = attend(q, k, v, mask._replace(bias=None if bias is None else bias[None]), scale=scale, cap=cap)
    # A capped softmax is taken in float32, as the open models' own code does.
    relative, absolute = (1e-5, 1e-6) if cap else (1e-10, 1e-12)
    torch.testing.assert_close(ours, reference_attention(q, k, v, allowed, scale, cap, bias), rtol=relative, atol=absolute)


def test_attention_of_two_tokens_by_hand() -> None:
    # d_k = 1; the second query sees scores 0 and ln 3, so weights 1/4 and 3/4.
    q, k = torch.tensor([[[[0.0], [1.0]]]]), torch.tensor([[[[0.0], [math.log(3.0)]]]])
    v = torch.tensor([[[[4.0], [8.0]]]])
    torch.testing.assert_close(attend(q, k, v, Mask(causal=True)).flatten(), torch.tensor([4.0, 7.0]))


def test_attention_gradient_is_the_formulas() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    allowed = reference_allowed(1, 5, 5, True, None, None, None)
    direction = torch.randn(1, 2, 5, 4, dtype=torch.float64)
    ours = torch.autograd.grad((attend(q, k, v, Mask(causal=True)) * direction).sum(), (q, k, v))
    scores = (q @ k.transpose(-1, -2) / 2.0).masked_fill(~allowed[:, None], -torch.inf)
    theirs = torch.autograd.grad((scores.softmax(-1) @ v * direction).sum(), (q, k, v))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


# --- the whole model --------------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(configs(), st.integers(0, 10_000), st.booleans(), st.booleans())
def test_forward_is_the_formula(config: ModelConfig, seed: int, with_documents: bool, with_padding: bool) -> None:
    model, reference = random_model(config, seed), Reference(random_model(config, seed))
    batch, length, source_length = 2, 7, 5
    tokens = torch.randint(0, config.vocabulary_size, (batch, length))
    document_ids = torch.tensor([[0, 0, 1, 1, 1, 2, 2], [0] * 7]) if with_documents else None
    positions = torch.tensor([[0, 1, 0, 1, 2, 0, 1], list(range(7))]) if with_documents else None
    real = torch.tensor([[True] * 7, [True] * 4 + [False] * 3]) if with_padding else None
    at = positions if positions is not None else torch.arange(length).expand(batch, -1)
    condition = a_condition(config, batch)

    def allowed(window: int | None) -> Tensor:
        causal = config.architecture != "encoder" and config.decoder_causal
        return reference_allowed(batch, length, length, causal, window, document_ids, real)

    common: dict[str, Any] = {"positions": positions, "document_ids": document_ids, "attention_mask": real, "condition": condition}
    if config.architecture == "encoder":
        ours, theirs = model(tokens, **common), reference.stack("encoder", tokens, allowed, at, condition=condition)
    elif config.architecture == "decoder":
        ours, theirs = model(tokens, **common), reference.logits(reference.stack("decoder", tokens, allowed, at, condition=condition))
    else:
        source = torch.randint(0, config.source_vocabulary_size or config.vocabulary_size, (batch, source_length))
        source_real = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])

        def seen(window: int | None) -> Tensor:
            return reference_allowed(batch, source_length, source_length, False, window, None, source_real)

        memory = reference.stack("encoder", source, seen, torch.arange(source_length).expand(batch, -1))
        cross = source_real[:, None, :].expand(-1, length, -1)
        ours = model(tokens, source_tokens=source, source_mask=source_real, **common)
        theirs = reference.logits(reference.stack("decoder", tokens, allowed, at, memory, cross, condition))
    # Rotary tables and sinusoids are float32, hence not 1e-12.
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    configs().filter(lambda config: config.architecture != "encoder" and config.decoder_causal),
    st.integers(0, 10_000),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
)
def test_incremental_decoding_equals_the_full_forward(config: ModelConfig, seed: int, chunks: list[int]) -> None:
    model = random_model(config, seed)
    length = min(sum(chunks), config.context)
    tokens = torch.randint(0, config.vocabulary_size, (2, length))
    given_source: dict[str, Any] = {"condition": a_condition(config, 2)}
    if config.architecture == "encoder-decoder":
        source = torch.randint(0, config.source_vocabulary_size or config.vocabulary_size, (2, 4))
        source_mask = torch.tensor([[True] * 4, [True, True, False, False]])
        given_source |= {"memory": model.encode(source, source_mask), "source_mask": source_mask}
    cache = KVCache(config, 2, length, dtype=torch.float64)
    parts, start = [], 0
    for size in chunks:
        if start < length:
            parts.append(model(tokens[:, start : start + size], cache=cache, **given_source))
            start += size
    torch.testing.assert_close(torch.cat(parts, 1), model(tokens, **given_source), rtol=1e-9, atol=1e-9)


@settings(max_examples=80, deadline=None)
@given(configs())
def test_parameter_count_is_the_closed_form(config: ModelConfig) -> None:
    assert meta_transformer(config).parameter_count() == config.parameter_count()


@pytest.mark.parametrize("architecture", ["encoder", "decoder", "encoder-decoder"])
def test_a_new_conditioned_stack_passes_on_what_it_is_given(architecture: Any) -> None:
    """adaLN-Zero: no sublayer adds anything at first, and whatever the condition, the last norm alone is left."""
    config = ModelConfig(17, width=12, depth=2, heads=3, context=16, architecture=architecture, position="none", conditioning="adaptive")
    model = Transformer(config)
    stack = model.encoder if architecture == "encoder" else model.decoder
    assert stack is not None
    x = torch.randn(2, 5, 12)
    out = stack(x, condition=torch.randn(2, 12), source_BSW=torch.randn(2, 3, 12))
    torch.testing.assert_close(out, x / (x.square().mean(-1, keepdim=True) + config.norm_epsilon).sqrt())
    with pytest.raises(ValueError, match="the model is conditioned, and no condition is given"):
        stack(x)
    with pytest.raises(ValueError, match="a condition is given, and the model has none; set conditioning to adaptive"):
        Transformer(ModelConfig(17, width=12, depth=1, heads=3, context=16, position="none")).hidden(
            torch.zeros(1, 2, dtype=torch.long), condition=torch.zeros(1, 12)
        )


def test_parameter_count_of_gpt2_is_the_published_one() -> None:
    gpt2 = ModelConfig(50257, width=768, depth=12, heads=12, context=1024, position="learned", norm="layer", feed_forward="gelu", bias=True)
    assert gpt2.parameter_count() == 124_439_808  # Radford et al. 2019, as counted for the released weights


def test_packed_documents_are_computed_as_if_alone() -> None:
    model = random_model(ModelConfig(17, width=12, depth=2, heads=3, context=16, qk_norm=True), seed=1)
    first, second = torch.randint(0, 17, (1, 5)), torch.randint(0, 17, (1, 4))
    packed = model(
        torch.cat((first, second), 1),
        document_ids=torch.tensor([[0] * 5 + [1] * 4]),
        positions=torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3]]),
    )
    torch.testing.assert_close(packed, torch.cat((model(first), model(second)), 1))


def test_padding_on_either_side_changes_no_real_token() -> None:
    config = ModelConfig(17, width=12, depth=2, heads=3, context=16)
    decoder, tokens = random_model(config, seed=2), torch.randint(0, 17, (1, 5))
    padded, real = torch.cat((torch.zeros(1, 3, dtype=torch.long), tokens), 1), torch.tensor([[False] * 3 + [True] * 5])
    left = decoder(padded, attention_mask=real, positions=torch.tensor([[0, 0, 0, 0, 1, 2, 3, 4]]))
    assert torch.isfinite(left).all()
    torch.testing.assert_close(left[:, 3:], decoder(tokens))


def test_initial_variance_of_the_residual_stream_does_not_grow_with_depth() -> None:
    def spread(depth: int) -> float:
        torch.manual_seed(0)
        model = Transformer(ModelConfig(64, width=64, depth=depth, heads=4, context=32, position="none", feed_forward="gelu"))
        seen = []
        assert model.decoder is not None
        model.decoder.norm.register_forward_pre_hook(lambda _module, arguments: seen.append(arguments[0]))
        model(torch.randint(0, 64, (4, 32)))
        return float(seen[0].detach().std())

    assert spread(32) < 1.3 * spread(2)


def test_same_seed_same_model_and_dropout_only_in_training() -> None:
    config = ModelConfig(17, width=12, depth=2, heads=3, context=16, dropout=0.5)
    torch.manual_seed(3)
    first = Transformer(config)
    torch.manual_seed(3)
    second = Transformer(config)
    tokens = torch.randint(0, 17, (1, 5))
    torch.testing.assert_close(first.eval()(tokens), second.eval()(tokens), rtol=0, atol=0)
    assert not torch.equal(first.train()(tokens), second.train()(tokens))


def test_too_many_tokens_are_refused() -> None:
    model = random_model(ModelConfig(17, width=12, depth=1, heads=3, context=8), seed=0)
    with pytest.raises(ValueError, match="9 tokens exceed the context of 8"):
        model(torch.zeros(1, 9, dtype=torch.long))
