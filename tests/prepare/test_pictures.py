"""Picture files of every kind that people send, made here by Pillow, and what becomes of them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lodestar.contracts.errors import UserError
from lodestar.prepare.pictures import MOST_PIXELS, decode, encoded, media_type, png, read_square, sheet, square, thumbnail
from lodestar.prepare.signs import COLOURS, NAMES, SIGNS, captioned_signs, signs

RED, BLUE = (200, 16, 24), (12, 40, 220)


def halves(mode: str = "RGB", size: tuple[int, int] = (64, 64)) -> Image.Image:
    """The left half red, the right half blue."""
    image = Image.new("RGB", size, BLUE)
    image.paste(RED, (0, 0, size[0] // 2, size[1]))
    return image.convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def colours(content: bytes, size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """The colours in the middle of the left and of the right half."""
    pixels, _ = read_square(content, size, "crop")
    assert pixels.shape == (3, size, size)
    assert pixels.dtype == np.uint8
    return pixels[:, size // 2, 1], pixels[:, size // 2, -2]


@pytest.mark.parametrize(
    ("content", "tolerance"),
    [
        (saved(halves(), "PNG"), 0),
        (saved(halves(), "BMP"), 0),
        (saved(halves(), "TIFF"), 0),
        (saved(halves(), "PPM"), 0),
        (saved(halves(), "WEBP", lossless=True), 0),
        (saved(halves(), "JPEG", quality=95, subsampling=0), 6),
        (saved(halves("CMYK"), "JPEG", quality=95), 8),
        (saved(halves("CMYK"), "TIFF"), 2),
        (saved(halves().quantize(4), "PNG"), 2),
        (saved(halves().quantize(4), "GIF"), 2),
        (saved(halves("RGBA"), "PNG"), 0),
        (saved(halves(size=(1200, 800)), "JPEG", quality=95, subsampling=0), 6),  # decoded at a smaller scale
    ],
)
def test_colours_are_the_same_in_every_format_and_mode(content: bytes, tolerance: int) -> None:
    left, right = colours(content)
    assert np.abs(left.astype(int) - RED).max() <= tolerance
    assert np.abs(right.astype(int) - BLUE).max() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_camera_says(orientation: int) -> None:
    """EXIF 2.3, tag 0x0112: what undoes each of the eight ways in which a picture can lie in its file."""
    upright = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    lying = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright, 1), 7: np.rot90(upright, 1)[:, ::-1][::-1, ::-1].transpose(0, 1, 2),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    if orientation == 7:
        lying = upright[::-1, ::-1].transpose(1, 0, 2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(Image.fromarray(np.ascontiguousarray(lying)), "PNG", exif=exif)
    pixels, _ = read_square(content, 4, "crop")
    np.testing.assert_array_equal(pixels.transpose(1, 2, 0), upright)


def test_sixteen_bits_become_eight_and_a_palette_may_be_transparent() -> None:
    grey = np.linspace(0, 65_535, 64, dtype=np.uint16).reshape(8, 8)
    pixels, _ = read_square(saved(Image.fromarray(grey), "PNG"), 8, "crop")
    np.testing.assert_array_equal(pixels[0], (grey / 257).round())
    assert (pixels[0] == pixels[1]).all()
    clear = halves().quantize(4)
    transparent = clear.getpixel((0, 0))
    left, right = colours(saved(clear, "PNG", transparency=transparent))
    assert left.tolist() == [255, 255, 255]  # paper shines through
    assert np.abs(right.astype(int) - BLUE).max() <= 2
    half = halves("RGBA")
    half.putalpha(128)
    left, _ = colours(saved(half, "PNG"))
    assert np.abs(left.astype(int) - [(value * 128 + 255 * 127) // 255 for value in RED]).max() <= 1


def test_of_an_animation_the_first_frame_is_read_and_said() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE, RED)]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    pixels, count = read_square(content, 8, "crop")
    assert count == 3
    assert np.abs(pixels[:, 0, 0].astype(int) - RED).max() <= 2


def test_the_smallest_picture_is_one_and_a_thread_of_pixels_is_none() -> None:
    pixels, _ = read_square(png(np.array([7, 8, 9], np.uint8)[:, None, None]), 16, "crop")
    assert (pixels == np.array([7, 8, 9])[:, None, None]).all()
    with pytest.raises(UserError, match="the picture is 4000×2 pixels, too narrow to make a square of; cut it"):
        read_square(saved(Image.new("RGB", (4000, 2)), "PNG"), 16, "crop")


def test_a_wide_picture_is_cropped_padded_or_stretched() -> None:
    wide = Image.new("RGB", (30, 10), BLUE)
    wide.paste(RED, (10, 0, 20, 10))
    crop, pad, stretch = (square(wide, 30, fit) for fit in ("crop", "pad", "stretch"))
    assert np.abs(crop.astype(int) - np.array(RED)[:, None, None]).max() < 60
    assert pad[:, 15, 15].tolist() == list(RED)
    assert pad[:, 2, 15].tolist() == [128, 128, 128]
    assert stretch[:, 15, 2].tolist() == list(BLUE)
    assert stretch[:, 2, 15].tolist() == list(RED)


def claimed(width: int, height: int) -> bytes:
    """A PNG of some bytes that claims so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the file is no picture that can be read; save it as one of JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "the file is no picture that can be read"),
        (saved(halves(), "JPEG")[:400], "the picture is damaged"),
        (saved(halves(), "PNG")[:90], "the picture is damaged"),
        (claimed(8_000, 6_250), "the picture has 50 megapixels, and at most 40 are read; make it smaller"),
        (claimed(200_000, 200_000), "the picture has .*megapixels"),
        (claimed(64, 64), "the picture is damaged"),
        (saved(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF"), "the picture's numbers say no brightness; save it with 8 or 16"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_sentence(content: bytes, sentence: str) -> None:
    with pytest.raises(UserError, match=f"^cats/1.png: {sentence}"):
        decode(content, "cats/1.png")


def test_a_bomb_takes_no_memory(peak_of: Callable[[Callable[[], Any]], int]) -> None:
    """A megabyte that would be 150: the size stands in the header, and is read first."""
    content = saved(Image.new("1", (7_000, 7_000)), "PNG")
    assert MOST_PIXELS < 7_000**2

    def refused() -> None:
        with pytest.raises(UserError, match="megapixels"):
            decode(content)

    assert peak_of(refused) < 5_000_000


@pytest.fixture
def peak_of() -> Callable[[Callable[[], Any]], int]:
    """The most bytes that Python's allocator holds more while something is done."""
    import tracemalloc

    def measured(work: Callable[[], Any]) -> int:
        work()  # what is imported at the first time stays
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    return measured


def test_names_of_types_and_thumbnails() -> None:
    assert media_type(saved(halves(), "JPEG")) == "image/jpeg"
    assert media_type(saved(halves(), "WEBP")) == "image/webp"
    assert thumbnail(saved(halves(size=(300, 200)), "PNG")).startswith("data:image/png;base64,")
    rows = np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(rows)))).transpose(2, 0, 1), rows)


