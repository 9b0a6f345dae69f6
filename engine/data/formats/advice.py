"""What to do with rows that no format reads, by their shape: each advice works as it stands."""

from collections import Counter

from engine import guarded
from engine.data.conversation import UnusableRow
from engine.data.formats import chat, preference
from engine.data.formats.comparisons import better_column, comparison_of
from engine.data.formats.form import Record
from engine.data.formats.meaning import judgement
from engine.data.formats.preference import Judged, Pair
from engine.data.formats.registry import is_preference
from engine.problems import Refusal

_ANSWERS = ("completion", "response", "output", "answer", "answers", "target", "label", "summary")
_MAPPED = 'format = "prompt_completion" and columns = { prompt = "%s", completion = "%s" }'


def of_preference(rows: list[tuple[str, Record]]) -> Refusal:
    """Of rows that judge answers, each with its place: what they are, and how to train on some."""
    where, record = next((place, row) for place, row in rows if is_preference(row))
    reason = f"rows that judge answers are no rows for supervised training ({_judgements(rows)})"
    judged = judgement(record)
    if judged and not comparison_of(record):
        kind = "messages" if "messages" in record else "prompt_completion"
        kind = "sharegpt" if "conversations" in record else kind
        kind = "instruction_output" if "instruction" in record else kind
        kind = "question_response" if "question" in record else kind
        fix = f'To train on the answers that {judged[0]} marks as wanted alone: format = "{kind}"'
        return Refusal.of(where, f"{reason}, by column {judged[0]}", fix)
    return Refusal.of(where, reason, _wanted_alone(record))


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


def _wanted_alone(record: Record) -> str:
    """How to train on the better answers of rows that compare them."""
    better = better_column(record)
    answer = record.get(better)
    lead = f"To train on {better} alone"
    if isinstance(answer, list) and answer and not chat.is_answer(answer[0]):
        return f'{lead}: format = "messages" and columns = {{ messages = "{better}" }}'
    question = next(
        (name for name in ("prompt", "question", "instruction") if name in record), None
    )
    if question and isinstance(answer, str | list):
        return f"{lead}: {_MAPPED % (question, better)}"
    if isinstance(answer, str) and "conversations" not in record:
        return f'{lead}: format = "text" and columns = {{ text = "{better}" }}'
    return "Write the better answer of each row after its question, as messages"


def of_labelled_text(where: str) -> Refusal:
    """Of texts with a label each, which training on the text alone would ignore."""
    fix = f"To train the label as the answer: {_MAPPED % ('text', 'label')}; to train on the texts "
    reason = "a label beside a text, which training on the text would ignore"
    return Refusal.of(where, reason, f'{fix}alone: format = "text"')


def of_torn_trees(where: str) -> Refusal:
    """Of a tree's messages that stand in rows of their own."""
    reason = "messages that reply to one another (parent_id), one a row, whose talks would be lost"
    fix = "Give the set's file of whole trees (its name ends in .trees.jsonl.gz), or the talks as "
    return Refusal.of(where, reason, f'{fix}messages; to train on each text alone: format = "text"')


def of_unknown(where: str, record: Record, formats: list[str]) -> Refusal:
    """Of columns that no format has: which two of them may be a question and its answer."""
    kinds = [f"{name} ({_kind(value)})" for name, value in record.items()]
    reason = f"no known format has the columns {guarded.first_few(kinds) or 'none'}"
    texts = [name for name, value in record.items() if isinstance(value, str) and value.strip()]
    if len(texts) >= 2:
        answer = next((name for name in texts if name.lower() in _ANSWERS), texts[1])
        question = next(name for name in texts if name != answer)
        return Refusal.of(
            where, reason, f"Say what is asked and answered: {_MAPPED % (question, answer)}"
        )
    if texts:
        fix = f'To train on bare text: format = "text" and columns = {{ text = "{texts[0]}" }}'
        return Refusal.of(where, reason, fix)
    fix = f"Known formats: {', '.join(formats)}; `columns` maps other names to theirs"
    return Refusal.of(where, reason, fix)


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
    }
    helping = [fix for reason, fix in fixes.items() if reason in reasons]
    if not helping or reasons - fixes.keys():
        helping = ["mend the rows", *helping]
    words = ", or ".join(helping)
    return words[0].upper() + words[1:]
