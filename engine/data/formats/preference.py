"""Rows that judge answers: a better and a worse one, or one with a label.

Preference tuning reads them here; supervised training refuses them, or takes the wanted answers.
"""

from dataclasses import dataclass

from engine.data.conversation import Conversation, UnusableRow
from engine.data.formats import meaning, registry
from engine.data.formats.comparisons import comparison_of
from engine.data.formats.form import Record
from engine.data.formats.pairs import Pair, read_pair


@dataclass(frozen=True, slots=True)
class Judged:
    """What was asked, an answer to it, and whether such answers are wanted."""

    prompt: Conversation
    completion: Conversation
    label: bool


@dataclass(frozen=True, slots=True)
class ReadPreference:
    """A row that judges answers, and what it says beside them."""

    row: Pair | Judged
    shape: str
    """One of `COMPARISONS`, or the format of a row whose one answer has a label."""
    unread: tuple[str, ...] = ()
    """Names of columns, and of keys of messages, that say something and were not read."""


def read(record: Record, folder: str = "") -> ReadPreference:
    """A row's judgement, with image files relative to `folder`. Raises `UnusableRow`."""
    meaning.refuse_unheard(record)
    if comparison_of(record) is None:
        return _judged(record, folder)
    row = read_pair(record)
    sides = (row.pair.prompt, row.pair.chosen, row.pair.rejected)
    return ReadPreference(
        Pair(*(registry.located(side, folder) for side in sides)), row.shape, row.unread
    )


def _judged(record: Record, folder: str) -> ReadPreference:
    """A row of supervised training, and the columns that judge its answer."""
    verdicts = meaning.judgements(record)
    plain = {name: value for name, value in record.items() if name not in verdicts}
    name = registry.supervised_format_of(plain)
    if not verdicts or name is None:
        raise UnusableRow("a row that judges no answer")
    if len({*verdicts.values()}) > 1:
        raise UnusableRow(f"columns {' and '.join(verdicts)} that judge otherwise")
    label = next(iter(verdicts.values()))
    row = registry.read(plain, name, folder)
    turns = row.turns
    num_prompt = 1 + max((n for n, turn in enumerate(turns) if turn.role == "user"), default=-1)
    if not num_prompt:
        raise UnusableRow("an answer without what was asked")
    return ReadPreference(Judged(turns[:num_prompt], turns[num_prompt:], label), name, row.unread)
