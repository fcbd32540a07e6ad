"""A front end, the Transformer, and a head: pictures, sound, and pictures beside texts.

Axes: B batch, C channels, Y rows and X columns of pixels, T tokens, N samples, M mel bands, F frames of a spectrogram, W model width,
L labels, E width of the space that two towers share, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from ..model.blocks import Dropout
from ..model.config import ModelConfig
from ..model.transformer import Transformer
from .picture_stems import ConvolutionStem, GridPositions
from .stems import MelStem, PatchShape, PatchStem, WaveShape, WaveStem

PictureStem = Literal["patches", "convolutions"]
"""One large convolution for each patch, or small ones that overlap."""


class PictureEncoder(nn.Module):
    """The states of a picture's prefix and patches. Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929.

    Args:
        stem: what makes the embeddings.
        grid: positions in two directions are added to them (`config.position` is "none" then); else the Transformer's own are.
    """

    def __init__(self, config: ModelConfig, shape: PatchShape, *, stem: PictureStem = "patches", grid: bool = False) -> None:
        super().__init__()
        if config.context != shape.tokens:
            raise ValueError(f"context is {config.context}, and a picture has {shape.tokens} patches and prefixes; set it to that")
        self.config = config
        made = ConvolutionStem if stem == "convolutions" else PatchStem
        self.stem = made(shape, config.width, initial_std=config.initial_std)
        self.positions = GridPositions(shape, config.width) if grid else nn.Identity()
        self.transformer = Transformer(config)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, Y, X) → what `hidden` gives; a head's logits where there is one."""
        return self.hidden(pixels)

    def hidden(self, pixels: Tensor) -> Tensor:
        """(B, C, Y, X) → states (B, T, W), those of the prefix first.

        Raises:
            ValueError: the pictures are not of the shape that the model reads.
        """
        return self.transformer.hidden(embeddings=self.positions(self.stem(pixels)))


class PictureClassifier(PictureEncoder):
    """One of `labels` for a picture, from the state of its first prefix token; or from those of all of them; or, where there is no prefix,
    from the mean of its patches' states.

    Args:
        ensemble: each prefix token has a linear layer of its own, and their logits are averaged (Touvron et al. 2021,
            https://arxiv.org/abs/2012.12877, section 4).
        stem, grid: see `PictureEncoder`.
    """

    def __init__(
        self,
        config: ModelConfig,
        shape: PatchShape,
        labels: int,
        *,
        ensemble: bool = False,
        stem: PictureStem = "patches",
        grid: bool = False,
    ) -> None:
        super().__init__(config, shape, stem=stem, grid=grid)
        outputs = [nn.Linear(config.width, labels) for _ in range(shape.prefix if ensemble else 1)]
        for output in outputs:
            _initialise(output, config)
        self.labels, self.outputs = labels, nn.ModuleList(outputs)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, Y, X) → logits (B, L)."""
        return self.classify(self.hidden(pixels))

    def classify(self, hidden_BTW: Tensor) -> Tensor:
        """Logits (B, L) from the encoder's states."""
        if not self.stem.shape.prefix:
            return self.outputs[0](hidden_BTW.mean(1))
        logits = [output(hidden_BTW[:, place]) for place, output in enumerate(self.outputs)]
        return torch.stack(logits).mean(0)


