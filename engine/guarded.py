"""Files that anybody may have written, read within bounds: regular, of some size, depth, digits."""

import errno
import io
import json
import os
import re
import stat
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""A value of a document that anybody may have written."""
MAX_BYTES = 16 << 20
"""Of a document that is read whole; a plan of the largest Gemma has a hundredth of it."""
MAX_DEPTH = 64
"""Tables within tables; a recipe has four, a manifest six."""
_MAX_DIGITS = 40
_SHOWN = 60
_FILE, FOLDER, _NOWHERE = "a file", "a directory", "a link that leads nowhere"
_KINDS = (
    (stat.S_ISREG, _FILE),
    (stat.S_ISDIR, FOLDER),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_KEY = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![\w-]){_KEY}(?:[ \t]*+\.[ \t]*+{_KEY}){{{MAX_DEPTH}}}")
"""tomllib's time grows with the square of a dotted key's parts."""


class Unreadable(ValueError):
    """A file is none that is read here; says why, in words."""


def kind(path: str | os.PathLike[str]) -> str:
    """What lies at a path, in words; empty where nothing does, or nobody may look."""
    try:
        mode = os.stat(path).st_mode
    except ValueError:
        return ""
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link that leads to itself"
        return _NOWHERE if error.errno == errno.ENOENT and os.path.islink(path) else ""
    return next((words for is_kind, words in _KINDS if is_kind(mode)), "something else")


def special_kind(path: str | os.PathLike[str]) -> str:
    """What lies at a path, where that is neither a file nor a folder on any machine."""
    what = kind(path)
    return "" if what in (_FILE, FOLDER, _NOWHERE) else what


def why_no_folder(path: Path) -> str:
    """Why a path is no folder that can be read, and none can be made there; empty where one can."""
    for place in (path, *path.parents):
        what = kind(place)
        if what == FOLDER:
            is_closed = place == path and not os.access(place, os.R_OK | os.X_OK)
            return "permission denied" if is_closed else ""
        if what:
            return f"{'it' if place == path else place} is {what}, and no folder"
    return ""


def require_regular(path: str | os.PathLike[str]) -> None:
    """See that a path leads to a regular file. Raises `Unreadable`, and `OSError` where it can't.

    Nothing is opened, which would wait at a pipe and may set a device to work.
    """
    what = kind(path)
    if what not in (_FILE, _NOWHERE, ""):
        raise Unreadable(f"it is {what}, and no file")
    os.stat(path)


def opened(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a regular file for reading, whatever takes its place meanwhile.

    Raises as `require_regular` does.
    """
    require_regular(path)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Unreadable("it is no file any more")
    return os.fdopen(fd, "rb")


def contents(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> bytes:
    """Read a file whole. Raises `Unreadable` where it is longer, and as `opened` does."""
    with opened(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        size = f"{max_bytes >> 20} MiB" if max_bytes >> 20 else f"{max_bytes >> 10} KiB"
        raise Unreadable(f"it is longer than {size}")
    return content


def json_document(path: Path) -> Any:
    """Read a file of JSON. Raises `ValueError` where it is none or out of bounds, and `OSError`."""
    return parsed_json(contents(path))


def parsed_json(text: bytes) -> Any:
    """Read JSON. Raises `ValueError`; one that is out of bounds is an `Unreadable`."""
    try:
        document = json.loads(text, parse_int=_whole_number)
    except RecursionError:
        raise _too_deep() from None
    _require_shallow(document)
    return document


def toml_document(path: Path, max_bytes: int = 1 << 20) -> dict[str, Any]:
    """Read a file of TOML. Raises `ValueError` where it is none or out of bounds, and `OSError`."""
    return parsed_toml(contents(path, max_bytes).decode("utf-8"))


def parsed_toml(text: str) -> dict[str, Any]:
    """Read TOML. Raises `tomllib.TOMLDecodeError`, and `Unreadable` where it is out of bounds."""
    if _LONG_KEY.search(text):
        raise _too_deep()
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise _too_deep() from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:
        # Python reads no number of thousands of digits.
        raise _too_long() from None
    _require_shallow(document)
    return document


def reason(error: Exception) -> str:
    """Say in words why a file could not be read."""
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON ({error})"
    return str(error) if isinstance(error, Unreadable) else "it is damaged"


def first_few(names: Iterable[str], limit: int = 12) -> str:
    """Some names in words: the first, each cut, and how many more there are."""
    listed = list(names)
    cut = (name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..." for name in listed[:limit])
    more = f" and {len(listed) - limit:,} more" if len(listed) > limit else ""
    return f"{', '.join(cut)}{more}"


def _whole_number(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise _too_long()
    return int(digits)


def _require_shallow(document: Any) -> None:
    """Look at it level by level, since a recursion is what depth would end."""
    level = [document]
    for _ in range(MAX_DEPTH):
        if any(isinstance(item, int) and item.bit_length() > 4 * _MAX_DIGITS for item in level):
            raise _too_long()
        tables = [item.values() for item in level if isinstance(item, dict)]
        lists = [item for item in level if isinstance(item, list)]
        level = [inner for items in (*tables, *lists) for inner in items]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> Unreadable:
    return Unreadable(f"it is nested deeper than {MAX_DEPTH} levels")


def _too_long() -> Unreadable:
    return Unreadable(f"a number in it has more than {_MAX_DIGITS} digits")
