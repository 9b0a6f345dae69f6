"""Images that stand in rows as bytes, put into files that are called by their contents."""

import base64
import binascii
import hashlib
import re
from pathlib import Path
from typing import Any

from engine import atomic
from engine.data.conversation import UnusableRow
from engine.guarded import Json
from engine.problems import Refusal

_MARKS = (b"data:image", b"inlineData", b"inline_data")
"""What a line holds that has an image as a data: URI, or as Google writes one."""
_URI = re.compile(r"data:image/[\w.+-]+((?:;[\w=.+-]+)*),")
_SIGNS = (
    b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*",
)  # fmt: skip
"""What files of PNG, JPEG, GIF, BMP and TIFF begin with."""
BROKEN = "an image whose data: URI can't be read"


def may_be_in(row: bytes) -> bool:
    """Whether a row may hold an image, told at a glance."""
    return any(mark in row for mark in _MARKS)


def is_image(content: bytes) -> bool:
    """Whether bytes begin as an image file does."""
    return content.startswith(_SIGNS) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")


def stored(content: bytes, folder: Path | None) -> str:
    """The file in `folder` that holds these bytes, written where there is none yet.

    Raises `Refusal` where there is no folder that lasts as long as what is trained on.
    """
    if folder is None:
        reason = "rows hold images as bytes, and there is no cache to keep them in"
        fix = "Set GEMMA_BENCH_CACHE to a folder that you may write to"
        raise Refusal.of("GEMMA_BENCH_CACHE", reason, fix)
    path = folder / hashlib.sha256(content).hexdigest()[:40]
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(path, is_durable=False) as file:
            file.write(content)
    return str(path)


def with_files(value: Json, folder: Path | None) -> Any:
    """A record whose data: URIs of images, and Google's objects of them, are files instead.

    Raises `UnusableRow`, and `Refusal` as `stored` does.
    """
    if isinstance(value, dict):
        if inline := _uri_of(value):
            return with_files(inline, folder)
        return {key: with_files(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [with_files(item, folder) for item in value]
    uri = _URI.match(value) if isinstance(value, str) else None
    if not uri:
        return value
    try:
        if not uri[1].endswith(";base64"):
            raise UnusableRow(BROKEN)
        return stored(base64.b64decode(uri.string[uri.end() :], validate=True), folder)
    except (binascii.Error, ValueError):
        raise UnusableRow(BROKEN) from None


def _uri_of(part: dict[str, Any]) -> str:
    """The URI of what Google writes as base64 beside its type; empty for anything else."""
    kind = str(part.get("mimeType") or part.get("mime_type") or "")
    content = part.get("data")
    is_inline = kind.startswith("image/") and isinstance(content, str)
    return f"data:{kind};base64,{content}" if is_inline else ""
