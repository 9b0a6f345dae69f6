"""A preview as a page of text: what became of each source, then rows as they are trained on."""

from itertools import zip_longest

from engine.sessions.preview import Answer, Row
from engine.sessions.source_report import SourceReport
from workbench.text.format import amount, count, share
from workbench.text.sanitize import clean, clean_line
from workbench.text.token_marks import TextStyle, prompt_lines, training_lines

_BAR_CELLS = 32
_SIDE_BY_SIDE = 80
"""Narrower terminals get the prompt below the row instead of beside it."""


def page(answer: Answer, width: int, ink: TextStyle) -> str:
    """The whole of it, in lines of at most `width` cells where a row's own words are concerned."""
    parts = [summary(source, answer.max_length, ink) for source in answer.sources]
    if answer.template_difference:
        told = "the template trained on (+) writes otherwise than the model's own (-):"
        parts.append(f"{told}\n{clean(answer.template_difference)}")
    parts.append(f"template {answer.template_sha256[:16]}\n{ink.legend}")
    total = len(answer.rows)
    for number, row in enumerate(answer.rows, 1):
        parts.append(f"{heading(row, number, total)}\n{body(row, width, ink)}")
    return "\n\n".join(parts)


def summary(source: SourceReport, max_length: int, ink: TextStyle) -> str:
    """What became of one source's rows."""
    tokens = source.tokens
    lines = [
        f"{clean_line(source.name)}: {clean_line(source.format)}, "
        f"{count(source.taken)} of {amount(source.asked, 'row')} taken",
        f"  tokens: p50 {count(tokens.p50)}, p95 {count(tokens.p95)}, max {count(tokens.max)}; "
        f"{share(source.truncated_share)} of rows truncated at {count(max_length)}; "
        f"{share(source.supervised_share)} of tokens with loss",
    ]
    lines += _reasons("dropped", source.dropped, source.first_dropped)
    lines += _reasons("noted", source.noted, source.first_noted)
    return "\n".join(lines + _histogram(source, ink))


def _reasons(word: str, counts: dict[str, int], firsts: dict[str, str]) -> list[str]:
    return [
        f"  {word}: {count(number)} x {clean_line(reason)} "
        f"(first: {clean_line(firsts.get(reason, ''))})"
        for reason, number in counts.items()
    ]


def _histogram(source: SourceReport, ink: TextStyle) -> list[str]:
    return [
        f"  {lengths} tokens  {bar}{rows and ' '}{rows}".rstrip()
        for lengths, bar, rows in bars(source, _BAR_CELLS, ink)
    ]


def bars(source: SourceReport, cells: int, ink: TextStyle) -> list[tuple[str, str, str]]:
    """Lengths, a bar of at most so many cells, and the number of rows; a line for each bin."""
    most_rows = max((rows for _, rows in source.histogram), default=0)
    lines, least = [], 1
    for most, rows in source.histogram:
        bar = ink.block * -(-rows * cells // most_rows) if rows else ""
        lines.append((f"{count(least):>7} - {count(most):>7}", bar, count(rows) if rows else ""))
        least = most + 1
    return lines


def heading(row: Row, number: int, total: int) -> str:
    """Where a row comes from, and how long it is."""
    cut = f", cut from {count(row.whole_tokens)}" if row.truncated else ""
    return (
        f"row {number} of {total}: {clean_line(row.file)}:{row.line} ({clean_line(row.source)}), "
        f"{amount(len(row.input_ids), 'token')}{cut}, {count(row.supervised)} with loss"
    )


def body(row: Row, width: int, ink: TextStyle) -> str:
    """A row beside its inference prompt."""
    titles = "trained on", verdict(row)
    if width < _SIDE_BY_SIDE:
        parts = [titles[0], *training_lines(row, width, ink)]
        parts += [titles[1], *prompt_lines(row, width, ink)]
        return "\n".join(line.rstrip() for line in parts)
    column = (width - 3) // 2
    lines = [f"{titles[0]:<{column}} | {titles[1]}", f"{'-' * column}-+-{'-' * column}"]
    sides = training_lines(row, column, ink), prompt_lines(row, column, ink)
    for left, right in zip_longest(*sides, fillvalue=" " * column):
        lines.append(f"{left} | {right}".rstrip())
    return "\n".join(lines)


def verdict(row: Row) -> str:
    if row.prompt_error:
        return f"no prompt: the model's template fails: {clean_line(row.prompt_error, 200)}"
    if not row.prompt:
        return "bare text has no prompt"
    same = "the same as trained on" if row.is_prompt_a_prefix else "it differs where marked"
    return f"prompt at inference: {same}"
