"""A budget in rows of styled text, which a pane shows and the command prints."""

import math
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from engine.budget.forecast import Band, Budget, Verdict
from engine.budget.suggestions import Largest, Suggestion
from engine.hardware.profiles import Profile
from engine.recipe.schema import Recipe
from workbench.text import toml_text
from workbench.text.format import amount, count, span
from workbench.text.sanitize import sanitize_line
from workbench.text.styled import Row, plain, wrapped

BADGE: Row = [("estimated", "strong")]
_INKS = {Verdict.FITS: "good", Verdict.TIGHT: "warn", Verdict.NO: "bad"}
_BAR_CELLS, _BEYOND = 60, 6
"""A bar's width in text, and the share of it, a sixth, that lies beyond its end."""
_TWO_COLUMNS = 60
_ROOMY = 3
"""Rows to spare from which the highest moment is worth one of them."""
_SHOWN_FROM_GIB = 0.005


def page(
    name: str, profile: Profile, budget: Budget, suggestions: Sequence[Suggestion]
) -> list[str]:
    """The whole of it."""
    why = f" ({sanitize_line(profile.reason)})" if profile.reason else ""
    below = [plain(bar(budget, _BAR_CELLS, is_ascii=True)), verdict(budget), plain(beside(budget))]
    return [
        f"{sanitize_line(name)} on {sanitize_line(profile.title)}{why}",
        plain([*BADGE, (", ", ""), *peak_moment(budget)]),
        "",
        *_table(budget),
        "",
        *(f"  {line}" for line in below),
        *_tables_on_host(budget),
        *([] if budget.fits else _offers(suggestions)),
    ]


def pane(budget: Budget, width: int, height: int, *, is_ascii: bool) -> list[Row]:
    """What there is room for: the bar and its verdict first, then moment, parts, host and disk."""
    head = [BADGE, bar(budget, width, is_ascii=is_ascii)]
    head += wrapped(verdict(budget), _INKS[budget.verdict], width)
    room = height - len(head) - 1
    if room >= _ROOMY:
        head.append(peak_moment(budget))
        room -= 1
    columns = 2 if width >= _TWO_COLUMNS else 1
    shown = parts(budget, room * columns)
    names = max((len(name) for name, _ in shown), default=0) + 1
    cells = [f"{name:<{names}}{gib:6.2f} GiB" for name, gib in shown]
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    return [*head, *([("   ".join(row), "")] for row in rows), beside(budget)]


def peak_moment(budget: Budget) -> Row:
    """When in a step most is held."""
    return [("highest in ", "dim"), (budget.peak_moment, "")]


def bar(budget: Budget, width: int, *, is_ascii: bool) -> Row:
    """It ends where the usable memory does, and goes on over that end where it must."""
    full, free, end = "#-|" if is_ascii else "█░│"
    beyond = width // _BEYOND
    cells = max(1, width - beyond - 1)
    ratio = budget.device.expected / budget.usable_gib if budget.usable_gib else math.inf
    needed = math.ceil(min(ratio, 2.0) * cells)
    ink = _INKS[budget.verdict]
    return [
        (full * min(needed, cells), ink),
        (free * (cells - needed), "band"),
        (end, "strong"),
        (full * min(needed - cells, beyond), ink),
    ]


def verdict(budget: Budget) -> str:
    """Whether it fits, in words."""
    needed = f"{budget.device.expected:.2f} of {budget.usable_gib:.2f} GiB usable"
    if budget.memory_of_others:
        needed += f" ({sanitize_line(budget.memory_of_others)})"
    if budget.host_gib > budget.host_usable_gib:
        host = f"{budget.host_gib:.1f} GiB of {budget.host_usable_gib:.1f} GiB usable"
        return f"{needed}; it doesn't fit the host's memory: {host}"
    words = {
        Verdict.FITS: "it fits",
        Verdict.TIGHT: f"tight: at its highest {budget.device.high:.2f} GiB",
        Verdict.NO: "it doesn't fit",
    }
    return f"{needed}: {words[budget.verdict]}"


def summary(budget: Budget) -> str:
    """In one line, for a refusal."""
    return f"{verdict(budget)} ({plain(BADGE)}, {plain(peak_moment(budget))})"


def beside(budget: Budget) -> Row:
    """Memory of the host and room on the disk."""
    usable = budget.host_usable_gib
    of = f" of {usable:.1f}" if math.isfinite(usable) else ""
    return [
        ("host ", "dim"),
        (f"{budget.host_gib:.1f}{of} GiB", ""),
        ("   disk ", "dim"),
        (f"{budget.disk_gib:.2f} GiB", ""),
    ]


