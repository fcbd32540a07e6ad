"""A page that the team reads, as PDF: the HTML is the one source, laid out by WeasyPrint (decisions/0017-brief-as-pdf.md)."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from ..contracts.errors import UserError, missing_extra
from ..contracts.language import say

SCALES = (1.0, 0.93, 0.86, 0.8, 0.74, 0.68)
"""How small a page may be printed to fit: body text of 13 px, which is 9.8 points, is 6.6 at the last."""
_WIDTH_MM, _HEIGHT_MM = 210, 297
_NO_GLYPH = re.compile(r"\.notdef glyph rendered for Unicode string unsupported by fonts: (.*)", re.DOTALL)


def one_page(html: str) -> bytes:
    """A page of A4, printed smaller where it needs to be.

    Raises:
        UserError: WeasyPrint or its libraries are missing, no font has a character, or it is too long even at the smallest print.
    """
    weasyprint = _weasyprint()
    sheet = Path(__file__).with_name("pdf.css").read_text("utf-8")
    for scale in SCALES:
        # A larger sheet that is scaled down: every length on it shrinks alike.
        size = f"@page {{ size: {_WIDTH_MM / scale:.3f}mm {_HEIGHT_MM / scale:.3f}mm }}"
        # Behind the page's own rules, which would win over a sheet that is given beside them.
        document = weasyprint.HTML(string=html.replace("</style>", f"{sheet}{size}</style>", 1)).render()
        if len(document.pages) == 1:
            with _every_character():
                return bytes(document.write_pdf(zoom=scale))
        if len(document.pages) > (1 / SCALES[-1]) ** 2 + 1:
            break  # not even half the size would do
    raise UserError(
        say("the brief does not fit on one page, however small it is printed", "简报即使缩到最小也放不进一页"),
        where="venture.yaml",
        fix=say("shorten the statement, the reasons or the lists", "请精简承诺、理由或列表"),
    )


def _weasyprint() -> ModuleType:
    from PIL import ImageFile

    told, truncated = io.StringIO(), ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            import weasyprint
    except ImportError:
        raise missing_extra("weasyprint", "brief", why=say("a brief as PDF", "生成 PDF 简报")) from None
    except OSError:
        raise UserError(
            say("a brief as PDF needs the library Pango, and it is not installed", "生成 PDF 简报需要 Pango 库，而本机没有安装"),
            fix=say(
                "install it with your system's packages: `apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0`, or "
                "`brew install pango`",
                "请用系统的软件包安装：`apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0`，或 `brew install pango`",
            ),
        ) from None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = truncated  # the import makes whoever reads pictures take half ones
    found: ModuleType = weasyprint
    return found


class _Missing(logging.Handler):
    """Hears of characters that no font has."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.characters: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if found := _NO_GLYPH.match(record.getMessage()):
            self.characters.append(found[1])


@contextmanager
def _every_character() -> Iterator[None]:
    """Refuse a print with boxes in the place of characters; WeasyPrint tells of them in its log alone."""
    heard, logger = _Missing(), logging.getLogger("weasyprint")
    logger.addHandler(heard)
    try:
        yield
    finally:
        logger.removeHandler(heard)
    if heard.characters:
        shown = " ".join(heard.characters[:3])
        raise UserError(
            say(f"no font on this computer has the characters {shown}", f"本机没有含 {shown} 等字符的字体"),
            fix=say(
                "install one, Noto Sans CJK for Chinese say: `apt install fonts-noto-cjk`",
                "请安装字体，例如思源黑体：`apt install fonts-noto-cjk`",
            ),
        )
