"""Everything that shapes a Transformer. Equal configs build equal models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

Architecture = Literal["decoder", "encoder", "encoder-decoder"]
Position = Literal["rotary", "learned", "sinusoidal", "none"]
Norm = Literal["rms", "layer"]
NormPlace = Literal["pre", "post"]
FeedForward = Literal["gelu", "swiglu", "relu2"]

CHOICES: dict[str, tuple[str, ...]] = {
    "architecture": ("decoder", "encoder", "encoder-decoder"),
    "position": ("rotary", "learned", "sinusoidal", "none"),
    "norm": ("rms", "layer"),
    "norm_place": ("pre", "post"),
    "feed_forward": ("gelu", "swiglu", "relu2"),
}


@dataclass(frozen=True)
class ModelConfig:
    """The choices behind one `Transformer`. Fields that are None are derived; read them through the properties.

    Raises:
        ValueError: when the fields do not fit each other; the message names them and the fix.
    """

    vocabulary_size: int
    width: int
    """d_model: the numbers that stand for one token between layers."""
    depth: int
    """Layers; of the encoder, in an encoder-decoder."""
    heads: int
    """Query heads."""
    context: int
    """The most positions a sequence may have."""
    architecture: Architecture = "decoder"
    decoder_depth: int | None = None
    """Layers of an encoder-decoder's decoder; `depth` where None."""
    key_value_heads: int | None = None
    """Heads of keys and values, each shared by a group of query heads (Ainslie et al. 2023); `heads` where None."""
    head_width: int | None = None
    """d_k; width / heads where None."""
    feed_forward_width: int | None = None
    """The hidden width of the feed-forward; 4 × width where None, or for SwiGLU 8/3 × width in steps of 64 (equal parameters)."""
    position: Position = "rotary"
    """Rotary (Su et al. 2021), learned, sinusoidal (Vaswani et al. 2017) or none."""
    rotary_base: float = 10_000.0
    norm: Norm = "rms"
    """RMS (Zhang and Sennrich 2019) or layer norm (Ba et al. 2016)."""
    norm_place: NormPlace = "pre"
    """Before each sublayer, with a last norm at the end; or after each residual sum, as in 2017."""
    norm_epsilon: float = 1e-6
    feed_forward: FeedForward = "swiglu"
    """GELU; SwiGLU (Shazeer 2020); squared ReLU (So et al. 2021)."""
    qk_norm: bool = False
    """RMS-normalise queries and keys per head (Henry et al. 2020), before the positions are applied."""
    window: int | None = None
    """Sliding window: a token attends to itself and at most window - 1 tokens before it (and, in an encoder, after it)."""
    bias: bool = False
    """Biases in linear layers and layer norms."""
    tied_embeddings: bool = True
    """The output projection is the token embedding transposed (Press and Wolf 2017)."""
    scaled_embeddings: bool = False
    """Token embeddings times √width before positions are added, as in 2017."""
    initial_std: float = 0.02
    """Standard deviation of the initial weights; of those that write to the residual stream, divided by √(sublayers)."""
    dropout: float = 0.0
    """Of embeddings and sublayer outputs, in training."""

    def __post_init__(self) -> None:
        for field, known in CHOICES.items():
            if getattr(self, field) not in known:
                raise ValueError(f"{field} is {getattr(self, field)!r}; use one of {', '.join(known)}")
        for field in ("vocabulary_size", "width", "depth", "heads", "context"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}; it must be at least 1")
        if self.head_width is None and self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) does not divide width ({self.width}); {self._dividing_heads()}")
        if self.heads % self.kv_heads:
            raise ValueError(f"key_value_heads ({self.kv_heads}) does not divide heads ({self.heads}); choose a divisor of {self.heads}")
        if self.position == "rotary" and self.head_size % 2:
            raise ValueError(f"rotary positions need an even head width, and it is {self.head_size}; change width, heads or head_width")
        if self.position == "sinusoidal" and self.width % 2:
            raise ValueError(f"sinusoidal positions need an even width, and it is {self.width}; change width")
        if self.window is not None and self.window < 1:
            raise ValueError(f"window is {self.window}; it must be at least 1, or null for full attention")
        if self.decoder_depth is not None and self.architecture != "encoder-decoder":
            raise ValueError(f"decoder_depth is for the encoder-decoder, and architecture is {self.architecture}; remove decoder_depth")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}; it must be at least 0 and below 1")

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
    def hidden_width(self) -> int:
        """The feed-forward's hidden width."""
        if self.feed_forward_width is not None:
            return self.feed_forward_width
        return 64 * round(8 * self.width / 3 / 64) or 64 if self.feed_forward == "swiglu" else 4 * self.width

    @property
    def decoder_layers(self) -> int:
        if self.architecture == "encoder":
            return 0
        return self.depth if self.decoder_depth is None else self.decoder_depth

    @property
    def encoder_layers(self) -> int:
        return 0 if self.architecture == "decoder" else self.depth

    def parameter_count(self) -> int:
        """The number of parameters, in closed form."""
        d, bias = self.width, int(self.bias)
        q, kv = self.heads * self.head_size, self.kv_heads * self.head_size

        def linear(inputs: int, outputs: int) -> int:
            return inputs * outputs + bias * outputs

        norm = d * (2 if self.norm == "layer" and self.bias else 1)
        attention = linear(d, q) + 2 * linear(d, kv) + linear(q, d) + (2 * self.head_size if self.qk_norm else 0)
        up = 2 if self.feed_forward == "swiglu" else 1
        feed_forward = up * linear(d, self.hidden_width) + linear(self.hidden_width, d)
        encoder_block = attention + feed_forward + 2 * norm
        decoder_block = encoder_block + (attention + norm if self.architecture == "encoder-decoder" else 0)
        stacks = (self.encoder_layers > 0) + (self.decoder_layers > 0)
        last_norms = stacks * norm if self.norm_place == "pre" else 0
        positions = stacks * self.context * d if self.position == "learned" else 0
        # An encoder has no output projection of its own: its heads are built around it.
        output = 0 if self.tied_embeddings or self.architecture == "encoder" else self.vocabulary_size * d
        blocks = self.encoder_layers * encoder_block + self.decoder_layers * decoder_block
        return self.vocabulary_size * d + positions + blocks + last_norms + output

    def to_dict(self) -> dict[str, Any]:
        """A JSON value that `from_dict` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; ValueError on an unknown field."""
        unknown = set(fields) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"unknown field of ModelConfig: {', '.join(sorted(unknown))}")
        return cls(**fields)