def parts(budget: Budget, limit: int) -> list[tuple[str, float]]:
    """The largest parts with their GiB, at most so many; what is left counts as one of them."""
    rows = [(row.part, row.gib) for row in budget.rows if row.gib >= _SHOWN_FROM_GIB]
    rows.sort(key=lambda row: -row[1])
    if len(rows) <= limit or limit < 2:
        return rows[: max(0, limit)]
    shown, rest = rows[: limit - 1], rows[limit - 1 :]
    return [*shown, (f"{amount(len(rest), 'part')} more", sum(gib for _, gib in rest))]


def _table(budget: Budget) -> list[str]:
    rows = [row for row in budget.rows if row.gib >= _SHOWN_FROM_GIB]
    width = max((len(row.part) for row in rows), default=0)
    lines = [f"  {row.part:<{width}}  {row.gib:7.2f} GiB  {row.why}" for row in rows]
    totals = {"allocated": budget.allocated, "reserved": budget.reserved, "device": budget.device}
    return [*lines, *(f"  {name:<{width}}  {_band(band)}" for name, band in totals.items())]


def _band(band: Band) -> str:
    return f"{band.expected:7.2f} GiB  {band.low:.2f} to {band.high:.2f}"


def _tables_on_host(budget: Budget) -> list[str]:
    tables_gib = budget.tables_on_host_gib
    return [f"  per-layer embeddings in host memory: {tables_gib:.2f} GiB, mapped"] * bool(
        tables_gib
    )


def _offers(suggestions: Sequence[Suggestion]) -> list[str]:
    lines = ["", "What would save memory, or make it fit:"]
    for suggestion in suggestions:
        ending = ", then it fits" if suggestion.budget.fits else ""
        lines.append(f"  {' '.join(settings(suggestion))}")
        lines.append(
            f"      saves {suggestion.saves_gib:.2f} GiB{ending}; costs: {suggestion.costs}"
        )
    return lines if suggestions else []


def settings(suggestion: Suggestion) -> list[str]:
    """A suggestion as options of the command line, quoted for a shell."""
    return [
        f"--set {key}={shlex.quote(toml_text.of_setting(value))}"
        for key, value in suggestion.changes.items()
    ]


def keys(suggestion: Suggestion) -> list[str]:
    """A suggestion as lines of a recipe, each with its section in front."""
    return [f"{key} = {toml_text.of_value(value)}" for key, value in suggestion.changes.items()]


def largest(most: Largest, recipe: Recipe) -> list[str]:
    """The longest rows and the largest batch."""
    batch = recipe.training.per_device_train_batch_size
    if not most.max_length and not most.per_device_train_batch_size:
        return ["  neither shorter rows nor a smaller batch make it fit"]
    return [
        f"  at most: rows of {count(most.max_length)} tokens in batches of {batch}, or batches of "
        f"{most.per_device_train_batch_size} rows of {count(recipe.data.max_length)} tokens"
    ]


def time(pace: dict[str, Any]) -> list[str]:
    """Seconds, hours and money, from the profile."""
    if pace["step_s"] is None:
        return ["  time: nothing is known of this device's speed"]
    line = f"  time: about {span(pace['step_s'])} a step, {count(pace['tokens_per_s'])} tokens/s"
    line += "" if pace["hours"] is None else f", {span(3600 * pace['hours'])} in all"
    line += "" if pace["cost"] is None else f", {pace['cost']:.2f} at that price"
    return [f"{line} (guessed from shapes, to a factor of two)"]


def cards(verdicts: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """A Markdown table in GiB: a row for each recipe or model, a column for each card."""
    names = list(next(iter(verdicts.values())))
    rows = [[name, *(_cell(of_card[card]) for card in names)] for name, of_card in verdicts.items()]
    return _markdown([["", *names], *rows])


def recipes(budgets: dict[str, dict[str, Any]]) -> list[str]:
    """A Markdown table in GiB: a row for each recipe on its own hardware."""
    head = ["recipe", "hardware", "needs", "of", "rows x tokens", "trained parameters"]
    rows = [
        [
            name,
            budget["hardware"],
            _cell(budget),
            f"{budget['usable_gib']:.1f}",
            f"{budget['batch']} x {count(budget['max_length'])}",
            count(budget["trained"]),
        ]
        for name, budget in budgets.items()
    ]
    return _markdown([head, *rows])


def _markdown(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *rest = rows
    return [_line(row, widths) for row in (head, ["-" * width for width in widths], *rest)]


def _cell(budget: dict[str, Any]) -> str:
    return "-" if budget["verdict"] is None else f"{budget['verdict']} {budget['device_gib']:.1f}"


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"
