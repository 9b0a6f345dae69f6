"""A preview in rows: what became of each source, then rows of data as they are trained on."""

from collections.abc import Mapping, Sequence

from engine.sessions.preview import Answer
from engine.sessions.preview import Row as DataRow
from engine.sessions.source_report import HeldoutReport, SourceReport
from workbench.text.format import amount, count, share
from workbench.text.sanitize import sanitize, sanitize_line
from workbench.text.styled import (
    UNBROKEN,
    Row,
    Span,
    beside,
    coloured,
    fit,
    fit_end,
    plain,
    wrap,
    wrapped,
)
from workbench.text.token_marks import TextStyle, prompt, training

_SIDE_BY_SIDE = 80
"""Narrower terminals get the prompt below the row instead of beside it."""
_FIGURES = ("asked", "taken", "p50", "p95", "max", "cut", "with loss")
_FORMAT_CELLS, _MIN_NAME = 16, 8
_MIN_BAR = 4
_PRINTED_BARS = 60
"""Cells of bars and figures on a page of text."""
_DIFFERENCE = "the template trained on (+) writes otherwise than the model's own (-):"
_LINE_INKS = {"+": "loss", "-": "bad", "@": "dim"}


def source_rows(sources: Sequence[SourceReport], selected: int | None, width: int) -> list[Row]:
    """A line for each source under the names of its figures; the chosen one is marked."""
    figures = [_FIGURES, *map(_figures, sources)]
    widths = [max(map(len, column)) for column in zip(*figures, strict=True)]
    room = width - sum(widths) - 2 * len(widths) - 2
    kind = max((len(source.format) for source in sources), default=0)
    kind = max(0, min(kind, _FORMAT_CELLS, room - _MIN_NAME))
    names = [("source", "format")]
    names += [(sanitize_line(source.name), sanitize_line(source.format)) for source in sources]
    lines = [
        f"{fit(name, max(0, room - kind))} {fit(form, kind)} {_right(texts, widths)}"
        for (name, form), texts in zip(names, figures, strict=True)
    ]
    inks = ("kept" if index == selected else "" for index in range(len(sources)))
    return [[(fit(line, width), ink)] for line, ink in zip(lines, ("dim", *inks), strict=True)]


def _figures(source: SourceReport) -> tuple[str, ...]:
    counts = source.quota, source.num_taken, source.tokens.p50, source.tokens.p95, source.tokens.max
    shares = source.truncated_share, source.supervised_share
    return (*map(count, counts), *map(share, shares))


def _right(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"  {text:>{width}}" for text, width in zip(texts, widths, strict=True))


def finding_rows(source: SourceReport, width: int) -> list[Row]:
    """Rows that were dropped or noted and files that were not read, by reason, with the first."""
    rows: list[Row] = []
    if source.loss_of_rows:
        rows += wrapped(sanitize_line(source.loss_of_rows), "warn", width)
    rows += _reasons(("dropped ", "warn"), source.dropped, source.first_dropped, width)
    rows += _reasons(("noted ", "accent"), source.noted, source.first_noted, width)
    for name, rows_with_it in source.unread.items():
        rows += wrapped(
            f"not read: {sanitize_line(name)}, in {amount(rows_with_it, 'row')}", "accent", width
        )
    rows = rows or [[("no row was dropped", "good")]]
    files = {reason: len(names) for reason, names in source.left_out.items()}
    first_files = {reason: names[0] for reason, names in source.left_out.items()}
    return rows + _reasons(("files not read ", "dim"), files, first_files, width)


def _harmless_row(source: SourceReport) -> list[Row]:
    """Names of columns that only describe rows."""
    names = ", ".join(map(sanitize_line, source.harmless))
    return [[("not trained on, since it only describes rows: ", "dim"), (names, "")]] * bool(names)


def _reasons(
    lead: Span, counts: Mapping[str, int], firsts: Mapping[str, str], width: int
) -> list[Row]:
    rows: list[Row] = []
    for reason, number in counts.items():
        line, *rest = wrap(f"{count(number)} x {sanitize_line(reason)}", width - len(lead[0]))
        rows += [[lead, (line, "")], *([(f"  {line}", "")] for line in rest)]
        first = f"first: {sanitize_line(firsts.get(reason, ''))}"
        rows += [[(f"  {line}", "dim")] for line in wrap(first, width - 2)]
    return rows


