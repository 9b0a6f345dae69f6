"""Trees of replies, as Open Assistant's files of trees hold them: the best-ranked talk of each."""

from collections.abc import Iterator
from typing import Any

from engine.data.conversation import Turn, UnusableRow
from engine.data.formats import chat, meaning
from engine.data.formats.form import Form, Record

OTHER_REPLIES = f"{meaning.MESSAGE}replies that are ranked lower"
_NODE_KEYS = frozenset({"role", "text", "replies", "rank", "deleted", *meaning.THOUGHTS})


def _is_tree(record: Record) -> bool:
    prompt = record.get("prompt")
    return isinstance(prompt, dict) and {"text", "role", "replies"} <= prompt.keys()


def _replies(node: Record) -> list[Record]:
    """Replies that were not taken back, from the best rank on; unranked ones come last."""
    listed = node.get("replies") or []
    if not isinstance(listed, list) or not all(isinstance(reply, dict) for reply in listed):
        raise UnusableRow("replies that are no list of messages")
    return sorted((reply for reply in listed if reply.get("deleted") is not True), key=_rank)


def _rank(node: Record) -> float:
    rank = node.get("rank")
    return rank if isinstance(rank, int | float) and rank == rank else float("inf")


def _best_path(record: Record) -> list[Record]:
    """From the root, the best reply to each message."""
    path: list[Record] = [record["prompt"]]
    while replies := _replies(path[-1]):
        path.append(replies[0])
    return path


def read_tree(record: Record) -> list[Turn]:
    """The talk up to its last answer."""
    turns = [chat.turn(node, "role", "text") for node in _best_path(record)]
    while turns and turns[-1].role == "user":
        turns.pop()
    return turns


def unread_keys(record: Record) -> Iterator[str]:
    """What the messages say beside their words, and whether other replies are there."""
    path = _best_path(record)
    names = (name for node in path for name in _unread(node))
    yield from dict.fromkeys(names)
    if any(len(_replies(node)) > 1 for node in path):
        yield OTHER_REPLIES


def _unread(node: dict[str, Any]) -> Iterator[str]:
    return meaning.unread(node, _NODE_KEYS, meaning.MESSAGE)


REPLY_TREE = Form(_is_tree, read_tree, frozenset({"prompt"}))
