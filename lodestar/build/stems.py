"""Front ends: what makes a Transformer's embeddings of pictures and of sound.

Axes: B batch, C channels, Y rows and X columns of pixels, P tokens before the patches, T embeddings, N samples, M mel bands, F frames of a
spectrogram, W model width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..model.blocks import ACTIVATIONS
from ..model.norms import LayerNorm


@dataclass(frozen=True)
class PatchShape:
    """How a picture is cut into patches."""

    height: int
    width: int
    patch_height: int
    patch_width: int
    channels: int = 3
    prefix: int = 1
    """Learnt tokens before the patches, whose last states stand for the whole picture: ViT's class token, DeiT's second one."""
    bias: bool = True

    def __post_init__(self) -> None:
        if self.patch_height > self.height or self.patch_width > self.width:
            patch, picture = f"{self.patch_height}×{self.patch_width}", f"{self.height}×{self.width}"
            raise ValueError(f"a patch of {patch} pixels is larger than a picture of {picture}; make it smaller")

    @property
    def tokens(self) -> int:
        """Embeddings of one picture. Pixels at the right and at the bottom that do not fill a patch are left out."""
        rows, columns = self.grid
        return self.prefix + rows * columns

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.height // self.patch_height, self.width // self.patch_width

    def check(self, pixels_BCYX: Tensor) -> None:
        """Refuse pictures of another shape; raises `ValueError`."""
        expected = (self.channels, self.height, self.width)
        if tuple(pixels_BCYX.shape[1:]) != expected:
            found = "×".join(map(str, pixels_BCYX.shape[1:]))
            raise ValueError(f"the pictures are {found}, and the model reads {'×'.join(map(str, expected))}; resize them")


class PatchStem(nn.Module):
    """Each patch of a picture as one embedding, row by row, behind the prefix. Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929.

    The positions are the Transformer's own: `position="learned"`.
    """

    def __init__(self, shape: PatchShape, width: int, *, initial_std: float = 0.02) -> None:
        super().__init__()
        self.shape = shape
        patch = (shape.patch_height, shape.patch_width)
        self.projection = nn.Conv2d(shape.channels, width, patch, stride=patch, bias=shape.bias)
        self.prefix = nn.Parameter(torch.empty(shape.prefix, width))
        nn.init.normal_(self.prefix, std=initial_std)
        _initialise(self.projection, initial_std)

    def forward(self, pixels_BCYX: Tensor) -> Tensor:
        """(B, C, Y, X) → (B, P + patches, W).

        Raises:
            ValueError: the pictures are not of the shape that the stem was made for.
        """
        self.shape.check(pixels_BCYX)
        patches_BTW = self.projection(pixels_BCYX).flatten(2).mT
        return torch.cat((self.prefix.expand(len(pixels_BCYX), -1, -1), patches_BTW), dim=1)


class MelStem(nn.Module):
    """Two convolutions over a spectrogram, the second of which halves its frames. Radford et al. 2022, https://arxiv.org/abs/2212.04356."""

    def __init__(self, bands: int, width: int, *, initial_std: float = 0.02) -> None:
        super().__init__()
        self.bands = bands
        self.first = nn.Conv1d(bands, width, kernel_size=3, padding=1)
        self.second = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        _initialise(self.first, initial_std)
        _initialise(self.second, initial_std)

    @staticmethod
    def frames(mel_frames: Tensor) -> Tensor:
        """How many embeddings become of so many frames, each a whole number."""
        return torch.div(mel_frames + 1, 2, rounding_mode="floor")

    def forward(self, mel_BMF: Tensor, mel_frames_B: Tensor | None = None) -> Tensor:
        """A log-mel spectrogram (B, M, F) → (B, ⌈F / 2⌉, W).

        Args:
            mel_frames_B: of each row, the frames that are no padding; what comes of these is then as without padding. The padding is 0.

        Raises:
            ValueError: it has another number of bands.
        """
        if mel_BMF.shape[1] != self.bands:
            raise ValueError(f"the spectrogram has {mel_BMF.shape[1]} mel bands, and the model reads {self.bands}; compute it with these")
        inner_BWF = F.gelu(self.first(mel_BMF))
        if mel_frames_B is not None:
            real_BF = torch.arange(inner_BWF.shape[-1], device=inner_BWF.device) < mel_frames_B[:, None]
            inner_BWF = inner_BWF.masked_fill(~real_BF[:, None], 0.0)  # the second convolution reaches into the padding
        return F.gelu(self.second(inner_BWF)).mT


