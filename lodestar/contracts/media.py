"""Files that a record holds beside its text: pictures, recordings. A record keeps a file's name and the hash of its content; the bytes
stand elsewhere, once for all records that hold them, and are read when they are asked for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, cast

from pydantic import (
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from .config import Config
from .errors import UserError

if TYPE_CHECKING:
    import numpy as np

LARGEST_BYTES = 1 << 30
"""Of one file; a larger one is no picture, and no recording that a model could hear at once."""
STORE, FOLDER, CONTENT_ALONE = "store", "folder", "content_alone"
"""The context of a validation: where kept files are read from, and what paths are relative to. And of a serialisation: without names."""


class Store(Protocol):
    """Where the contents of kept files are."""

    def read(self, sha256: str) -> bytes: ...


class Media(Config):
    """A file of a record, as its user writes it: a path relative to the file that names it, a `data:` URL, or in Parquet its bytes."""

    KIND: ClassVar[str] = "file"
    """What a person calls it."""
    SUFFIXES: ClassVar[frozenset[str]] = frozenset()
    """Of the files that are such media, lower case, with the dot."""

    name: str
    """Where it came from, for a person: a path that is never absolute; empty where it came without one."""
    sha256: str
    """Of its content, in hex: two files with the same content are the same."""
    _content: bytes | None = PrivateAttr(None)
    _store: Store | None = PrivateAttr(None)

    @classmethod
    def of(cls, content: bytes, name: str = "") -> Self:
        """A file whose content is at hand."""
        made = cast(Self, cls.model_construct(name=name, sha256=hashlib.sha256(content).hexdigest()))
        made._content = content
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Media) and (self.name, self.sha256) == (other.name, other.sha256)

    def __hash__(self) -> int:
        return hash((self.name, self.sha256))

    def read(self) -> bytes:
        """Its content."""
        if self._content is not None:
            return self._content
        assert self._store is not None, "a kept file is read from the store that its record was read beside"
        return self._store.read(self.sha256)

    def data_url(self, kind: str) -> str:
        """Its content as a `data:` URL (RFC 2397) of a media type."""
        return f"data:{kind};base64,{base64.b64encode(self.read()).decode()}"

    @model_validator(mode="wrap")
    @classmethod
    def _from_any(cls, value: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        context: Mapping[str, Any] = info.context or {}
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            # Without a folder there are no paths: a request over HTTP reads no file of the server.
            return cls._from_text(value, context.get(FOLDER))
        if isinstance(value, bytes):
            return cls.of(value)
        if isinstance(value, Mapping) and "bytes" in value:  # the columns of pictures and sounds in Parquet, as `datasets` writes them
            content, path = value["bytes"], value.get("path")
            if isinstance(content, bytes):
                return cls.of(content, Path(path).name if isinstance(path, str) else "")
            return cls._from_text(str(path), context.get(FOLDER))
        made = handler(value)
        made._store = context.get(STORE)
        return made

    @classmethod
    def from_url(cls, url: str) -> Self:
        """The file that a `data:` URL holds.

        Raises:
            UserError: it is an address of another kind, or holds no base64.
        """
        return cls._from_text(url, None)

    @classmethod
    def _from_text(cls, text: str, folder: Path | None) -> Self:
        if text.startswith("data:"):
            return cls.of(content_of_url(text, cls.KIND))
        if folder is None:
            shown = text if len(text) <= 60 else f"{text[:57]}..."
            fix = "send its content as data:TYPE;base64,CONTENT"
            raise UserError(f"the {cls.KIND} {shown!r} is a path or an address, and neither is opened here", fix=fix)
        path = folder / Path(text).expanduser()
        return cls.of(read_file(path, cls.KIND), Path(text).name if Path(text).is_absolute() else Path(text).as_posix())

    @model_serializer(mode="wrap")
    def _kept(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        if info.context and info.context.get(CONTENT_ALONE):
            del fields["name"]
        return fields


class Picture(Media):
    """A picture."""

    KIND = "picture"
    SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"})

    @classmethod
    def of_pixels(cls, pixels_CYX: np.ndarray) -> Self:
        """Pixels (C, Y, X) uint8 as a PNG file."""
        import numpy as np
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels_CYX.transpose(1, 2, 0))).save(file, "PNG", optimize=True)
        return cls.of(file.getvalue())


class Recording(Media):
    """A recording of sound."""

    KIND = "recording"
    SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf"})


SoundFormat = Literal["mp3", "opus", "flac", "wav", "pcm"]
"""How sound that is made is written: pcm is bare samples of 16 bits, little-endian."""
SOUND_TYPES: Mapping[SoundFormat, str] = {
    "mp3": "audio/mpeg", "opus": "audio/ogg", "flac": "audio/flac", "wav": "audio/wav", "pcm": "audio/pcm",
}  # fmt: skip
"""Their media types."""
STREAMED: tuple[SoundFormat, ...] = ("wav", "pcm")
"""Those whose pieces can be sent before the last one is known."""


class PictureUrl(Config):
    """Where a picture of a request is: in the address itself."""

    url: str
    """`data:image/png;base64,CONTENT`; nothing is fetched."""
    detail: Literal["auto", "low", "high"] | None = None
    """OpenAI's; every picture is read at the model's own size."""


class ImagePart(Config):
    """A picture in a request, as a part of OpenAI's messages and of its moderations."""

    type: Literal["image_url"]
    image_url: PictureUrl

    @classmethod
    def of(cls, picture: Picture, kind: str) -> dict[str, Any]:
        """The part that sends a picture of this media type, as JSON."""
        return {"type": "image_url", "image_url": {"url": picture.data_url(kind)}}

    @property
    def content(self) -> bytes:
        """The picture's file; raises `UserError` where the URL is no base64 `data:` URL."""
        return Picture.from_url(self.image_url.url).read()


class SoundContent(Config):
    """A recording of a request."""

    data: str
    """The file's content in base64."""
    format: str = "wav"
    """OpenAI's; what the file is, it says itself."""


class SoundPart(Config):
    """A recording in a request, as a part of OpenAI's messages."""

    type: Literal["input_audio"]
    input_audio: SoundContent

    @classmethod
    def of(cls, recording: Recording, kind: str) -> dict[str, Any]:
        """The part that sends a recording of this format (wav, mp3, …), as JSON."""
        return {"type": "input_audio", "input_audio": {"data": base64.b64encode(recording.read()).decode(), "format": kind}}

    @property
    def content(self) -> bytes:
        """The recording's file; raises `UserError` where it is no base64."""
        return _decoded(self.input_audio.data, "the recording")


def read_file(path: Path, kind: str) -> bytes:
    """The content of a file that a record names.

    Raises:
        UserError: it is not there, cannot be read, or is too large.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise UserError(f"the {kind} is larger than {LARGEST_BYTES >> 30} GiB", where=path, fix="cut it, or leave it out")
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"no such {kind}", where=path, fix="give a path relative to the file that names it") from None
    except OSError as error:
        raise UserError(f"the {kind} cannot be read ({error.strerror or error})", where=path, fix="check the file") from None


def content_of_url(url: str, kind: str) -> bytes:
    """The bytes of a base64 `data:` URL (RFC 2397).

    Raises:
        UserError: it is none.
    """
    head, comma, content = url.partition(",")
    if not comma or not head.endswith(";base64"):
        raise UserError(f"the {kind}'s data: URL is not in base64", fix="write data:TYPE;base64,CONTENT")
    return _decoded(content, f"the {kind}'s data: URL")


def _decoded(content: str, what: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(f"{what} is no base64 ({error})", fix="encode the file's bytes again") from None
