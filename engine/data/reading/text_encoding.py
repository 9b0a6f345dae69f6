"""Text files that are not UTF-8, told by name, line and words before half of them is dropped."""

import codecs
from collections.abc import Iterable
from pathlib import Path

from engine.problems import Refusal

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_KOREAN = range(0xAC00, 0xD7A4)
"""Hangul, which Korean spreadsheets write in cp949."""
_FEWEST_LINES, _LEAST_SHARE = 2, 0.005
"""Fewer lines that are not UTF-8 are damaged rows, each dropped by itself."""
_LOOKED_AT, _SHOWN = 1000, 60


def require_utf8(origin: Path, lines: Iterable[bytes]) -> None:
    """See that a file's lines are UTF-8. Raises `Refusal` where many are in another encoding.

    A file in which other letters than ASCII's are UTF-8 elsewhere is only damaged.
    """
    foreign: list[tuple[int, bytes]] = []
    number, count, is_mixed = 0, 0, False
    for number, line in enumerate(lines, 1):
        if number == 1 and line[:2] in _UTF_16:
            fix = f"Save it as UTF-8: iconv -f utf-16 -t utf-8 {origin.name} > utf8{origin.suffix}"
            raise Refusal.of(str(origin), "the file is UTF-16", fix)
        if line.removeprefix(codecs.BOM_UTF8).isascii():
            continue
        try:
            line.decode("utf-8")
            is_mixed = True
        except UnicodeDecodeError:
            count += 1
            foreign += [(number, line)] if count <= _LOOKED_AT else []
    if is_mixed or count < max(_FEWEST_LINES, number * _LEAST_SHARE):
        return
    encoding = _encoding([line for _, line in foreign])
    if encoding:
        first, line = foreign[0]
        words = line.decode(encoding).strip()[:_SHOWN]
        reason = (
            f"{count} of {number} lines are not UTF-8; read as {encoding} this one is {words!r}"
        )
        fix = f"Write it anew: iconv -f {encoding} -t utf-8 {origin.name} > utf8{origin.suffix}"
        raise Refusal.of(f"{origin}:{first}", reason, fix)


def not_utf8(row: bytes) -> str:
    """Why a row that is not UTF-8 is dropped, with the encoding that it seems to be in."""
    encoding = _encoding([row])
    return f"bytes that are not UTF-8{f'; they read as {encoding}' if encoding else ''}"


def _encoding(lines: list[bytes]) -> str:
    """Which of the encodings of spreadsheets the lines are in; empty where in none."""
    for encoding in ("cp949", "cp1252"):
        try:
            text = "".join(line.decode(encoding) for line in lines)
        except UnicodeDecodeError:
            continue
        letters = [letter for letter in text if not letter.isascii()]
        hangul = sum(ord(letter) in _KOREAN for letter in letters)
        if encoding == "cp1252" or hangul > len(letters) / 2:
            return encoding
    return ""
