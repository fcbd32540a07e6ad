"""Everything that shapes a Transformer. Equal configs build equal models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

Architecture = Literal["decoder", "encoder", "encoder-decoder"]
Position = Literal["rotary", "learned", "sinusoidal", "sinusoidal-halves", "sinusoidal-fairseq", "relative", "none"]
Norm = Literal["rms", "layer"]
NormPlace = Literal["pre", "post", "sandwich", "output"]
FeedForward = Literal["gelu", "gelu-tanh", "quick-gelu", "relu", "relu2", "silu", "swiglu", "geglu", "geglu-tanh", "reglu"]
Scaling = Literal["linear", "dynamic", "yarn", "longrope", "llama3"]
Conditioning = Literal["none", "adaptive"]

GATED = ("swiglu", "geglu", "geglu-tanh", "reglu")
"""The feed-forwards with a gate beside their hidden layer."""
BIASED = ("query", "key", "value", "output", "feed_forward", "norm")
"""What may have a bias: an attention's four products, the feed-forward's, and layer norms."""


@dataclass(frozen=True)
class RotaryScaling:
    """How rotary positions reach past the context of the first training; a field is used by the kinds that its docstring names."""

    kind: Scaling
    factor: float = 1.0
    """How many times longer: all but longrope."""
    original_context: int | None = None
    """Of the first training: dynamic, yarn, longrope and llama3."""
    low_frequency_factor: float = 1.0
    """llama3: wavelengths above original_context / this are stretched by the whole factor."""
    high_frequency_factor: float = 4.0
    """llama3: wavelengths below original_context / this stay."""
    beta_fast: float = 32.0
    """yarn: pairs that turn more often than this within original_context stay."""
    beta_slow: float = 1.0
    """yarn: pairs that turn less often than this are stretched by the whole factor."""
    truncate: bool = True
    """yarn: the two bounds are rounded outwards to whole pairs."""
    attention_factor: float = 1.0
    """yarn, longrope: what queries and keys are multiplied by (their tables are), as the family derives it."""
    short_factors: tuple[float, ...] = ()
    """longrope: of each pair, within original_context."""
    long_factors: tuple[float, ...] = ()
    """longrope: of each pair, past it."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Scaling):
            raise ValueError(f"rotary_scaling.kind is {self.kind!r}; use one of {', '.join(get_args(Scaling))}")
        if self.kind != "linear" and not self.original_context:
            raise ValueError(f"rotary scaling {self.kind} needs original_context; give the context of the first training")
        if self.factor <= 0:
            raise ValueError(f"rotary_scaling.factor is {self.factor}; it must be above 0")


CHOICES: dict[str, tuple[str, ...]] = {
    "architecture": get_args(Architecture),
    "position": get_args(Position),
    "norm": get_args(Norm),
    "norm_place": get_args(NormPlace),
    "feed_forward": get_args(FeedForward),
    "qk_norm_over": ("head", "all"),
    "conditioning": get_args(Conditioning),
}


