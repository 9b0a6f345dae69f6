"""From the recipe's sources to the rows that are trained on, with an account of every row."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.data import rows
from engine.data.conversation import FORMATS, Conversation, Unfit, conversation, format_of
from engine.data.rows import Row
from engine.data.template import Template
from engine.data.tokens import Tokens, tokenize
from engine.recipe import Data
from engine.refusal import refuse

_CHUNK_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Example:
    """A row that can be trained on; `fact` is the exact answer where the row names one."""

    where: str
    turns: Conversation
    fact: str | None


@dataclass(slots=True)
class Prepared:
    """What is trained on, and what was left out."""

    rows: list[Tokens] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    """The example behind each of `rows`."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Rows left out, by reason."""
    first_dropped: dict[str, str] = field(default_factory=dict)
    """Where the first row of each reason stands."""

    @property
    def tokens(self) -> int:
        """Tokens of one pass over the rows."""
        return sum(len(row.ids) for row in self.rows)

    @property
    def supervised_tokens(self) -> int:
        """Tokens of one pass that carry loss."""
        return sum(row.supervised for row in self.rows)

    @property
    def truncated_rows(self) -> int:
        """Rows that were cut at the end."""
        return sum(row.is_truncated for row in self.rows)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all ids and labels in order, shortened to 16 hexadecimal digits."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(repr((row.ids, row.labels)).encode())
        return digest.hexdigest()[:16]

    def drop(self, reason: str, where: str) -> None:
        """Count a row that is left out."""
        self.dropped[reason] += 1
        self.first_dropped.setdefault(reason, where)


def prepare(data: Data, tokenizer: Any, template: Template) -> Prepared:
    """Read, convert, tokenise and mask all sources.

    Raises `Refusal` where a file can't be read or no row is left to train on.
    """
    prepared = Prepared()
    for source in data.sources:
        examples = read_examples(Path(source.path), prepared)
        for start in range(0, len(examples), _CHUNK_ROWS):
            chunk = examples[start : start + _CHUNK_ROWS]
            turns = [example.turns for example in chunk]
            tokens = tokenize(tokenizer, template, turns, data.loss_on, data.max_length)
            _keep(prepared, chunk, tokens)
    if not prepared.rows:
        reasons = ", ".join(
            f"{count} x {reason} (first: {prepared.first_dropped[reason]})"
            for reason, count in prepared.dropped.items()
        )
        fix = "Mend the rows, or raise data.max_length"
        raise refuse("data.sources", f"no row is left to train on: {reasons}", fix)
    return prepared


def read_examples(path: Path, account: Prepared) -> list[Example]:
    """The rows of a file that are conversations; the others are counted. Raises `Refusal`."""
    found = rows.read(path)
    name = format_of(found[0].record)
    if name is None:
        columns = ", ".join(found[0].record) or "none"
        fix = f"Known formats: {', '.join(FORMATS)}"
        raise refuse(found[0].where, f"no known format has the columns {columns}", fix)
    examples = [_example(row, name, account) for row in found]
    return [example for example in examples if example]


def _example(row: Row, format_name: str, account: Prepared) -> Example | None:
    try:
        turns = conversation(row.record, format_name)
    except Unfit as reason:
        account.drop(str(reason), row.where)
        return None
    except (KeyError, StopIteration, TypeError, AttributeError):
        account.drop(f"columns are not those of {format_name}", row.where)
        return None
    fact = row.record.get("fact")
    return Example(row.where, turns, fact if isinstance(fact, str) else None)


def _keep(prepared: Prepared, examples: list[Example], tokens: list[Tokens]) -> None:
    for example, row in zip(examples, tokens, strict=True):
        if row.supervised == 0:
            prepared.drop("no token with loss within max_length", example.where)
        else:
            prepared.rows.append(row)
            prepared.examples.append(example)