class PicturesAndTexts(nn.Module):
    """Two towers whose answers are near each other where a text tells of a picture: CLIP.

    Radford et al. 2021, https://arxiv.org/abs/2103.00020.

    Args:
        config: of the texts' tower, a decoder whose logits are not used.
        end_id: the token whose state stands for a text; the first of them, where there are several. None: the token with the largest id,
            as in the first checkpoints.
        width: of the space that the towers share.
    """

    def __init__(
        self, config: ModelConfig, picture_config: ModelConfig, shape: PatchShape, width: int, *, end_id: int | None = None
    ) -> None:
        super().__init__()
        self.config, self.end_id = config, end_id
        self.transformer = Transformer(config)
        self.pictures = PictureEncoder(picture_config, shape)
        self.text_projection = nn.Linear(config.width, width, bias=False)
        self.picture_projection = nn.Linear(picture_config.width, width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # section 2.5
        _initialise(self.text_projection, config)
        _initialise(self.picture_projection, picture_config)

    def text_features(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(B, T) → (B, E). The mask is True on real tokens."""
        hidden_BTW = self.transformer.hidden(tokens, attention_mask=attention_mask)
        ends = tokens.argmax(-1) if self.end_id is None else (tokens == self.end_id).int().argmax(-1)
        return self.text_projection(hidden_BTW[torch.arange(len(tokens), device=tokens.device), ends])

    def picture_features(self, pixels: Tensor) -> Tensor:
        """(B, C, Y, X) → (B, E)."""
        return self.picture_projection(self.pictures(pixels)[:, 0])

    def forward(self, tokens: Tensor, pixels: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """How well each picture fits each text: cosines times the scale, (pictures, texts)."""
        texts = nn.functional.normalize(self.text_features(tokens, attention_mask), dim=-1)
        pictures = nn.functional.normalize(self.picture_features(pixels), dim=-1)
        return pictures @ texts.mT * self.logit_scale.exp()


class SoundEncoder(nn.Module):
    """The states of a recording's frames: wav2vec 2.0, HuBERT."""

    def __init__(self, config: ModelConfig, shape: WaveShape) -> None:
        super().__init__()
        self.config = config
        self.stem = WaveStem(shape, config.width, initial_std=config.initial_std)
        self.transformer = Transformer(config)

    def forward(self, samples: Tensor, sample_mask: Tensor | None = None) -> Tensor:
        """Samples (B, N) → what `hidden` gives; a head's logits where there is one."""
        return self.hidden(samples, sample_mask)

    def hidden(self, samples: Tensor, sample_mask: Tensor | None = None) -> Tensor:
        """Samples (B, N) → states (B, T, W); those of padding mean nothing.

        Args:
            sample_mask: (B, N), True on real samples, which stand before the padding. None where there is none, and for models that were
                trained without (those whose convolutions have a group norm): their padding is zeros that are heard.

        Raises:
            ValueError: there are too few samples for one frame.
        """
        mask = None if sample_mask is None else self.stem.frame_mask(sample_mask)
        return self.transformer.hidden(embeddings=self.stem(samples, mask), attention_mask=mask)


class CTCRecognizer(SoundEncoder):
    """One of `symbols`, or none, for each frame: connectionist temporal classification.

    Graves et al. 2006, https://doi.org/10.1145/1143844.1143891.
    """

    def __init__(self, config: ModelConfig, shape: WaveShape, symbols: int) -> None:
        super().__init__(config, shape)
        self.dropout = Dropout(config.dropout)
        self.output = nn.Linear(config.width, symbols)
        _initialise(self.output, config)

    def forward(self, samples: Tensor, sample_mask: Tensor | None = None) -> Tensor:
        """Samples (B, N) → logits (B, T, V). The arguments are those of `hidden`."""
        return self.output(self.dropout(self.hidden(samples, sample_mask)))


class SpeechWriter(nn.Module):
    """A spectrogram read by an encoder, a text written by a decoder: Whisper. Radford et al. 2022, https://arxiv.org/abs/2212.04356.

    Decode with `generate(model.transformer, prompt, …, source_embeddings=model.stem(mel))`.
    """

    def __init__(self, config: ModelConfig, bands: int) -> None:
        super().__init__()
        self.config = config
        self.stem = MelStem(bands, config.width, initial_std=config.initial_std)
        self.transformer = Transformer(config)

    def forward(self, mel: Tensor, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """A log-mel spectrogram (B, M, F) and the text so far (B, T) → logits (B, T, V) for the token after each.

        Args:
            attention_mask: (B, T), True on real tokens.

        Raises:
            ValueError: the spectrogram has another number of bands than the model reads, or more frames; or the text is too long.
        """
        return self.transformer(tokens, source_embeddings=self.stem(mel), attention_mask=attention_mask)


def _initialise(layer: nn.Linear, config: ModelConfig) -> None:
    nn.init.normal_(layer.weight, std=config.initial_std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
