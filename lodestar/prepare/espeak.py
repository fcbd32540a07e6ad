"""Recordings made by espeak-ng, where none are at hand: a program of Debian's and most others', which reads text by rules and formants.

espeak-ng is under the GNU GPL 3; it is run as a program of its own and no part of Lodestar. The sound that it makes is no copy of the
program, so that its licence says nothing of it (GNU's answers on the GPL: "the output of a program is not, in general, covered by the
copyright on the code of the program").
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ..contracts.errors import UserError
from ..contracts.progress import track
from ..contracts.randomness import generator

PROGRAM = "espeak-ng"
INSTALL = "sudo apt-get install espeak-ng"

_ENGLISH = {
    "who": "the captain|the cook|the pilot|my sister|our doctor|the old sailor|the young keeper|a fisherman",
    "did": "saw|found|painted|carried|lost|cleaned|repaired|sold",
    "what": "a small boat|the red lamp|two heavy ropes|the broken mast|a silver bell|seven wooden boxes|the long map|a warm coat",
    "where": "near the harbor|under the bridge|on the white island|behind the market|at the lighthouse|beside the river",
    "when": "this morning|last night|before the storm|on Monday|after dinner|every summer",
}
_CHINESE = {
    "who": "船长|厨师|舵手|妹妹|医生|老水手|守灯人|渔夫",
    "when": "今天早上|昨天晚上|暴风雨前|星期一|晚饭以后|每年夏天",
    "where": "在港口|在桥下|在白色的小岛上|在市场后面|在灯塔旁边|在河边",
    "did": "看见了|找到了|修好了|卖掉了|丢失了|画了",
    "what": "一条小船|红色的灯|两根粗绳|断了的桅杆|一口银钟|七个木箱|长长的地图|一件大衣",
}


def grammar(language: str, count: int, seed: int = 0) -> list[str]:
    """So many sentences of a small grammar of the project's own, no two alike; at most a few thousand."""
    parts = {name: each.split("|") for name, each in (_ENGLISH if language == "en" else _CHINESE).items()}
    draw, found = generator(seed, "sentences", language), dict[str, None]()
    while len(found) < count:
        chosen = {name: each[int(draw.integers(len(each)))] for name, each in parts.items()}
        found[_sentence(chosen, language)] = None
    return list(found)


def _sentence(chosen: dict[str, str], language: str) -> str:
    if language == "zh":
        return "{who}{when}{where}{did}{what}。".format(**chosen)
    said = "{who} {did} {what} {where} {when}.".format(**chosen)
    return said[0].upper() + said[1:]


def say(text: str, *, voice: str = "en-us", words_per_minute: int = 150) -> bytes:
    """A text as espeak-ng reads it: a WAV file.

    Raises:
        UserError: it is not installed, or does not know the voice.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise UserError(f"{PROGRAM} is not installed, and the recordings are to be made by it", fix=f"install it with: {INSTALL}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "said.wav"  # on its standard output the header would claim two gigabytes
        command = [program, "-v", voice, "-s", str(words_per_minute), "-w", str(file), "--", text]
        made = subprocess.run(command, capture_output=True, check=False)
        if made.returncode or not file.is_file():
            told = made.stderr.decode(errors="replace").strip().splitlines()
            what = f"{PROGRAM} does not say it with the voice {voice!r} ({told[-1] if told else 'no sound'})"
            raise UserError(what, fix=f"name one that `{PROGRAM} --voices` lists")
        return file.read_bytes()


@cache
def sample() -> Sequence[tuple[str, str, bytes]]:
    """Names, texts and WAV files: 200 sentences of English and 120 of Chinese, said by one voice of either language."""
    plan = [
        (f"{language}-{place}.wav", text, voice)
        for language, voice, count in (("en", "en-us", 200), ("zh", "cmn", 120))
        for place, text in enumerate(grammar(language, count))
    ]
    return [(name, text, say(text, voice=voice)) for name, text, voice in track(plan, PROGRAM, "sentence")]
