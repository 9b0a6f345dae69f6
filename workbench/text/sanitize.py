"""Text that isn't ours, made harmless for a terminal: data, answers, logs, names, errors."""

import json
from pathlib import PurePath
from typing import Any

_LIMIT = 20_000
_PICTURES = 0x2400
"""Unicode's pictures of control characters begin here, in the order of the characters."""
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_HIDDEN = (
    *range(0x80, 0xA0),  # C1 controls: 0x9b begins an escape sequence
    0x00AD,
    0x061C,
    0x180E,
    0x200B,
    0x200E,
    0x200F,
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    0xFEFF,
    *range(0xFFF9, 0xFFFC),
)
_TABLE: dict[int, str] = {
    **{code: chr(_PICTURES + code) for code in range(0x20)},
    **dict.fromkeys(_HIDDEN, _REPLACEMENT),
    **dict.fromkeys(range(0xD800, 0xE000), _REPLACEMENT),
    **dict.fromkeys(range(0xE0000, 0xE0080), _REPLACEMENT),
    0x7F: "\N{SYMBOL FOR DELETE}",
    ord("\t"): "    ",
}
del _TABLE[ord("\n")]
_JSON_ESCAPES = {code: json.dumps(chr(code)).strip('"') for code in (*_TABLE, 0x7F)}
_JSON_ESCAPES |= {0x7F: "\\u007f", ord("\t"): "\t", ord("\r"): " "}


def sanitize(text: object, limit: int = _LIMIT) -> str:
    """The text with every control, direction and invisible character made visible.

    Line breaks stay, whatever their spelling; what is beyond the limit is counted, not shown.
    """
    shown = (text if isinstance(text, str) else str(text)).replace("\r\n", "\n")
    if len(shown) > limit:
        shown = f"{shown[:limit]} ...[{len(shown) - limit} characters more]"
    return shown if shown.isascii() and shown.isprintable() else shown.translate(_TABLE)


def sanitize_line(text: object, limit: int = _LIMIT) -> str:
    """The text on one line: breaks and runs of blanks become one blank."""
    return " ".join(sanitize(text, limit).split())


def harmless_json(line: bytes) -> bytes:
    """A line that may be JSON, with such characters as JSON's escapes; what it says is the same."""
    text = line.decode("utf-8", "replace")
    return line if text.isprintable() else text.translate(_JSON_ESCAPES).encode()


def as_json(document: Any) -> str:
    """A document as a line of JSON that is harmless, and readable in every language."""
    text = json.dumps(document, ensure_ascii=False)
    return text if text.isprintable() else text.translate(_JSON_ESCAPES)


def sanitize_path(path: PurePath) -> str:
    """A path in full, harmless."""
    return sanitize_line(str(path))