def test_signs_are_drawn_the_same_each_time_and_are_told_apart() -> None:
    first, again = list(signs(2)), list(signs(2))
    assert first == again
    assert [name for name, _ in first] == [*SIGNS, *SIGNS]
    assert len({content for _, content in first}) == len(first)
    for _, content in first:
        pixels, _ = read_square(content, 24, "crop")
        assert pixels.mean(0).std() > 10  # a sign can be seen on its ground


def test_captioned_signs_have_the_colours_that_they_are_said_to_have() -> None:
    drawn = list(captioned_signs(3))
    assert drawn == list(captioned_signs(3))
    assert {sign for sign in SIGNS for caption, _ in drawn if caption.en.split(" on ")[0].endswith(NAMES[sign].en)} == set(SIGNS)
    for caption, content in drawn:
        ink, ground = (next(c for c in COLOURS if c.en == word) for word in (caption.en.split()[1], caption.en.split()[-1]))
        assert caption.zh.startswith(f"{ground.zh}色背景上的{ink.zh}色")
        pixels = read_square(content, 24, "crop")[0].transpose(1, 2, 0).reshape(-1, 3).astype(int)
        corner = pixels[0] - COLOURS[ground]
        assert np.abs(corner).max() < 20
        assert np.abs(pixels - COLOURS[ink]).max(1).min() < 20


def test_a_sheet_holds_every_picture_in_its_place() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (5, 3, 4, 6), dtype=np.uint8)
    drawn = sheet(pictures, 3, least=12, gap=2)
    assert drawn.shape == (3, 2 * (8 + 2) + 2, 3 * (12 + 2) + 2)
    for number, picture in enumerate(pictures):
        down, right = 2 + number // 3 * 10, 2 + number % 3 * 14
        np.testing.assert_array_equal(drawn[:, down : down + 8 : 2, right : right + 12 : 2], picture)
    assert (drawn[:, 12:, 30:] == 255).all()


@pytest.mark.parametrize(("kind", "apart"), [("png", 0), ("webp", 12), ("jpeg", 12)])
def test_pixels_survive_each_kind_of_file(kind: str, apart: int) -> None:
    pixels = np.stack([np.full((16, 16), level, np.uint8) for level in (200, 90, 30)])
    assert np.abs(read_square(encoded(pixels, kind), 16, "crop")[0].astype(int) - pixels).max() <= apart  # type: ignore[arg-type]
