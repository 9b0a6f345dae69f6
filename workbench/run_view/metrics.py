"""Which metrics of a run charts and tables show, and how their figures are written."""

from collections.abc import Callable

import msgspec

from engine.events import kinds
from engine.events.kinds import Metric
from workbench.run_view.run_state import RunState
from workbench.text import format
from workbench.text.sanitize import sanitize_line

LOSS, TOKEN_ACCURACY = kinds.LOSS, kinds.TOKEN_ACCURACY
LEARNING_RATE, GRAD_NORM = kinds.LEARNING_RATE, kinds.GRAD_NORM
RESERVED_GIB, RSS_GIB = kinds.RESERVED_GIB, kinds.RSS_GIB
TOKENS_PER_S = Metric(name="tokens_per_s", title="tokens/s", style="count", is_noisy=True)
"""Beside the metrics of a step, not among them."""
_STYLES: dict[str, Callable[[float], str]] = {
    "number": "{:.4g}".format,
    "share": format.share,
    "scientific": "{:.2e}".format,
    "count": format.count,
    "gib": "{:.2f}".format,
}


def written(metric: Metric, value: float) -> str:
    """A figure of a metric, without its unit."""
    return "not a number" if value != value else _STYLES[metric.style](value)


def figure(metric: Metric, value: float | None) -> str:
    """A figure for tables and lines; a dash where nothing was measured."""
    if value is None:
        return "-"
    is_known_gib = is_memory(metric) and value == value
    return format.gib(value) if is_known_gib else written(metric, value)


def label(metric: Metric) -> str:
    """What tables and lines call it."""
    return metric.label or metric.title


def is_memory(metric: Metric) -> bool:
    """Whether it stands with the figures of memory, behind those of learning."""
    return metric.style == "gib"


def of_run(run: RunState) -> tuple[Metric, ...]:
    """What its charts can show: all that was declared or came, but for what never came."""
    declared = {metric.name: _harmless(metric) for metric in run.metrics}
    declared.setdefault(TOKENS_PER_S.name, TOKENS_PER_S)
    for name in run.steps.names:
        declared.setdefault(name, Metric(name=name, title=sanitize_line(name)))
    measured = [metric for name, metric in declared.items() if name in run.steps.names]
    return tuple(measured) or tuple(declared.values())


def _harmless(metric: Metric) -> Metric:
    """With texts that a terminal may show, whoever wrote the plan."""
    texts = {name: sanitize_line(getattr(metric, name)) for name in ("title", "label", "unit")}
    return msgspec.structs.replace(metric, **texts)


def of_learning(run: RunState) -> list[Metric]:
    """Those that its steps measured, but for memory and pace."""
    return [m for m in _measured(run) if not is_memory(m) and m.name != TOKENS_PER_S.name]


def of_memory(run: RunState) -> list[Metric]:
    """Those of memory that its steps measured."""
    return [metric for metric in _measured(run) if is_memory(metric)]


def _measured(run: RunState) -> list[Metric]:
    return [metric for metric in of_run(run) if metric.name in run.steps.names]