def heldout_rows(heldout: HeldoutReport, width: int) -> list[Row]:
    """How many rows are held out, and whether those trained on are like them."""
    rows: list[Row] = [[("held out ", "dim"), (amount(heldout.rows, "row"), "")]]
    return rows + (wrapped(heldout.warning, "warn", width) if heldout.warning else [])


def template_rows(answer: Answer, width: int) -> list[Row]:
    """Which template it is, how it differs from the model's own, and what the weights lost."""
    rows: list[Row] = [[("template ", "dim"), (answer.template_sha256[:16], "")]]
    if answer.weights:
        rows += wrapped(f"weights {sanitize_line(answer.weights, 300)}", "warn", width)
    if answer.template_difference:
        rows += wrapped(_DIFFERENCE, "warn", width)
        for line in sanitize(answer.template_difference).split("\n"):
            rows += wrapped(line, _LINE_INKS.get(line[:1], ""), width)
    return rows


def length_rows(source: SourceReport | None, width: int, style: TextStyle) -> list[Row]:
    """How long the rows of a source are: a range of tokens, a bar, a number of rows."""
    if source is None or not source.histogram:
        return [[("no rows", "dim")]]
    lines, least = [], 1
    for most, rows in source.histogram:
        lines.append((f"{count(least):>7} - {count(most):>7}  ", rows))
        least = most + 1
    most_rows = max(rows for _, rows in lines)
    widest = max(len(lengths) + len(count(rows) if rows else "") for lengths, rows in lines)
    room = max(_MIN_BAR, width - widest - 1)
    return [
        [
            (lengths, "dim"),
            (style.block * -(-rows * room // most_rows) if rows else "", "accent"),
            (f" {count(rows)}" if rows else "", ""),
        ]
        for lengths, rows in lines
    ]


def head_rows(row: DataRow, place: str, width: int) -> list[Row]:
    """Where a row comes from, how long it is, and how it compares to the prompt."""
    origin = fit_end(f"{sanitize_line(row.file)}:{row.line}", width - len(place) - 2)
    cut = f", cut from {count(row.whole_tokens)}" if row.truncated else ""
    weighed = "".join(f", {count(n)} of them x {weight:g}" for weight, n in row.weighed.items())
    tokens = amount(len(row.input_ids), "token")
    figures = f"{tokens}{cut}, {count(row.supervised)} with loss{weighed}"
    is_prefix = row.is_prompt_a_prefix
    verdict = [("   prompt is a prefix: ", "dim"), ("yes", "good") if is_prefix else ("no", "warn")]
    if row.prompt_error:
        failure = (
            f"   no prompt: the model's template fails: {sanitize_line(row.prompt_error, 200)}"
        )
        verdict = [(failure, "warn")]
    elif not row.prompt:
        verdict = [("   bare text has no prompt", "dim")]
    return [
        [(place, "strong"), (f"  {origin}", "")],
        [(figures, ""), *verdict],
    ]


def page(answer: Answer, width: int, style: TextStyle) -> str:
    """The whole of it, for a terminal without a screen."""
    parts: list[list[Row]] = [source_rows(answer.sources, None, width)]
    for source in answer.sources:
        name: Row = [(f"{sanitize_line(source.name)}: {sanitize_line(source.format)}", "")]
        lengths = length_rows(source, _PRINTED_BARS, style)
        parts.append([name, *finding_rows(source, UNBROKEN), *_harmless_row(source), *lengths])
    if answer.heldout:
        parts.append(heldout_rows(answer.heldout, UNBROKEN))
    parts.append([*template_rows(answer, UNBROKEN), style.legend])
    total = len(answer.rows)
    for number, row in enumerate(answer.rows, 1):
        place = f"row {number} of {total} ({sanitize_line(row.source)})"
        parts.append([*head_rows(row, place, UNBROKEN), *body(row, width, style)])
    written = coloured if style.has_colour else plain
    return "\n\n".join("\n".join(written(row).rstrip() for row in rows) for rows in parts)


def body(row: DataRow, width: int, style: TextStyle) -> list[Row]:
    """A row beside its inference prompt."""
    titles = "trained on", "prompt at inference"
    if width < _SIDE_BY_SIDE:
        below = [[(titles[1], "")], *prompt(row, width, style)] if row.prompt else []
        return [[(titles[0], "")], *training(row, width, style), *below]
    column = (width - 3) // 2
    rows: list[Row] = [
        [(f"{titles[0]:<{column}} | {titles[1]}", "")],
        [(f"{'-' * column}-+-{'-' * column}", "")],
    ]
    sides = training(row, column, style), prompt(row, column, style)
    return rows + beside(*sides, column, (" | ", ""))
