"""What to do with rows that no format reads, by their shape: each advice works as it stands."""

from collections import Counter
from contextlib import suppress

from engine import guarded
from engine.data.conversation import UnusableRow
from engine.data.formats import chat, preference
from engine.data.formats.comparisons import better_column, comparison_of
from engine.data.formats.form import Record
from engine.data.formats.meaning import HARMLESS, PASSAGES, ROW_WEIGHTS, judgements, no_row_weight
from engine.data.formats.pairs import Pair
from engine.data.formats.preference import Judged
from engine.data.formats.registry import BETTER_ANSWERS, is_preference, read, supervised_format_of
from engine.problems import Refusal
from engine.recipe import split_names
from engine.recipe.split_names import OF_SPLIT

_QUESTIONS = ("question", "query", "prompt", "instruction", "input", "request")
_ANSWERS = ("completion", "response", "output", "answer", "answers", "target", "label", "summary")
_UNASKED = "Write the better answer of each row after its question, as messages"
_MAPPED = 'format = "prompt_completion" and columns = { prompt = "%s", completion = "%s" }'


def of_preference(rows: list[tuple[str, Record]]) -> Refusal:
    """Of rows that judge answers, each with its place: what they are, and how to train on some."""
    where, record = next((place, row) for place, row in rows if is_preference(row))
    reason = f"rows that judge answers are no rows for supervised training ({_judgements(rows)})"
    judged = judgements(record)
    if judged and not comparison_of(record):
        column = next(iter(judged))
        plain = {name: value for name, value in record.items() if name not in judged}
        kind = supervised_format_of(plain)
        fix = f'To train on the answers that {column} marks as wanted alone: format = "{kind}"'
        return Refusal.of(where, f"{reason}, by column {column}", fix if kind else _UNASKED)
    return Refusal.of(where, reason, _wanted_alone([row for _, row in rows]))


def _judgements(rows: list[tuple[str, Record]]) -> str:
    """What the rows judge, how many of them can be read, and why the others can't."""
    kinds, unusable = Counter[str](), Counter[str]()
    for _, record in rows:
        try:
            kinds[_kind_of(preference.read(record).row)] += 1
        except UnusableRow as reason:
            unusable[str(reason)] += 1
    read = " and ".join(f"{count} with {kind}" for kind, count in kinds.items())
    reasons = ", ".join(f"{count} x {why}" for why, count in unusable.most_common())
    not_read = f"; not read: {reasons}" if reasons else ""
    return f"of the first {len(rows)}, {read or 'none can be read'}{not_read}"


def _kind_of(row: Pair | Judged) -> str:
    if isinstance(row, Pair):
        return "a better and a worse answer"
    return "a wanted answer" if row.label else "an unwanted answer"


def _wanted_alone(records: list[Record]) -> str:
    """How to train on the better answers of rows that compare them."""
    for record in records:
        with suppress(UnusableRow):
            read(record, BETTER_ANSWERS)
            return f'To train on the better answers alone: format = "{BETTER_ANSWERS}"'
    better = next(filter(None, map(better_column, records)), "")
    if any(isinstance(record.get(better), str) for record in records):
        lead = f"To train on {better} alone, without what was asked"
        return f'{lead}: format = "text" and columns = {{ text = "{better}" }}'
    return _UNASKED


def of_labelled_text(where: str) -> Refusal:
    """Of texts with a label each, which training on the text alone would ignore."""
    fix = f"To train the label as the answer: {_MAPPED % ('text', 'label')}; to train on the texts "
    reason = "a label beside a text, which training on the text would ignore"
    return Refusal.of(where, reason, f'{fix}alone: format = "text"')


def of_single_messages(where: str) -> Refusal:
    """Of messages in rows of their own, of which nothing says to which other they reply."""
    reason = "messages in rows of their own, without message_id and parent_id to join them by"
    fix = 'Name these columns: columns = { message_id = "...", parent_id = "..." }'
    return Refusal.of(where, reason, f'{fix}; to train on each text alone: format = "text"')


def of_unknown(where: str, record: Record, formats: list[str]) -> Refusal:
    """Of columns that no format has: which two of them may be a question and its answer."""
    kinds = [f"{name} ({_kind(value)})" for name, value in record.items()]
    reason = f"no known format has the columns {guarded.first_few(kinds) or 'none'}"
    talk = next((name for name, value in record.items() if _is_talk(value)), "")
    if talk:
        fix = f'They are a talk: format = "messages" and columns = {{ messages = "{talk}" }}'
        return Refusal.of(where, reason, fix)
    texts = [
        name for name, value in record.items()
        if isinstance(value, str) and value.strip() and name not in HARMLESS
    ]  # fmt: skip
    if "paragraphs" in record:
        fix = "Write a row for each question of a paragraph, with context, question and answer"
        return Refusal.of(where, reason, fix)
    if len(texts) >= 2:
        questions = [name for name in texts if name.lower() in _QUESTIONS]
        answers = [name for name in texts if name.lower() in _ANSWERS]
        others = [name for name in texts[1:] if name not in (*questions, *PASSAGES)]
        answer = (answers or others or texts[1:])[0]
        question = next(name for name in (*questions, *texts) if name != answer)
        return Refusal.of(
            where, reason, f"Say what is asked and answered: {_MAPPED % (question, answer)}"
        )
    if texts:
        fix = f'To train on bare text: format = "text" and columns = {{ text = "{texts[0]}" }}'
        return Refusal.of(where, reason, fix)
    fix = f"Known formats: {', '.join(formats)}; `columns` maps other names to theirs"
    return Refusal.of(where, reason, fix)


def _is_talk(value: object) -> bool:
    """Whether a column lists messages, under the names that one of the formats has for theirs."""
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return False
    return {*chat.keys_of(value[0])} <= value[0].keys()


def _kind(value: object) -> str:
    kinds = {str: "text", bool: "yes or no", int: "number", float: "number", dict: "object"}
    if isinstance(value, list):
        return f"list of {_kind(value[0])}s" if value else "empty list"
    return "null" if value is None else kinds.get(type(value), type(value).__name__)


def of_drops(reasons: set[str]) -> str:
    """What may help where all rows are dropped for these reasons."""
    fixes = {
        "no token with loss within max_length": "raise data.max_length",
        "shorter than filter.min_tokens": "lower filter.min_tokens",
        "longer than filter.max_tokens": "raise filter.max_tokens",
        "a thought in the answer": 'set data.thinking = "keep"',
        "a thought, for which the template has no place": 'set data.thinking = "strip"',
        **{
            no_row_weight(name): f'call it otherwise: columns = {{ own_{name} = "{name}" }}'
            for name in ROW_WEIGHTS
        },
        **{
            OF_SPLIT.format(name): 'give the source split = "all"'
            for name in split_names.SPLIT_OF_WORD.values()
        },
    }
    helping = [fix for reason, fix in fixes.items() if reason in reasons]
    if not helping or reasons - fixes.keys():
        helping = ["mend the rows", *helping]
    words = ", or ".join(helping)
    return words[0].upper() + words[1:]
