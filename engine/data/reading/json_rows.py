"""Rows of JSON files: in lines, in one list, in a list within an object, in columns, or indented.

msgspec finds the items of a list in place, so that nothing is written anew. What it takes for no
JSON (NaN, a comma too many) and objects one after the other are read by Python's own decoder.
"""

import io
import json
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from engine.atomic import write_lines
from engine.data.reading.progress import Progress, require_bounded
from engine.data.reading.row_index import MAX_ROW_BYTES, RowIndex, index_rows
from engine.problems import Refusal
from engine.recipe import split_names

_BLOCK_CHARACTERS = 1 << 20
_START = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*")
_GAP = re.compile(r"[ \t\r\n,]*")
"""What stands between the items of a list."""
_GAP_OF_BYTES = re.compile(_GAP.pattern.encode())
_TALKS = {"messages", "conversations", "data"}
_WRAPPERS = {
    "data", "dataset", "entries", "examples", "instances", "items", "records", "rows", "samples",
    *split_names.SPLIT_OF_WORD,
}  # fmt: skip
"""What a list of rows is called within an object."""
_WORD = len("false")
_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NOT_STRICT = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_BY_PANDAS = 'Write rows instead: DataFrame.to_json(path, orient="records", lines=True)'


def index_json(origin: Path, file: Path, spool: Path, progress: Progress) -> RowIndex:
    """Find the rows of a file of JSON; `spool` is written where they can't be read in place.

    Raises `Refusal` where the file is no JSON or no rows, and `OSError`.
    """
    if spool.exists():
        return index_rows(str(origin), spool, progress)
    with file.open("rb") as stream:
        if not stream.seek(0, io.SEEK_END):
            return index_rows(str(origin), file, progress)
        contents = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    start = _end(_START, contents, 0)
    if _is_in_lines(contents, start, file.suffix):
        return index_rows(str(origin), file, progress)
    view = memoryview(contents)[start:]
    try:
        if contents[start : start + 1] == b"[":
            return _in_place(origin, file, contents, start, _RAWS.decode(view))
        members = _of_object(origin, _MEMBERS.decode(view))
        if isinstance(members, msgspec.Raw):
            at = _address(members) - _address(view) + start
            return _in_place(origin, file, contents, at, _RAWS.decode(members))
        write_lines(spool, members or [_line(bytes(view))])
    except _NOT_STRICT:
        write_lines(spool, _decoded(origin, file))
    return index_rows(str(origin), spool, progress)


def _is_in_lines(contents: mmap.mmap, start: int, suffix: str) -> bool:
    """Whether rows are lines: the first is whole and not the only one, or it begins no value."""
    end = contents.find(b"\n", start)
    line = contents[start : min(end if end >= 0 else len(contents), start + MAX_ROW_BYTES + 1)]
    is_only = end < 0 or _end(_START, contents, end) == len(contents)
    if line.startswith(b"[") and suffix == ".json":
        return False
    if not line.startswith((b"[", b"{")):
        return True
    try:
        json.loads(line)
    except RecursionError:
        return True
    except ValueError:
        # One line of any length may be a list within an object.
        return len(line) <= MAX_ROW_BYTES if is_only else not _goes_on(contents, start)
    return not is_only


def _goes_on(contents: mmap.mmap, start: int) -> bool:
    """Whether a value begins here that stands on several lines."""
    text = contents[start : start + _BLOCK_CHARACTERS].decode("utf-8", "replace")
    if "\n" not in text:
        return False
    try:
        json.JSONDecoder().raw_decode(text)
    except RecursionError:
        return False
    except json.JSONDecodeError as error:
        is_cut = start + _BLOCK_CHARACTERS < len(contents)
        is_unfinished = error.msg.startswith("Unterminated") or error.pos >= len(text) - _WORD
        return is_cut and is_unfinished
    return True


def _in_place(
    origin: Path, file: Path, contents: mmap.mmap, start: int, items: list[msgspec.Raw]
) -> RowIndex:
    """The rows of a list that begins at byte `start`, where they stand."""
    starts, ends = np.zeros((2, len(items)), np.int64)
    at = start + 1
    require_bounded(str(origin), len(items))
    for number, item in enumerate(items):
        at = _end(_GAP_OF_BYTES, contents, at)
        starts[number] = at
        at += len(memoryview(item))
        ends[number] = at
    return RowIndex(str(origin), file, np.arange(1, len(items) + 1), starts, ends)


