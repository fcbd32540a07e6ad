"""Picture files as pixels: what any of them says becomes the same few numbers, or is refused in one sentence.

Axes: C channels (red, green, blue), Y rows, X columns.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import numpy as np

from ..contracts.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

Fit = Literal["crop", "pad", "stretch"]
"""How a picture becomes square: its middle is kept; it is shown whole, with grey beside it; or its sides are made alike."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is read. Others that Pillow knows start programs (EPS), or nobody sends them."""
MOST_PIXELS = 40_000_000
"""More would take a minute and half a gigabyte; a small file can claim any number of them."""
MOST_ASPECT = 50
"""Times that one side may be longer than the other."""
BEHIND = (255, 255, 255)
"""What shines through where a picture is transparent: paper."""
BESIDE = (128, 128, 128)
"""What stands beside a picture that is shown whole."""


class Decoded(NamedTuple):
    """A picture, upright, in red, green and blue."""

    image: Image
    frames: int
    """Of an animation, of which the first is read; 1 for a picture that stands still."""


class Header(NamedTuple):
    """What a picture file says of itself before its pixels."""

    width: int
    height: int
    """As it is stored, in pixels."""
    orientation: int
    """How it is to be turned: EXIF's number from 1, which leaves it as it is, to 8."""

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height once it is turned."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)

    @classmethod
    def of(cls, content: bytes, where: str | None = None) -> Self:
        """Read it off a file's content; the errors are those of `decode`, of what comes before the pixels."""
        with _opened(content, where) as image:
            orientation = image.getexif().get(_ORIENTATION, 1)
            size = image.size
            if image.format == "TIFF" and orientation in range(5, 9):
                size = size[::-1]  # Pillow says the upright one's
            return cls(*size, orientation if orientation in range(1, 9) else 1)


_ORIENTATION = 0x0112
"""EXIF's tag."""


def decode(content: bytes, where: str | None = None, *, least: int | None = None) -> Decoded:
    """A picture file's content → the picture: turned as its camera says (EXIF), over white where it is transparent, in 8 bits.

    Args:
        where: what an error says that it is of.
        least: a JPEG may be decoded at a half, a quarter or an eighth of its size as long as both sides keep so many pixels.

    Raises:
        UserError: it is no picture, damaged, too large, or its numbers say no brightness.
    """
    from PIL import ImageOps

    with _opened(content, where) as image:
        if least is not None:
            image.draft(None, (least, least))
        frames = int(getattr(image, "n_frames", 1))
        image.seek(0)
        image.load()
        return Decoded(_as_rgb(ImageOps.exif_transpose(image), where), frames)


@contextmanager
def _opened(content: bytes, where: str | None) -> Iterator[Image]:
    """The file, opened and of a size that can be read; what goes wrong with it becomes one sentence."""
    from PIL import Image, UnidentifiedImageError

    try:
        # What Pillow only warns of is larger than what is refused here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            _check_size(image, where)
            yield image
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(f"the picture has more than {MOST_PIXELS / 1e6:.0f} megapixels", where=where, fix="make it smaller") from None
    except UnidentifiedImageError:
        fix = f"save it as one of {', '.join(FORMATS)}"
        raise UserError("the file is no picture that can be read", where=where, fix=fix) from None
    except Exception as error:  # noqa: BLE001 - a damaged file makes Pillow's decoders raise nearly anything
        raise UserError(f"the picture is damaged ({error or type(error).__name__})", where=where, fix="save or fetch it again") from None


def square(image: Image, size: int, fit: Fit, where: str | None = None) -> np.ndarray:
    """The picture as `size` × `size` pixels, (C, Y, X) uint8. One that is of that size already stays as it is, to the last bit.

    Raises:
        UserError: it is so narrow that nothing would be left of it.
    """
    from PIL import Image, ImageOps

    if max(image.size) > MOST_ASPECT * min(image.size):
        what = f"the picture is {image.width}×{image.height} pixels, too narrow to make a square of"
        raise UserError(what, where=where, fix=f"cut it so that no side is more than {MOST_ASPECT} times the other")
    wanted = (size, size)
    if image.size != wanted:
        method = Image.Resampling.BICUBIC
        if fit == "crop":
            image = ImageOps.fit(image, wanted, method)
        elif fit == "pad":
            image = ImageOps.pad(image, wanted, method, color=BESIDE)
        else:
            image = image.resize(wanted, method)
    return np.ascontiguousarray(np.asarray(image, np.uint8).transpose(2, 0, 1))


def read_square(content: bytes, size: int, fit: Fit, where: str | None = None) -> tuple[np.ndarray, int]:
    """A picture file's content → (C, Y, X) uint8, and its number of frames."""
    found = decode(content, where, least=2 * size)
    return square(found.image, size, fit, where), found.frames


def media_type(content: bytes) -> str:
    """The media type of a picture file: image/png, say."""
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        return str(image.get_format_mimetype() or "application/octet-stream")


def png(pixels_CYX: np.ndarray) -> bytes:
    """Pixels (C, Y, X) uint8 as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels_CYX.transpose(1, 2, 0))).save(file, "PNG", optimize=True)
    return file.getvalue()


def encoded(pixels_CYX: np.ndarray, kind: Literal["png", "jpeg", "webp"]) -> bytes:
    """Pixels (C, Y, X) uint8 as a picture file."""
    from PIL import Image

    if kind == "png":
        return png(pixels_CYX)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels_CYX.transpose(1, 2, 0))).save(file, kind.upper(), quality=95)
    return file.getvalue()


def sheet(pictures_NCYX: np.ndarray, across: int, *, least: int = 64, gap: int = 4) -> np.ndarray:
    """Pictures of one size, row by row on white, as the pixels of one (C, Y, X); small ones are shown with whole pixels larger.

    Args:
        across: pictures in a row.
        least: pixels a side of a picture, at least.
    """
    times = max(1, -(-least // pictures_NCYX.shape[-1]))
    larger = pictures_NCYX.repeat(times, 2).repeat(times, 3)
    count, channels, height, width = larger.shape
    rows = -(-count // across)
    drawn = np.full((channels, rows * (height + gap) + gap, across * (width + gap) + gap), 255, np.uint8)
    for number, picture in enumerate(larger):
        down, right = gap + number // across * (height + gap), gap + number % across * (width + gap)
        drawn[:, down : down + height, right : right + width] = picture
    return drawn


def thumbnail(content: bytes, size: int = 96) -> str:
    """A small copy of a picture as a `data:` URL of a PNG, its longer side `size` at most."""
    image = decode(content, least=2 * size).image
    image.thumbnail((size, size))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _check_size(image: Image, where: str | None) -> None:
    if image.width * image.height > MOST_PIXELS:
        megapixels = image.width * image.height / 1e6
        what = f"the picture has {megapixels:,.0f} megapixels, and at most {MOST_PIXELS / 1e6:.0f} are read"
        raise UserError(what, where=where, fix="make it smaller")


def _as_rgb(image: Image, where: str | None) -> Image:
    """Any mode of Pillow's → RGB."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        numbers = np.asarray(image)
        if image.mode.startswith("F") or numbers.min() < 0 or numbers.max() > 65_535:
            raise UserError("the picture's numbers say no brightness", where=where, fix="save it with 8 or 16 bits a pixel")
        image = Image.fromarray((numbers / 257).round().astype(np.uint8))  # 65535 is white
    if image.has_transparency_data:
        behind = Image.new("RGBA", image.size, (*BEHIND, 255))
        image = Image.alpha_composite(behind, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")
