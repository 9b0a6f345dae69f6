"""Trees of replies, as Open Assistant's files of trees hold them: the best-ranked talk of each."""

from collections.abc import Iterator

from engine.data.conversation import Turn, UnusableRow
from engine.data.formats import chat, meaning
from engine.data.formats.form import Form, Record

OTHER_REPLIES = f"{meaning.MESSAGE}replies that are ranked lower"
JOINED = "\0joined"
"""The key of a tree that was put together from messages in rows of their own."""
NOTED_JOINED = "a talk joined from messages in rows of their own, by the best-ranked replies"
_COLUMNS = frozenset({"prompt"})
_NODE_KEYS = frozenset({
    "role", "text", "replies", "rank", "deleted", "review_result", *meaning.THOUGHTS,
})  # fmt: skip


def _is_tree(record: Record) -> bool:
    prompt = record.get("prompt")
    return isinstance(prompt, dict) and {"text", "role", "replies"} <= prompt.keys()


def _replies(node: Record) -> list[Record]:
    """Replies that stayed in the set, from the best rank on; unranked ones come last."""
    listed = node.get("replies") or []
    if not isinstance(listed, list) or not all(isinstance(reply, dict) for reply in listed):
        raise UnusableRow("replies that are no list of messages")
    return sorted((reply for reply in listed if not _is_taken_back(reply)), key=_rank)


def _is_taken_back(node: Record) -> bool:
    """Whether a message was deleted, or refused by those who reviewed it."""
    return node.get("deleted") is True or node.get("review_result") is False


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
    if _is_taken_back(record["prompt"]):
        raise UnusableRow("a first message that was deleted or refused")
    turns = [chat.turn(node, "role", "text") for node in _best_path(record)]
    while turns and turns[-1].role == "user":
        turns.pop()
    return turns


def _unread(record: Record) -> Iterator[str]:
    """Other columns, what the messages say beside their words, and whether there are more."""
    yield from meaning.unread(record, _COLUMNS | {JOINED})
    path = _best_path(record)
    names = (name for node in path for name in meaning.unread(node, _NODE_KEYS, meaning.MESSAGE))
    yield from dict.fromkeys(names)
    if any(len(_replies(node)) > 1 for node in path):
        yield OTHER_REPLIES


REPLY_TREE = Form(
    _is_tree,
    read_tree,
    _COLUMNS,
    _unread,
    lambda record: (NOTED_JOINED,) if JOINED in record else (),
)