def _of_object(origin: Path, members: dict[str, msgspec.Raw]) -> msgspec.Raw | Iterator[str] | None:
    """The list of rows within an object, or rows made of its columns; None where it is a row."""
    lists = [name for name, value in members.items() if _begins(value, b"[")]
    wrapped = [name for name in lists if name in _WRAPPERS and not _lists_texts(members[name])]
    if "columns" in lists and "data" in lists:
        raise Refusal.of(str(origin), "columns and data stand apart", _BY_PANDAS)
    if len(wrapped) > 1:
        fix = "Write each list as a file of its own, named by its split"
        raise Refusal.of(str(origin), f"it holds lists of rows under {', '.join(wrapped)}", fix)
    if wrapped:
        return members[wrapped[0]]
    if members and len(lists) == len(members):
        return _of_columns(origin, members)
    if members and all(_is_by_number(value) for value in members.values()):
        reason = "its columns are objects with a value for each row's number, as pandas writes them"
        raise Refusal.of(str(origin), reason, _BY_PANDAS)
    if members and all(name.isdecimal() for name in members):
        reason = "its rows are objects under their numbers, as pandas writes them"
        raise Refusal.of(str(origin), reason, _BY_PANDAS)
    return None


def _lists_texts(value: msgspec.Raw) -> bool:
    """Whether a list begins with a text: what is said by turns, as UltraChat's rows list it."""
    return bytes(memoryview(value)[1:_BLOCK_CHARACTERS]).lstrip()[:1] == b'"'


def _of_columns(origin: Path, members: dict[str, msgspec.Raw]) -> Iterator[str] | None:
    columns = {name: _RAWS.decode(value) for name, value in members.items()}
    is_talk = columns.keys() <= _TALKS
    if is_talk or any(_begins(item, b"{") for column in columns.values() for item in column):
        # A list of objects, or under such a name of texts, is what is said in one row.
        return None
    sizes = {name: len(column) for name, column in columns.items()}
    if len({*sizes.values()}) > 1:
        lengths = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        fix = "Write a list of objects, one for each row"
        raise Refusal.of(str(origin), f"its columns differ in length: {lengths}", fix)
    names = [json.dumps(name).encode() for name in columns]
    return (_row(names, row) for row in zip(*columns.values(), strict=True))


def _row(names: list[bytes], values: tuple[msgspec.Raw, ...]) -> str:
    members = (name + b": " + bytes(value) for name, value in zip(names, values, strict=True))
    return _line(b"{" + b", ".join(members) + b"}")


def _begins(value: msgspec.Raw, sign: bytes) -> bool:
    return bytes(memoryview(value)[:1]) == sign


def _is_by_number(value: msgspec.Raw) -> bool:
    if not _begins(value, b"{"):
        return False
    names = _MEMBERS.decode(value)
    return bool(names) and all(name.isdecimal() for name in names)


def _line(value: bytes) -> str:
    """A value on one line: between its words a line break means nothing, in them it can't stand."""
    return value.translate(_BREAKS).decode("utf-8", "surrogateescape") + "\n"


def _address(buffer: msgspec.Raw | memoryview) -> int:
    address: int = np.frombuffer(buffer, np.uint8).__array_interface__["data"][0]
    return address


def _end(pattern: "re.Pattern[bytes]", contents: mmap.mmap, start: int) -> int:
    gap = pattern.match(contents, start)
    return gap.end() if gap else start


def _decoded(origin: Path, file: Path) -> Iterator[str]:
    """Items of a list, or objects one after the other, as lines.

    A parser in C (ijson, yajl) is as fast, but takes lone surrogates for question marks, and one
    bad byte or NaN for the end of the file, where here a row alone is dropped for it.
    """
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        buffer = text.read(_BLOCK_CHARACTERS)
        line = 1 + buffer[: len(buffer) - len(buffer.lstrip())].count("\n")
        buffer = buffer.lstrip()
        is_list = buffer.startswith("[")
        decoder, position = json.JSONDecoder(), int(is_list)
        while True:
            start = _end_of_gap(buffer, position)
            if is_list and buffer.startswith("]", start):
                return
            try:
                item, end = decoder.raw_decode(buffer, start)
                # A number at the end of a block may go on in the next one.
                if end == len(buffer) and is_list:
                    raise json.JSONDecodeError("the list does not end", buffer, end)
            except RecursionError as error:
                raise _not_json(origin, line, error) from None
            except json.JSONDecodeError as error:
                is_short = len(buffer) - position <= MAX_ROW_BYTES
                more = text.read(max(_BLOCK_CHARACTERS, len(buffer) - position)) if is_short else ""
                if not more and not is_list and start == len(buffer):
                    return
                if not more:
                    error_line = line + buffer.count("\n", position, error.pos)
                    raise _not_json(origin, error_line, error) from None
                buffer, position = buffer[position:] + more, 0
                continue
            # Bytes that are no UTF-8 stay such; half a pair that was written as \ud800 can't.
            yield json.dumps(item, ensure_ascii="\\ud" in buffer[start:end].lower()) + "\n"
            line += buffer.count("\n", position, end)
            position = end


def _end_of_gap(buffer: str, position: int) -> int:
    gap = _GAP.match(buffer, position)
    return gap.end() if gap else position


def _not_json(origin: Path, line: int, error: Exception) -> Refusal:
    reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    fix = "Mend it there, or write the rows as JSON Lines, one by line"
    return Refusal.of(f"{origin}:{line}", f"not valid JSON ({reason})", fix)