@dataclass(frozen=True)
class ModelConfig:
    """The choices behind one `Transformer`. Fields that are None are derived; read them through the properties.

    Raises:
        ValueError: when the fields do not fit each other; the message names them and the fix.
    """

    vocabulary_size: int
    """0 where no tokens are read or written: pictures and sound come as embeddings."""
    width: int
    """d_model: the numbers that stand for one token between layers."""
    depth: int
    """Layers; of the encoder, in an encoder-decoder."""
    heads: int
    """Query heads."""
    context: int
    """The most positions a sequence may have."""
    architecture: Architecture = "decoder"

    # An encoder-decoder's decoder, where it differs from its encoder
    decoder_depth: int | None = None
    """Its layers; `depth` where None."""
    decoder_heads: int | None = None
    """Its query heads; `heads` where None."""
    decoder_feed_forward_width: int | None = None
    """As `feed_forward_width`, which it equals where None."""
    source_context: int | None = None
    """The encoder's context; `context` where None."""
    source_vocabulary_size: int | None = None
    """Where the encoder reads tokens of another vocabulary than the decoder, which has `vocabulary_size`: its size. Each stack then has an
    embedding of its own."""
    decoder_causal: bool = True
    """A token of the decoder sees none after it. Where not, all of them see each other: what is written at once, as a picture is."""

    # Attention
    key_value_heads: int | None = None
    """Heads of keys and values, each shared by a group of query heads (Ainslie et al. 2023); `heads` where None."""
    head_width: int | None = None
    """d_k; width / heads where None."""
    qk_norm: bool = False
    """RMS-normalise queries and keys (Henry et al. 2020), before the positions are applied."""
    qk_norm_over: Literal["head", "all"] = "head"
    """Each head by itself, or all heads' numbers as one vector (OLMo 2)."""
    window: int | None = None
    """Sliding window: a token attends to itself and at most window - 1 tokens before it (and, in an encoder, after it)."""
    layer_windows: tuple[int | None, ...] | None = None
    """The window of each layer, where they are not all `window`."""
    attention_scale: float | None = None
    """What scores are multiplied by; 1/√d_k where None."""
    attention_cap: float | None = None
    """Scores s become cap · tanh(s / cap) (Gemma 2)."""

    # Positions
    position: Position = "rotary"
    """Rotary (Su et al. 2021); learned; sinusoidal, as in Vaswani et al. 2017, with all sines before all cosines (Marian), or so with
    fairseq's frequencies (M2M-100); relative, a learnt bias a distance (Raffel et al. 2020); or none."""
    position_offset: int = 0
    """Rows of the learned or sinusoidal table that stand before position 0 (BART: 2); `context` does not count them."""
    rotary_base: float = 10_000.0
    rotary_scaling: RotaryScaling | None = None
    rotary_share: float = 1.0
    """The share of a head's numbers, its first ones, that are turned."""
    local_rotary_base: float | None = None
    """The base in the layers that have a window, which are not scaled; as in the others where None."""
    relative_buckets: int = 32
    """Distances are counted one by one up to half of these (a quarter in an encoder), then in steps that grow."""
    relative_distance: int = 128
    """All distances from here on share the last bucket."""

    # Norms
    norm: Norm = "rms"
    """RMS (Zhang and Sennrich 2019) or layer norm (Ba et al. 2016)."""
    norm_place: NormPlace = "pre"
    """pre: x + f(norm(x)); post: norm(x + f(x)), as in 2017; sandwich: x + norm(f(norm(x))); output: x + norm(f(x)). All but post have
    one more norm at the end."""
    norm_epsilon: float = 1e-6
    embedding_norm: bool = False
    """A norm before the first layer, after the positions are added."""
    skip_first_norm: bool = False
    """The first layer's attention has no norm before it (ModernBERT: the embedding's serves)."""
    conditioning: Conditioning = "none"
    """adaptive: a vector a row shifts and scales what each norm gives, and gates each sublayer (adaLN-Zero, Peebles and Xie 2023). Of an
    encoder-decoder, in the decoder alone."""

    # Feed-forward
    feed_forward: FeedForward = "swiglu"
    """GELU, exact, by tanh or by the logistic function; ReLU; squared ReLU (So et al. 2021); SiLU; or gated (Shazeer 2020): SwiGLU,
    GEGLU, exact or by tanh, ReGLU."""
    feed_forward_width: int | None = None
    """The hidden width of the feed-forward; 4 × width where None, or for a gated one 8/3 × width in steps of 64 (equal parameters)."""
    experts: int = 0
    """Feed-forwards beside each other, of which a router picks some for each token (Shazeer et al. 2017); 0 for the one."""
    experts_per_token: int = 2
    expert_width: int | None = None
    """An expert's hidden width; that of the feed-forward where None."""
    experts_normalized: bool = True
    """The picked experts' shares sum to 1; else they are their shares among all."""
    dense_layers: tuple[int, ...] = ()
    """Layers, from 0, that have the one feed-forward all the same."""

    # Everything else
    bias: bool = False
    """Biases in linear layers and layer norms."""
    biased: tuple[str, ...] | None = None
    """Which of query, key, value, output, feed_forward and norm have one, where it is not all or none."""
    token_types: int = 0
    """Rows of an embedding added to the tokens' (BERT's segments); 0 for none."""
    tied_embeddings: bool = True
    """The output projection is the token embedding transposed (Press and Wolf 2017)."""
    scaled_embeddings: bool = False
    """Token embeddings times √width before positions are added, as in 2017."""
    output_scale: float = 1.0
    """What the last hidden state is multiplied by before the output projection (T5: width^-1/2)."""
    output_bias: bool = False
    """A bias of the logits."""
    logit_cap: float | None = None
    """Logits x become cap · tanh(x / cap) (Gemma 2)."""
    initial_std: float = 0.02
    """Standard deviation of the initial weights; of those that write to the residual stream, divided by √(sublayers)."""
    dropout: float = 0.0
    """Of embeddings and sublayer outputs, in training."""

    def __post_init__(self) -> None:
        for field, known in CHOICES.items():
            if getattr(self, field) not in known:
                raise ValueError(f"{field} is {getattr(self, field)!r}; use one of {', '.join(known)}")
        for field in ("width", "depth", "heads", "context", "experts_per_token", "relative_buckets", "relative_distance"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}; it must be at least 1")
        for field in ("vocabulary_size", "experts", "token_types", "position_offset"):
            if getattr(self, field) < 0:
                raise ValueError(f"{field} is {getattr(self, field)}; it must be at least 0")
        if self.vocabulary_size == 0 and self.architecture != "encoder":
            raise ValueError(f"vocabulary_size is 0, and a {self.architecture} writes tokens; give the tokenizer's size")
        if self.head_width is None and self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) does not divide width ({self.width}); {self._dividing_heads()}")
        if self.heads % self.kv_heads:
            raise ValueError(f"key_value_heads ({self.kv_heads}) does not divide heads ({self.heads}); choose a divisor of {self.heads}")
        self._check_positions()
        self._check_layers()
        for field in ("decoder_depth", "decoder_heads", "decoder_feed_forward_width", "source_context", "source_vocabulary_size"):
            if getattr(self, field) is not None and self.architecture != "encoder-decoder":
                raise ValueError(f"{field} is for the encoder-decoder, and architecture is {self.architecture}; remove {field}")
        if self.source_vocabulary_size is not None and self.source_vocabulary_size < 1:
            raise ValueError(f"source_vocabulary_size is {self.source_vocabulary_size}; it must be at least 1")
        self._check_writing()
        for name in self.biased or ():
            if name not in BIASED:
                raise ValueError(f"biased names {name!r}; use {', '.join(BIASED)}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}; it must be at least 0 and below 1")

    def _check_writing(self) -> None:
        if self.conditioning == "adaptive" and self.norm_place != "pre":
            what = f"conditioning is adaptive, which is what norms before the sublayers do, and norm_place is {self.norm_place}"
            raise ValueError(f"{what}; set norm_place to pre")
        if not self.decoder_causal and self.architecture != "encoder-decoder":
            raise ValueError(f"decoder_causal is for the encoder-decoder, and architecture is {self.architecture}; remove decoder_causal")

    def _check_positions(self) -> None:
        if self.position == "rotary":
            if not 0.0 < self.rotary_share <= 1.0:
                raise ValueError(f"rotary_share is {self.rotary_share}; it must be above 0 and at most 1")
            if self.rotary_width % 2 or not self.rotary_width:
                fix = "change width, heads, head_width or rotary_share"
                raise ValueError(f"rotary positions need an even head width, and it is {self.rotary_width}; {fix}")
            scaling = self.rotary_scaling
            if scaling is not None and scaling.kind == "longrope":
                for name in ("short_factors", "long_factors"):
                    if len(getattr(scaling, name)) != self.rotary_width // 2:
                        found = len(getattr(scaling, name))
                        raise ValueError(f"rotary_scaling.{name} has {found} numbers; it needs {self.rotary_width // 2}, one a pair")
        if self.position.startswith("sinusoidal") and self.width % 2:
            raise ValueError(f"sinusoidal positions need an even width, and it is {self.width}; change width")

    def _check_layers(self) -> None:
        for window in (self.window, *(self.layer_windows or ())):
            if window is not None and window < 1:
                raise ValueError(f"window is {window}; it must be at least 1, or null for full attention")
        if self.layer_windows is not None and len(self.layer_windows) != self.depth:
            raise ValueError(f"layer_windows has {len(self.layer_windows)} entries, and depth is {self.depth}; give one a layer")
        if self.experts and self.experts_per_token > self.experts:
            raise ValueError(f"experts_per_token ({self.experts_per_token}) is more than experts ({self.experts}); lower it")
        if any(not 0 <= layer < self.depth for layer in self.dense_layers):
            raise ValueError(f"dense_layers names a layer that is not among the {self.depth}, which count from 0; correct it")

    def _dividing_heads(self) -> str:
        near = min((n for n in range(1, self.width + 1) if self.width % n == 0), key=lambda n: abs(n - self.heads))
        return f"the nearest number of heads that does is {near}"

    @property
    def kv_heads(self) -> int:
        return self.heads if self.key_value_heads is None else self.key_value_heads

    @property
    def head_size(self) -> int:
        return self.width // self.heads if self.head_width is None else self.head_width

    @property
    def rotary_width(self) -> int:
        """How many of a head's numbers are turned."""
        return int(self.head_size * self.rotary_share)

    @property
    def gated(self) -> bool:
        return self.feed_forward in GATED

    @property
    def hidden_width(self) -> int:
        """The feed-forward's hidden width."""
        if self.feed_forward_width is not None:
            return self.feed_forward_width
        return 64 * round(8 * self.width / 3 / 64) or 64 if self.gated else 4 * self.width

    @property
    def expert_hidden_width(self) -> int:
        """An expert's hidden width."""
        return self.hidden_width if self.expert_width is None else self.expert_width

    @property
    def decoder_layers(self) -> int:
        if self.architecture == "encoder":
            return 0
        return self.depth if self.decoder_depth is None else self.decoder_depth

    @property
    def encoder_layers(self) -> int:
        return 0 if self.architecture == "decoder" else self.depth

    def has_bias(self, part: str) -> bool:
        """Whether `part`, one of `BIASED`, has a bias."""
        return self.bias if self.biased is None else part in self.biased

    def window_of(self, layer: int) -> int | None:
        """The sliding window of a layer, counted from 0."""
        return self.window if self.layer_windows is None else self.layer_windows[layer]

    def experts_of(self, layer: int) -> int:
        """How many experts a layer has; 0 where it has the one feed-forward."""
        return 0 if layer in self.dense_layers else self.experts

    def of_encoder(self) -> Self:
        """The config that the encoder stack is built by."""
        if self.architecture != "encoder-decoder":
            return self
        return dataclasses.replace(self, context=self.source_context or self.context, conditioning="none")

    def of_decoder(self) -> Self:
        """The config that the decoder stack of an encoder-decoder is built by; its `depth` is the decoder's."""
        if self.architecture != "encoder-decoder":
            return self
        heads, hidden = self.decoder_heads or self.heads, self.decoder_feed_forward_width or self.feed_forward_width
        return dataclasses.replace(
            self, depth=self.decoder_layers, heads=heads, feed_forward_width=hidden, decoder_depth=None, decoder_heads=None
        )

    def parameter_count(self) -> int:
        """The number of parameters, in closed form."""
        norm, cross = self._norm_count(), self.architecture == "encoder-decoder"
        count = (self.vocabulary_size + (self.source_vocabulary_size or 0) + self.token_types) * self.width
        if self.encoder_layers:
            count += self.of_encoder()._stack_count(self.encoder_layers, norm, cross=False)
        if self.decoder_layers:
            count += self.of_decoder()._stack_count(self.decoder_layers, norm, cross=cross)
        # An encoder has no output projection of its own: its heads are built around it.
        if self.architecture != "encoder":
            count += (0 if self.tied_embeddings else self.vocabulary_size * self.width) + self.output_bias * self.vocabulary_size
        return count

    def _norm_count(self) -> int:
        return self.width * (2 if self.norm == "layer" and self.has_bias("norm") else 1)

    def _stack_count(self, layers: int, norm: int, *, cross: bool) -> int:
        d, q, kv = self.width, self.heads * self.head_size, self.kv_heads * self.head_size
        attention = 2 * d * (q + kv)
        attention += q * self.has_bias("query") + kv * (self.has_bias("key") + self.has_bias("value")) + d * self.has_bias("output")
        attention += self.qk_norm * (2 * self.head_size if self.qk_norm_over == "head" else q + kv)
        norms = {"pre": 1, "post": 1, "sandwich": 2, "output": 1}[self.norm_place] * norm
        sublayers = (2 if cross else 1) * (attention + norms) + norms
        count = layers * sublayers + sum(self._feed_forward_count(layer) for layer in range(layers))
        if self.conditioning == "adaptive":
            count += (layers * 3 * (3 if cross else 2) + 2) * (d + 1) * d
        count += (self.norm_place != "post") * norm + self.embedding_norm * norm
        count -= norm if self.skip_first_norm and self.norm_place in ("pre", "sandwich") else 0
        if self.position == "learned":
            count += (self.position_offset + self.context) * d
        if self.position == "relative":
            count += self.relative_buckets * self.heads
        return count

    def _feed_forward_count(self, layer: int) -> int:
        def one(hidden: int) -> int:
            up, biases = (2 if self.gated else 1), self.has_bias("feed_forward")
            return (up + 1) * self.width * hidden + biases * (up * hidden + self.width)

        experts = self.experts_of(layer)
        return one(self.hidden_width) if not experts else experts * (one(self.expert_hidden_width) + self.width)

    def to_dict(self) -> dict[str, Any]:
        """A JSON value that `from_dict` reads back."""
        fields = dataclasses.asdict(self)
        for part in (fields, fields["rotary_scaling"] or {}):
            part |= {name: list(value) for name, value in part.items() if isinstance(value, tuple)}  # as JSON gives it back
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; ValueError on an unknown field."""
        unknown = set(fields) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"unknown field of ModelConfig: {', '.join(sorted(unknown))}")
        return cls(**{name: _read(name, value) for name, value in fields.items()})


def _read(name: str, value: Any) -> Any:
    """JSON knows neither tuples nor our classes."""
    if name == "rotary_scaling" and isinstance(value, Mapping):
        fields: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        return RotaryScaling(**fields)
    return tuple(value) if isinstance(value, list) else value
