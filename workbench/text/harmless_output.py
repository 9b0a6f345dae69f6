"""Standard output and errors through which no text can steer a terminal, whoever wrote it.

The one place where commands print: what is told of a run need not be cleaned field by field.
"""

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from workbench.text.sanitize import sanitize

_PAINT = re.compile(r"(\x1b\[[0-9;]*m)")
"""A colour or another attribute of text, which lasts until the next."""


class HarmlessOutput(io.TextIOWrapper):
    """Makes all visible that would steer the terminal, but for what is said to be our own."""

    def write(self, text: str, /) -> int:
        """Write a text that may be anybody's."""
        super().write(sanitize(text, len(text)))
        return len(text)

    def write_painted(self, text: str) -> None:
        """Write a text whose colours are ours; the rest may be anybody's."""
        for place, part in enumerate(_PAINT.split(text)):
            super().write(part if place % 2 else sanitize(part, len(part)))

    def write_codes(self, codes: str) -> None:
        """Write what is ours, to steer the terminal."""
        super().write(codes)


def say_painted(text: str) -> None:
    """Print a text with our colours in it."""
    if isinstance(sys.stdout, HarmlessOutput):
        sys.stdout.write_painted(f"{text}\n")
    else:
        print(text)


def steer(stream: TextIO, codes: str) -> None:
    """Write codes of our own to a stream."""
    if isinstance(stream, HarmlessOutput):
        stream.write_codes(codes)
    else:
        stream.write(codes)


@contextmanager
def harmless_output() -> Iterator[None]:
    """Let everything go through it that is printed, by us and by libraries.

    An error that nobody caught is told through it too, and so leaves it where it is.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_harmless, before)
    yield_failed = True
    try:
        yield
        yield_failed = False
    except SystemExit:
        yield_failed = False
        raise
    finally:
        if not yield_failed:
            _give_back(*before)


def _harmless(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    return HarmlessOutput(
        stream.buffer, stream.encoding, "backslashreplace", line_buffering=stream.line_buffering
    )


def _give_back(out: TextIO, err: TextIO) -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, HarmlessOutput):
            # Else the file would be closed with it. A reader that has gone was told of before.
            with suppress(OSError):
                stream.detach()
    sys.stdout, sys.stderr = out, err
