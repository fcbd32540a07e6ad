"""What was said and when, in the forms that players and OpenAI's clients read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .speech import Segment, joined

SUBTITLE_WORDS, SUBTITLE_SECONDS = 14, 6.0
"""A cue holds no more: two lines, and as long as an eye needs for them. # assumed; of Chinese, as many characters"""


def verbose(segments: Sequence[Segment], duration: float, *, by_word: bool) -> dict[str, Any]:
    """As OpenAI's `verbose_json`: text, duration in seconds, segments, and where asked for each word."""
    told = [
        {"id": place, "start": one.start, "end": one.end, "text": one.text, "avg_logprob": round(one.log_probability, 4)}
        for place, one in enumerate(segments)
    ]
    answer: dict[str, Any] = {"duration": round(duration, 3), "text": joined(one.text for one in segments), "segments": told}
    if by_word:
        answer["words"] = [{"word": text, "start": start, "end": end} for one in segments for text, start, end in one.words]
    return answer


def subrip(segments: Sequence[Segment]) -> str:
    """SubRip: .srt."""
    cues = (f"{place}\n{_time(start, ',')} --> {_time(end, ',')}\n{text}\n" for place, (text, start, end) in enumerate(_cues(segments), 1))
    return "\n".join(cues)


def webvtt(segments: Sequence[Segment]) -> str:
    """WebVTT: .vtt. https://www.w3.org/TR/webvtt1/"""
    cues = (f"\n{_time(start, '.')} --> {_time(end, '.')}\n{_escaped(text)}\n" for text, start, end in _cues(segments))
    return "".join(("WEBVTT\n", *cues))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cues(segments: Sequence[Segment]) -> list[tuple[str, float, float]]:
    """Text, start and end of each cue: a segment, or as many of its words as fit."""
    cues: list[tuple[str, float, float]] = []
    for segment in segments:
        begin = 0
        for place in range(1, len(segment.words) + 1):
            words = segment.words[begin:place]
            full = len(words) == SUBTITLE_WORDS or place == len(segment.words) or segment.words[place][2] - words[0][1] > SUBTITLE_SECONDS
            if full:
                cues.append((joined(word for word, _, _ in words), words[0][1], words[-1][2]))
                begin = place
    return cues


def _time(seconds: float, mark: str) -> str:
    """1.5 → 00:00:01.500."""
    thousandths = math.floor(seconds * 1_000 + 0.5)
    whole, rest = divmod(thousandths, 1_000)
    return f"{whole // 3_600:02}:{whole // 60 % 60:02}:{whole % 60:02}{mark}{rest:03}"
