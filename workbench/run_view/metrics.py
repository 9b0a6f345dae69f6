"""Which metrics of a run charts and tables show, and how their figures are written."""

from collections.abc import Callable

from engine.events import kinds
from engine.events.kinds import Metric
from workbench.run_view.run_state import RunState
from workbench.text import format

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
    """A finite figure of a metric."""
    return _STYLES[metric.style](value)


def of_run(run: RunState) -> tuple[Metric, ...]:
    """What its charts can show: all that was declared or came, but for what never came."""
    declared = {metric.name: metric for metric in (*run.metrics, TOKENS_PER_S)}
    for name in run.steps.names:
        declared.setdefault(name, Metric(name=name, title=name))
    measured = [metric for name, metric in declared.items() if name in run.steps.names]
    return tuple(measured) or tuple(declared.values())
