"""The last page of a headless run: loss curve, answers side by side, figures, what to do next."""

import sys
from itertools import zip_longest

from engine.run.rundir import RunDir
from workbench.run_view.run_state import RunState
from workbench.text.sanitize import clean_line, clean_path
from workbench.text.styled import fit, wrap

_CHART_ROWS = 12
_MAX_WIDTH = 110


def ending(run: RunDir, state: RunState, width: int) -> str:
    """The page, at most `width` columns wide."""
    width = min(width, _MAX_WIDTH)
    parts = [chart(state, width), side_by_side(state, width), figures(run, state)]
    return "\n\n".join(part for part in parts if part)


def chart(state: RunState, width: int) -> str:
    """Loss over steps; empty for a run too short to draw, or where braille can't be printed."""
    means = zip(*state.steps.means("loss"), strict=True)
    points = [(step, loss) for step, loss in means if loss == loss]
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    if len(points) < 3 or encoding != "utf8":
        return ""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, _CHART_ROWS)
    plotext.title("loss per token")
    plotext.plot(*zip(*points, strict=True), marker="braille")
    return str(plotext.uncolorize(plotext.build())).rstrip()


def side_by_side(state: RunState, width: int) -> str:
    """The latest answers of base and adapter in two columns, prompt by prompt."""
    column = max(20, (width - 3) // 2)
    lines = [f"{'base':<{column}} | adapter", f"{'-' * column}-+-{'-' * column}"]
    for sample in state.last_samples:
        base, adapter = (clean_line(text) or "(nothing)" for text in (sample.base, sample.adapter))
        pairs = zip_longest(wrap(base, column), wrap(adapter, column), fillvalue="")
        lines.append(f"> {clean_line(sample.prompt)}")
        lines += [f"{fit(left, column)} | {right}".rstrip() for left, right in pairs]
    return "\n".join(lines) if state.last_samples else ""


def figures(run: RunDir, state: RunState) -> str:
    """What was measured, and where the adapter lies."""
    done = state.done
    if done is None:
        return ""
    lines = []
    if done.trained_exact is not None:
        lines.append(f"exact facts on trained questions   {done.trained_exact:7.1%}  (adapter)")
    if done.heldout_exact is not None:
        lines.append(f"exact facts on held-out wordings   {done.heldout_exact:7.1%}  (adapter)")
    if done.base_exact is not None:
        lines.append(f"exact facts on all these questions {done.base_exact:7.1%}  (base)")
    how = f"stopped by {clean_line(done.stopped_by)}" if done.stopped_by else "done"
    lines.append(f"{how}: {done.steps} steps in {done.elapsed_s:.1f} s of training")
    lines.append(f"adapter: {clean_path(run.path / done.adapter)}")
    return "\n".join(lines)
