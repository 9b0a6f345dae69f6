"""Messages in rows of their own that reply to one another, joined into trees of replies.

Trees stand in the form of Open Assistant's files of trees, each on the line of its first message,
wherever in the source's files its replies are. Of every message two numbers are kept in memory, and
of one tree at a time its words.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.atomic import write_lines
from engine.data.conversation import UnusableRow
from engine.data.formats import advice
from engine.data.formats.registry import renamed
from engine.data.formats.reply_tree import JOINED
from engine.data.reading.files import as_line, spool_path
from engine.data.reading.progress import Progress
from engine.data.reading.row_index import MAX_ROW_BYTES, UNREADABLE, RowIndex, index_rows
from engine.data.row_pipeline import parsed

_KEYS = {"message_id", "text", "role"}
_MOST_TURNS = 400
"""Of one talk: trees are read as nested values, and Python nests less than a thousand."""
TWICE = "a message_id that an earlier row has"
ASTRAY = "a reply whose first message is in no row"
_TOO_LARGE, _TOO_DEEP = "a tree of more than 16 MiB", f"a talk of more than {_MOST_TURNS} messages"


def are_messages(records: list[dict[str, Any]]) -> bool:
    """Whether most rows are messages with names by which others may reply to them."""
    return sum(record.keys() >= _KEYS for record in records) * 2 > len(records)


def joined(
    indexes: list[RowIndex],
    columns: dict[str, str],
    contents: list[str],
    cache: Path,
    progress: Progress,
) -> list[RowIndex]:
    """The trees whose first messages each file holds; `contents` are the files' digests.

    What belongs to no tree is a row that can't be read, and says why. Raises `Refusal` where no
    message replies to another, and `OSError`.
    """
    named = json.dumps([contents, sorted(columns.items())])
    name = hashlib.sha256(named.encode()).hexdigest()[:32]
    spools = [spool_path(cache, f"{name}-{number}") for number in range(len(indexes))]
    if not all(spool.exists() for spool in spools):
        messages = _Messages(indexes, columns, *_names(indexes, columns, progress))
        if not messages.parents.any():
            raise advice.of_single_messages(indexes[0].origin)
        trees = _Trees.of(messages)
        for file, spool in enumerate(spools):
            write_lines(spool, _lines(messages, trees, file, progress))
    pairs = zip(indexes, spools, strict=True)
    return [index_rows(index.origin, spool, progress) for index, spool in pairs]


@dataclass(frozen=True, slots=True)
class _Messages:
    """All rows of some files, numbered through."""

    indexes: list[RowIndex]
    columns: dict[str, str]
    ids: np.ndarray
    """Hash of each row's own name, 0 where it is no message: (rows,) of int64, as `parents`."""
    parents: np.ndarray
    """Hash of the name that it replies to, 0 where to none."""

    @property
    def firsts(self) -> np.ndarray:
        """The first row of each file: (files + 1,) of int64."""
        return np.cumsum([0, *map(len, self.indexes)])

    def read(self, rows: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
        """Row and record of messages; `rows` are (some,) of int64, in order."""
        files = np.searchsorted(self.firsts, rows, "right") - 1
        for file in np.unique(files):
            own = rows[files == file]
            lines = self.indexes[file].read((own - self.firsts[file]).tolist())
            for row, (_, raw) in zip(own.tolist(), lines, strict=True):
                yield row, renamed(parsed(raw), self.columns)

    def size_bytes(self, rows: np.ndarray) -> int:
        """What rows take, (some,) of int64."""
        sizes = np.concatenate([index.ends - index.starts for index in self.indexes])
        return int(sizes[rows].sum())


def _names(
    indexes: list[RowIndex], columns: dict[str, str], progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    ids, parents = np.zeros((2, sum(map(len, indexes))), np.int64)
    row = 0
    for index in indexes:
        for _, raw in index.read(list(range(len(index)))):
            record = _record(raw, columns)
            if record.keys() >= _KEYS:
                ids[row] = _hash(record["message_id"])
                parents[row] = _hash(record.get("parent_id"))
            row += 1
            progress.at(index.origin, row, "looked at for replies")
    return ids, parents


def _record(raw: bytes | None, columns: dict[str, str]) -> dict[str, Any]:
    try:
        return renamed(parsed(raw), columns)
    except UnusableRow:
        return {}


def _hash(name: object) -> int:
    if name is None or name == "":
        return 0
    digest = hashlib.blake2b(str(name).encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


@dataclass(frozen=True, slots=True)
class _Trees:
    """Which messages belong together; all arrays but the last two are (rows,)."""

    parents: np.ndarray
    """Row of the message that each replies to, its own where it replies to none: int64."""
    is_twice: np.ndarray
    is_root: np.ndarray
    is_in_tree: np.ndarray
    members: np.ndarray
    """Rows in trees, those of a tree in a line and in order: int64."""
    roots: np.ndarray
    """The first message of each of these."""

    @classmethod
    def of(cls, messages: _Messages) -> "_Trees":
        """By names alone."""
        ids, rows = messages.ids, np.arange(len(messages.ids))
        order = np.argsort(ids, kind="stable")
        in_order = ids[order]
        is_twice = np.zeros(len(ids), bool)
        is_twice[order[1:]] = in_order[1:] == in_order[:-1]
        at = np.minimum(np.searchsorted(in_order, messages.parents), len(ids) - 1)
        has_parent = (messages.parents != 0) & (in_order[at] == messages.parents)
        parents = np.where(has_parent, order[at], rows)
        is_message = (ids != 0) & ~is_twice
        is_root = is_message & (messages.parents == 0)
        tops = parents
        for _ in range(len(ids).bit_length() + 1):
            tops = tops[tops]
        is_in_tree = is_message & is_root[tops]
        members = rows[is_in_tree][np.argsort(tops[is_in_tree], kind="stable")]
        return cls(parents, is_twice, is_root, is_in_tree, members, tops[members])

    def of_root(self, root: int) -> np.ndarray:
        """The rows of one tree: (some,) of int64."""
        start, end = np.searchsorted(self.roots, [root, root + 1])
        return np.sort(self.members[start:end])


def _lines(messages: _Messages, trees: _Trees, file: int, progress: Progress) -> Iterator[str]:
    """A line for each line of a file: a tree, a row that is none, or nothing."""
    index, line = messages.indexes[file], 0
    for at, row in enumerate(range(*messages.firsts[file : file + 2].tolist())):
        number = int(index.numbers[at])
        yield "\n" * (number - line - 1)
        line = number
        progress.at(index.origin, at, "joined")
        if trees.is_root[row]:
            yield as_line(_tree(messages, trees, row))
        elif trees.is_in_tree[row]:
            yield "\n"
        else:
            yield as_line({UNREADABLE: _why_none(messages, trees, row)})


def _why_none(messages: _Messages, trees: _Trees, row: int) -> str:
    if messages.ids[row]:
        return TWICE if trees.is_twice[row] else ASTRAY
    try:
        ((_, record),) = messages.read(np.array([row]))
    except UnusableRow as reason:
        return str(reason)
    return f"a message without {' and '.join(sorted(_KEYS - record.keys()))}"


def _tree(messages: _Messages, trees: _Trees, root: int) -> dict[str, Any]:
    """The tree as a record of its own."""
    rows = trees.of_root(root)
    if messages.size_bytes(rows) > MAX_ROW_BYTES:
        return {UNREADABLE: _TOO_LARGE}
    nodes = {row: {**record, "replies": []} for row, record in messages.read(rows)}
    for row, node in nodes.items():
        node.pop("message_id")
        node.pop("parent_id", None)
        if row != root:
            nodes[int(trees.parents[row])]["replies"].append(node)
    level, depth = [nodes[root]], 0
    while level:
        level, depth = [reply for node in level for reply in node["replies"]], depth + 1
    return {UNREADABLE: _TOO_DEEP} if depth > _MOST_TURNS else {"prompt": nodes[root], JOINED: True}
