"""What a word is, where nothing better is known."""

from __future__ import annotations

import re

UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Characters of Japanese and Chinese, which put no spaces between words, as ranges of a regular expression's class."""
WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
"""A word, or one of those characters."""
