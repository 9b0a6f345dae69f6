"""One row that shows which of several steps is chosen."""

from collections.abc import Sequence

from workbench.widgets.canvas import Row, Span

_MIN_TRACK = 8


def slider(steps: Sequence[int], chosen: int, width: int, *, is_ascii: bool) -> Row:
    """A track with a mark per step, placed by step, and the chosen one's number."""
    place = steps.index(chosen)
    words = f"step {chosen}"
    count = f"{place + 1} of {len(steps)}"
    room = width - len(words) - len(count) - 4
    spans: list[Span] = [("step ", "dim"), (str(chosen), "strong"), ("  ", "")]
    if len(steps) > 1 and room >= _MIN_TRACK:
        spans += [*_track(steps, chosen, room, is_ascii=is_ascii), ("  ", "")]
    return [*spans, (count, "dim")]


def _track(steps: Sequence[int], chosen: int, width: int, *, is_ascii: bool) -> list[Span]:
    line, stop, here = ("-", "+", "O") if is_ascii else ("─", "┼", "●")
    first, reach = steps[0], max(1, steps[-1] - steps[0])
    cells = [line] * width
    for step in steps:
        cells[(step - first) * (width - 1) // reach] = stop
    at = (chosen - first) * (width - 1) // reach
    return [
        ("".join(cells[:at]), "dim"),
        (here, "accent"),
        ("".join(cells[at + 1 :]), "dim"),
    ]
