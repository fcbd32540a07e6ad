"""Text as it is said: numbers, dates, times, money, units, signs and abbreviations written out, in English and Chinese.

What is read has two languages at once, and a number is of neither: it is said in the language of the word before it, or of the one after it
where there is none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Literal

from .spoken_numbers import (
    chinese_cardinal,
    chinese_decimal,
    chinese_digits,
    english_cardinal,
    english_decimal,
    english_digits,
    english_ordinal,
    english_year,
)

Language = Literal["en", "zh"]
Say = Callable[[re.Match[str], Language], str]

HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_LETTER = re.compile(rf"[A-Za-z{HAN}]")
_MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
_NUMBER = r"\d{1,3}(?:,\d{3})+|\d+"
_POINT = rf"(?P<whole>{_NUMBER})(?:\.(?P<part>\d+))?"

_MONEY = {
    "$": ("dollar", "dollars", "美元"), "€": ("euro", "euros", "欧元"), "£": ("pound", "pounds", "英镑"), "¥": ("yuan", "yuan", "元"),
}  # fmt: skip
_UNITS = {
    "km/h": ("kilometers per hour", "公里每小时"), "m/s": ("meters per second", "米每秒"), "km": ("kilometers", "公里"),
    "cm": ("centimeters", "厘米"), "mm": ("millimeters", "毫米"), "kg": ("kilograms", "公斤"), "mg": ("milligrams", "毫克"),
    "ml": ("milliliters", "毫升"), "ms": ("milliseconds", "毫秒"), "kHz": ("kilohertz", "千赫"), "MHz": ("megahertz", "兆赫"),
    "GHz": ("gigahertz", "吉赫"), "Hz": ("hertz", "赫兹"), "GB": ("gigabytes", "吉字节"), "MB": ("megabytes", "兆字节"),
    "kW": ("kilowatts", "千瓦"), "°C": ("degrees Celsius", "摄氏度"), "°F": ("degrees Fahrenheit", "华氏度"), "°": ("degrees", "度"),
    "%": ("percent", ""), "m": ("meters", "米"), "g": ("grams", "克"), "s": ("seconds", "秒"),
}  # fmt: skip
_ABBREVIATIONS = {
    "Mr.": "mister", "Mrs.": "missis", "Ms.": "miss", "Dr.": "doctor", "Prof.": "professor", "St.": "saint", "Jr.": "junior",
    "Sr.": "senior", "vs.": "versus", "etc.": "et cetera", "e.g.": "for example", "i.e.": "that is", "approx.": "approximately",
    "dept.": "department", "Jan.": "January", "Feb.": "February", "Mar.": "March", "Apr.": "April", "Aug.": "August",
    "Sept.": "September", "Oct.": "October", "Nov.": "November", "Dec.": "December",
}  # fmt: skip
_SIGNS = {
    "&": ("and", "和"), "@": ("at", "艾特"), "+": ("plus", "加"), "=": ("equals", "等于"), "×": ("times", "乘以"),
    "÷": ("divided by", "除以"), "#": ("number", "井号"), "%": ("percent", "百分号"), "°": ("degrees", "度"), "/": ("slash", "斜杠"),
    "\\": ("backslash", "反斜杠"), "_": ("underscore", "下划线"), "|": ("bar", "竖线"), "^": ("caret", "脱字符"),
    "<": ("less than", "小于"), ">": ("greater than", "大于"), "*": ("star", "星号"), "~": ("tilde", "波浪号"),
    "$": ("dollar", "美元"), "€": ("euro", "欧元"), "£": ("pound", "英镑"), "¥": ("yuan", "元"), "`": ("backtick", "反引号"),
}  # fmt: skip
_MEASURES = "个名位条只张本杯次天年件种把辆台座家所间层点遍倍周斤米口头匹双对群碗瓶盒块片首句篇"
"""Measure words, before which 2 is 两."""
_QUOTES = str.maketrans(
    {"‘": "'", "’": "'", "ʼ": "'", "“": '"', "”": '"', "—": ",", "–": "-", "…": ".", "·": " ", "¥": "¥", "−": "-", "、": ",", "。": "."}
)


def spoken_text(text: str) -> str:
    """What is said of a text: letters, Chinese characters, apostrophes and marks of pauses are left, as far as the text is English or
    Chinese; other signs stay as they are, for the reader to refuse.
    """
    text = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    text = _unaccented(text)
    for short, long in _ABBREVIATIONS.items():
        text = re.sub(rf"(?<![A-Za-z.]){re.escape(short)}", long, text)
    text = _initials(text)
    for pattern, say in _RULES:
        text = pattern.sub(_saying(text, say), text)
    return " ".join(text.split())


def _unaccented(text: str) -> str:
    """Latin letters without their accents: é as e."""
    apart = (unicodedata.normalize("NFD", sign) if unicodedata.name(sign, "").startswith("LATIN") else sign for sign in text)
    return "".join(part[0] if len(part) > 1 and part[0].isascii() else part for part in apart)


def _initials(text: str) -> str:
    """Capitals alone are spelled: "the U.S. and an AI" → "the U S and an A I"; a text that is all in capitals is not."""
    text = re.sub(r"\b(?:[A-Za-z]\.){2,}(?=\W|$)", lambda match: " ".join(match[0].replace(".", "")), text)
    if not re.search(r"[a-z]", text) and re.search(r"[A-Z]{6,}|[A-Z] [A-Z]{2,}", text):
        return text
    return re.sub(r"(?<![A-Za-z])[A-Z]{2,5}(?![A-Za-z])", lambda match: " ".join(match[0]), text)


def _saying(text: str, say: Say) -> Callable[[re.Match[str]], str]:
    """What replaces a match: what is said, with blanks around English."""

    def replaced(match: re.Match[str]) -> str:
        language = _language_at(text, match.start(), match.end())
        said = say(match, language)
        return f" {said} " if language == "en" else said

    return replaced


def _language_at(text: str, start: int, end: int) -> Language:
    """The language of the last letter before a place, or of the first one after it; English where there is no letter at all."""
    before = list(_LETTER.finditer(text, max(start - 40, 0), start))
    letter = before[-1] if before else _LETTER.search(text, end)
    return "en" if letter is None or letter[0].isascii() else "zh"


def _date(match: re.Match[str], language: Language) -> str:
    year, month, day = int(match["year"]), int(match["month"]), int(match["day"])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        joint = " slash " if language == "en" else "斜杠"
        return joint.join(_cardinal(each, language) for each in (year, month, day))
    if language == "zh":
        return f"{chinese_digits(match['year'])}年{chinese_cardinal(month)}月{chinese_cardinal(day)}日"
    return f"{_MONTHS[month - 1]} {english_ordinal(day)}, {english_year(year)}"


def _time(match: re.Match[str], language: Language) -> str:
    hour, minute, half = int(match["hour"]), int(match["minute"]), (match["half"] or "").lower()
    if language == "zh":
        said = "零" if 0 < minute < 10 else ""
        return f"{_two(hour)}点" + (f"{said}{chinese_cardinal(minute)}分" if minute else "整")
    minutes = "" if minute == 0 else f" oh {english_cardinal(minute)}" if minute < 10 else f" {english_cardinal(minute)}"
    ending = f" {half[0]} m" if half else (" o'clock" if minute == 0 else "")
    return english_cardinal(hour) + minutes + ending


def _money(match: re.Match[str], language: Language) -> str:
    one, many, chinese = _MONEY[match["sign"]]
    number, scale = _decimal(match, language), match["scale"] or ""
    if language == "zh":
        return number + scale + chinese
    whole, part = match["whole"], match["part"] or ""
    if not scale and len(part) == 2 and match["sign"] in "$€":
        whole_said, cents = _money_name(whole, one, many), int(part)
        return f"{whole_said} {english_cardinal(cents)}" if cents else whole_said
    return " ".join(filter(None, (number, scale.strip(), many))) if scale or part else _money_name(whole, one, many)


def _money_name(whole: str, one: str, many: str) -> str:
    """`"1"` → "one dollar"."""
    return f"{english_cardinal(int(whole.replace(',', '')))} {one if whole == '1' else many}"


def _unit(match: re.Match[str], language: Language) -> str:
    english, chinese = _UNITS[match["unit"]]
    if language == "zh":
        return "百分之" + _decimal(match, language) if match["unit"] == "%" else _decimal(match, language) + chinese
    alone = match["whole"] == "1" and not match["part"]
    return f"{_decimal(match, language)} {_singular(english) if alone else english}"


def _singular(plural: str) -> str:
    """Of a unit: "kilometers per hour" → "kilometer per hour"; hertz and percent have none."""
    first, blank, rest = plural.partition(" ")
    return (first[:-1] if first.endswith("s") else first) + blank + rest


def _decimal(match: re.Match[str], language: Language) -> str:
    whole, part = match["whole"].replace(",", ""), match["part"] or ""
    if language == "en":
        return english_decimal(whole, part)
    if whole == "2" and not part and match.string[match.end() :][:1] in tuple(_MEASURES):
        return "两"
    return chinese_decimal(whole, part)


def _number(match: re.Match[str], language: Language) -> str:
    whole = match["whole"]
    if not match["part"] and ((len(whole) >= 7 and "," not in whole) or (len(whole) > 1 and whole.startswith("0"))):
        return english_digits(whole) if language == "en" else chinese_digits(whole)  # a telephone's, or a code
    if language == "en" and not match["part"] and "," not in whole and 1100 <= int(whole) < 2100:
        return english_year(int(whole))
    return _decimal(match, language)


def _fraction(match: re.Match[str], language: Language) -> str:
    over, under = int(match["over"]), int(match["under"])
    if language == "zh":
        return f"{chinese_cardinal(under)}分之{chinese_cardinal(over)}"
    return f"{english_cardinal(over)} over {english_cardinal(under)}"


def _cardinal(number: int, language: Language) -> str:
    return english_cardinal(number) if language == "en" else chinese_cardinal(number)


def _two(number: int) -> str:
    return "两" if number == 2 else chinese_cardinal(number)


_RULES: tuple[tuple[re.Pattern[str], Say], ...] = (
    (re.compile(r"(?<!\d)(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})(?!\d)"), _date),
    (re.compile(r"(?P<year>\d{4})(?=年)"), lambda match, _: chinese_digits(match["year"])),
    (re.compile(r"(?<![\d:])(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?![\d:])(?:\s?(?P<half>[AaPp])\s?\.?[Mm]\b\.?)?"), _time),
    (re.compile(r"(?<=\d)\s?[-~]\s?(?=\d)"), lambda _, language: "to" if language == "en" else "到"),
    (re.compile(rf"(?<![A-Za-z\d)])-(?={_NUMBER})"), lambda _, language: "minus" if language == "en" else "负"),
    (re.compile(rf"(?P<sign>[$€£¥])\s?{_POINT}(?P<scale>\s(?:thousand|million|billion|trillion)\b|[万亿]+)?"), _money),
    (re.compile(r"(?<![\w])(?P<n>\d{1,9})(?:st|nd|rd|th)\b"), lambda match, _: english_ordinal(int(match["n"]))),
    (re.compile(rf"{_POINT}\s?(?P<unit>{'|'.join(map(re.escape, _UNITS))})(?![A-Za-z])"), _unit),
    (re.compile(r"(?<![\d/])(?P<over>\d{1,3})/(?P<under>\d{1,3})(?![\d/])"), _fraction),
    (re.compile(_POINT), _number),
    (re.compile(f"[{re.escape(''.join(_SIGNS))}]"), lambda match, language: _SIGNS[match[0]][0 if language == "en" else 1]),
)
"""In the order in which they are applied: what is longer comes before what is a part of it."""
