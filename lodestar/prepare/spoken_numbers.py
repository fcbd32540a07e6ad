"""Numbers as they are said, in English and Chinese.

English is the American way, without "and" ("one hundred five"). In Chinese a leading 2 of hundreds is 二, of thousands and more 两, as
Mandarin commonly says them.
"""

from __future__ import annotations

LARGEST = 10**15
"""From here on a number is read digit by digit."""

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (100, "hundred"))
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
_DIGITS = "零一二三四五六七八九"
_PLACES = ((1000, "千"), (100, "百"), (10, "十"))


def english_cardinal(number: int) -> str:
    """`105` → "one hundred five"."""
    if number < 0:
        return f"minus {english_cardinal(-number)}"
    if number >= LARGEST:
        return english_digits(str(number))
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f" {_ONES[ones]}" if ones else "")
    size, name = next((size, name) for size, name in _SCALES if number >= size)
    many, rest = divmod(number, size)
    return f"{english_cardinal(many)} {name}" + (f" {english_cardinal(rest)}" if rest else "")


def english_ordinal(number: int) -> str:
    """`21` → "twenty first"."""
    *before, last = english_cardinal(number).split()
    regular = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return " ".join([*before, _ORDINALS.get(last, regular)])


def english_year(year: int) -> str:
    """`1984` → "nineteen eighty four"; `2005` → "two thousand five"."""
    century, rest = divmod(year, 100)
    if not 1000 <= year < 10_000 or (year % 1000) < 10:
        return english_cardinal(year)
    if rest == 0:
        return f"{english_cardinal(century)} hundred"
    return f"{english_cardinal(century)} {'oh ' if rest < 10 else ''}{english_cardinal(rest)}"


def english_digits(digits: str) -> str:
    """`"407"` → "four zero seven"."""
    return " ".join(_ONES[int(digit)] for digit in digits)


def english_decimal(whole: str, part: str) -> str:
    """`"3", "14"` → "three point one four"."""
    return f"{english_cardinal(int(whole))} point {english_digits(part)}" if part else english_cardinal(int(whole))


def chinese_cardinal(number: int) -> str:
    """`10050` → 一万零五十."""
    if number < 0:
        return "负" + chinese_cardinal(-number)
    if number >= LARGEST:
        return chinese_digits(str(number))
    said = _chinese(number)
    return said[1:] if said.startswith("一十") else said  # 十二, but 一百一十二


def _chinese(number: int) -> str:
    for size, name in ((10**12, "万亿"), (10**8, "亿"), (10**4, "万")):
        if number >= size:
            many, rest = divmod(number, size)
            head = "两" if many == 2 else _chinese(many)
            gap = "零" if 0 < rest < size // 10 else ""
            return head + name + (gap + _chinese(rest) if rest else "")
    return _below_ten_thousand(number)


def _below_ten_thousand(number: int) -> str:
    if number < 10:
        return _DIGITS[number]
    size, name = next((size, name) for size, name in _PLACES if number >= size)
    many, rest = divmod(number, size)
    head = "两" if many == 2 and size == 1000 else _DIGITS[many]
    gap = "零" if 0 < rest < size // 10 else ""
    return head + name + (gap + _below_ten_thousand(rest) if rest else "")


def chinese_digits(digits: str) -> str:
    """`"2026"` → 二零二六."""
    return "".join(_DIGITS[int(digit)] for digit in digits)


def chinese_decimal(whole: str, part: str) -> str:
    """`"3", "14"` → 三点一四."""
    return f"{chinese_cardinal(int(whole))}点{chinese_digits(part)}" if part else chinese_cardinal(int(whole))
