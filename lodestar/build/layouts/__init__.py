"""The forms of documents, by name; one file each."""

from collections.abc import Mapping

from .html import HTML
from .markdown import MARKDOWN
from .passage import Layout
from .plain import PLAIN
from .subtitles import SUBTITLES

LAYOUTS: Mapping[str, Layout] = {"plain": PLAIN, "markdown": MARKDOWN, "html": HTML, "subtitles": SUBTITLES}