@dataclass(frozen=True)
class WaveShape:
    """How samples of sound become embeddings."""

    channels: tuple[int, ...] = (512,) * 7
    """What each convolution gives."""
    kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    norm: Literal["group", "layer"] = "group"
    """Of each channel over time, after the first convolution alone; or of each frame over its channels, after every one."""
    bias: bool = False
    """In the convolutions."""
    activation: str = "gelu"
    """After each convolution, the positions' too; one of `model.blocks.ACTIVATIONS`."""
    projection_norm: bool = True
    """A layer norm before the projection to the model's width."""
    position_kernel: int = 128
    position_groups: int = 16
    norm_epsilon: float = 1e-5
    """Of the projection's norm."""

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.kernels) == len(self.strides) or not self.channels:
            found = f"{len(self.channels)} channels, {len(self.kernels)} kernels and {len(self.strides)} strides"
            raise ValueError(f"the convolutions over the sound have {found}; give as many of each")
        if self.norm not in ("group", "layer"):
            raise ValueError(f"the convolutions' norm is {self.norm!r}; use group or layer")

    def frames(self, samples: Tensor) -> Tensor:
        """How many embeddings become of so many samples, each a whole number; 0 where they are too few for one."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            samples = torch.div(samples - kernel, stride, rounding_mode="floor") + 1
        return samples.clamp(min=0)


class WaveLayer(nn.Module):
    """activation(norm(convolution(x)))."""

    def __init__(self, shape: WaveShape, layer: int) -> None:
        super().__init__()
        channels = shape.channels[layer]
        before = shape.channels[layer - 1] if layer else 1
        self.convolution = nn.Conv1d(before, channels, shape.kernels[layer], stride=shape.strides[layer], bias=shape.bias)
        self.over_channels = shape.norm == "layer"
        self.norm: nn.Module = nn.Identity()
        if self.over_channels:
            self.norm = LayerNorm(channels)
        elif layer == 0:
            self.norm = nn.GroupNorm(channels, channels)
        self.activation = ACTIVATIONS[shape.activation]
        nn.init.kaiming_normal_(self.convolution.weight)

    def forward(self, x_BCN: Tensor) -> Tensor:
        """(B, C, N) → (B, C', N')."""
        x_BCN = self.convolution(x_BCN)
        return self.activation(self.norm(x_BCN.mT).mT if self.over_channels else self.norm(x_BCN))


class ConvolutionalPositions(nn.Module):
    """A wide convolution over the embeddings, which tells each where it stands. Baevski et al. 2020, section 2.

    Its weight is kept as a direction and, for each place of the kernel, a magnitude (Salimans and Kingma 2016,
    https://arxiv.org/abs/1602.07868), as the open checkpoints hold it.
    """

    def __init__(self, width: int, shape: WaveShape) -> None:
        super().__init__()
        kernel, self.groups = shape.position_kernel, shape.position_groups
        self.direction = nn.Parameter(torch.empty(width, width // self.groups, kernel))
        self.magnitude = nn.Parameter(torch.empty(1, 1, kernel))
        self.bias = nn.Parameter(torch.zeros(width))
        self.activation = ACTIVATIONS[shape.activation]
        nn.init.normal_(self.direction, std=2 * (kernel * width) ** -0.5)  # fairseq's
        with torch.no_grad():
            self.magnitude.copy_(self._length())

    def _length(self) -> Tensor:
        """Of the direction at each place of the kernel, (1, 1, kernel)."""
        return torch.linalg.vector_norm(self.direction, dim=(0, 1), keepdim=True)

    def forward(self, x_BTW: Tensor) -> Tensor:
        """What is to be added to the embeddings, (B, T, W)."""
        weight = self.direction * (self.magnitude / self._length())
        kernel = weight.shape[-1]
        # An even kernel has one place more before than after.
        padded = F.pad(x_BTW.mT, (kernel // 2, (kernel - 1) // 2))
        return self.activation(F.conv1d(padded, weight, self.bias, groups=self.groups)).mT


class WaveStem(nn.Module):
    """Convolutions over the samples, a projection, and convolutional positions: wav2vec 2.0 and HuBERT.

    Baevski et al. 2020, https://arxiv.org/abs/2006.11477; Hsu et al. 2021, https://arxiv.org/abs/2106.07447.
    """

    def __init__(self, shape: WaveShape, width: int, *, initial_std: float = 0.02) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.ModuleList(WaveLayer(shape, layer) for layer in range(len(shape.channels)))
        last = shape.channels[-1]
        self.projection_norm = LayerNorm(last, eps=shape.norm_epsilon) if shape.projection_norm else nn.Identity()
        self.projection = nn.Linear(last, width)
        self.positions = ConvolutionalPositions(width, shape)
        _initialise(self.projection, initial_std)

    def forward(self, samples_BN: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        """Samples (B, N) → (B, T, W).

        Args:
            frame_mask: (B, T), True on frames of real sound; see `frame_mask`.

        Raises:
            ValueError: there are too few samples for one frame.
        """
        if not self.shape.frames(torch.tensor(samples_BN.shape[1])):
            raise ValueError(f"{samples_BN.shape[1]} samples are too few for one frame; give a longer recording")
        x = samples_BN[:, None]
        for layer in self.layers:
            x = layer(x)
        x_BTW = self.projection(self.projection_norm(x.mT))
        if frame_mask is not None:
            x_BTW = x_BTW.masked_fill(~frame_mask[..., None], 0.0)  # the positions' convolution reaches into the padding
        return x_BTW + self.positions(x_BTW)

    def frame_mask(self, sample_mask: Tensor) -> Tensor:
        """(B, N), True on real samples, which stand before the padding → (B, T), True on the frames made of them."""
        frames = self.shape.frames(sample_mask.long().sum(-1))
        longest = int(self.shape.frames(torch.tensor(sample_mask.shape[1])))
        return torch.arange(longest, device=sample_mask.device) < frames[:, None]


def _initialise(layer: nn.Linear | nn.Conv1d | nn.Conv2d, std: float) -> None:
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
