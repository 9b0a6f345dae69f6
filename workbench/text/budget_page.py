"""A budget as lines of text: a table of parts, a bar, verdicts."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from engine.budget.forecast import Band, Budget, Row
from engine.budget.suggestions import Largest, Suggestion
from engine.hardware.profiles import Profile
from engine.recipe.schema import Recipe
from workbench.text.format import amount, count
from workbench.text.sanitize import clean_line

_BAR_CELLS = 48
_LEAST_GIB = 0.005
BADGE = "estimated"


def page(name: str, profile: Profile, found: Budget, offered: Sequence[Suggestion]) -> list[str]:
    """The whole of it."""
    why = f" ({clean_line(profile.reason)})" if profile.reason else ""
    return [
        f"{clean_line(name)} on {clean_line(profile.title)}{why}",
        f"{BADGE}, highest in: {found.peak_moment}",
        "",
        *_table(found),
        "",
        bar(found.device.expected, found.usable_gib),
        f"  {verdict(found)}",
        *_beside(found),
        *([] if found.fits else _offers(offered)),
    ]


def _table(found: Budget) -> list[str]:
    rows = [row for row in found.rows if row.gib >= _LEAST_GIB]
    width = max((len(row.part) for row in rows), default=0)
    lines = [f"  {row.part:<{width}}  {row.gib:7.2f} GiB  {row.why}" for row in rows]
    totals = {"allocated": found.allocated, "reserved": found.reserved, "device": found.device}
    return [*lines, *(f"  {name:<{width}}  {_band(band)}" for name, band in totals.items())]


def _band(band: Band) -> str:
    return f"{band.expected:7.2f} GiB  {band.low:.2f} to {band.high:.2f}"


def bar(needed_gib: float, usable_gib: float) -> str:
    """What is needed of what is there; over its end where it is not enough."""
    cells = math.ceil(_BAR_CELLS * needed_gib / usable_gib) if usable_gib else _BAR_CELLS
    filled = "#" * min(cells, _BAR_CELLS)
    return f"  [{filled:<{_BAR_CELLS}}]{'#' * min(max(0, cells - _BAR_CELLS), 20)}"


def verdict(found: Budget) -> str:
    """Whether it fits, in words."""
    needed = f"{found.device.expected:.2f} of {found.usable_gib:.2f} GiB usable"
    if found.host_gib > found.host_usable_gib:
        host = f"{found.host_gib:.1f} GiB of {found.host_usable_gib:.1f} GiB usable"
        return f"{needed}; it doesn't fit the host's memory: {host}"
    words = {
        "fits": "it fits",
        "tight": f"tight: at its highest {found.device.high:.2f} GiB",
        "no": "it doesn't fit",
    }
    return f"{needed}: {words[found.verdict]}"


def _beside(found: Budget) -> list[str]:
    told = [f"  host memory {found.host_gib:.1f} GiB, disk {found.disk_gib:.2f} GiB"]
    tables = found.tables_on_host_gib
    return (
        [*told, f"  per-layer embeddings in host memory: {tables:.2f} GiB, mapped"]
        if tables
        else told
    )


def _offers(offered: Sequence[Suggestion]) -> list[str]:
    lines = ["", "What would save memory, or make it fit:"]
    for made in offered:
        ending = ", then it fits" if made.budget.fits else ""
        lines.append(f"  {' '.join(settings(made))}")
        lines.append(f"      saves {made.saves_gib:.2f} GiB{ending}; costs: {made.costs}")
    return lines if offered else []


def settings(made: Suggestion) -> list[str]:
    """A suggestion as options of the command line."""
    return [f"--set {key}={_value(value)}" for key, value in made.changes.items()]


def keys(made: Suggestion) -> list[str]:
    """A suggestion as lines of a recipe, each with its section in front."""
    return [f"{key} = {json.dumps(value)}" for key, value in made.changes.items()]


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return "'[" + ",".join(f'"{item}"' for item in value) + "]'"
    return str(value).lower() if isinstance(value, bool) else str(value)


def largest(found: Largest, recipe: Recipe) -> list[str]:
    """The longest rows and the largest batch."""
    batch = recipe.training.per_device_train_batch_size
    if not found.max_length and not found.per_device_train_batch_size:
        return ["  neither shorter rows nor a smaller batch make it fit"]
    return [
        f"  at most: rows of {count(found.max_length)} tokens in batches of {batch}, or batches of "
        f"{found.per_device_train_batch_size} rows of {count(recipe.data.max_length)} tokens"
    ]


def time(paced: dict[str, Any]) -> list[str]:
    """Seconds, hours and money, from the profile."""
    if paced["step_s"] is None:
        return ["  time: nothing is known of this device's speed"]
    told = f"  time: about {paced['step_s']:.2g} s a step, {count(paced['tokens_per_s'])} tokens/s"
    told += "" if paced["hours"] is None else f", {paced['hours']:.2g} h in all"
    told += "" if paced["cost"] is None else f", {paced['cost']:.2f} at that price"
    return [f"{told} (guessed from shapes, to a factor of two)"]


def cards(verdicts: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """A Markdown table in GiB: a row for each recipe or model, a column for each card."""
    names = list(next(iter(verdicts.values())))
    rows = [[name, *(_cell(found[card]) for card in names)] for name, found in verdicts.items()]
    return _markdown(["", *names], rows)


def recipes(found: dict[str, dict[str, Any]]) -> list[str]:
    """A Markdown table in GiB: a row for each recipe on its own hardware."""
    head = ["recipe", "hardware", "needs", "of", "rows x tokens", "trained parameters"]
    rows = [
        [
            name,
            one["hardware"],
            _cell(one),
            f"{one['usable_gib']:.1f}",
            f"{one['batch']} x {count(one['max_length'])}",
            count(one["trained"]),
        ]
        for name, one in found.items()
    ]
    return _markdown(head, rows)


def _markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head))]
    return [_row(head, widths), _row(["-" * width for width in widths], widths)] + [
        _row(row, widths) for row in rows
    ]


def _cell(found: dict[str, Any]) -> str:
    return "-" if found["verdict"] is None else f"{found['verdict']} {found['device_gib']:.1f}"


def _row(cells: Iterable[str], widths: Sequence[int]) -> str:
    padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def summary(found: Budget) -> str:
    """In one line, for a refusal."""
    return f"{verdict(found)} ({BADGE}, highest in: {found.peak_moment})"


def parts(found: Budget, most: int) -> list[tuple[str, float]]:
    """The largest parts with their GiB, at most so many; what is left counts as one of them."""
    rows = sorted((row for row in found.rows if row.gib >= _LEAST_GIB), key=lambda row: -row.gib)
    if len(rows) <= most or most < 2:
        return [(row.part, row.gib) for row in rows[: max(0, most)]]
    shown, left = rows[: most - 1], rows[most - 1 :]
    return [*((row.part, row.gib) for row in shown), (_more(left), sum(row.gib for row in left))]


def _more(left: Sequence[Row]) -> str:
    return f"{amount(len(left), 'part')} more"
