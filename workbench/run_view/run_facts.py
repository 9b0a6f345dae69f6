"""What a screen says of a run: the main facts of its plan, the figures of its last step."""

from engine.events import Metric, Plan
from workbench.recipe_editor.recipe_facts import Fact
from workbench.run_view import forecast_vs_measured, metrics
from workbench.run_view.run_state import RunState
from workbench.text import format

_HASH_CHARS = 12
_SHORT_TITLES = {
    "token_accuracy": "accuracy", "rss_gib": "memory", "allocated_gib": "allocated",
    "reserved_gib": "reserved",
}  # fmt: skip
"""Of metrics whose titles are longer than a column of facts."""


def of_plan(plan: Plan) -> list[Fact]:
    """What the engine resolved before its first step."""
    share = plan.trainable_parameters / max(1, plan.parameters)
    trained = f"{format.count(plan.trainable_parameters)} ({100 * share:.2f} %)"
    tokens = f"{format.count(plan.tokens)}, {format.count(plan.supervised_tokens)} with loss"
    cut = f", {format.count(plan.truncated_rows)} cut" if plan.truncated_rows else ""
    left_out = ", ".join(f"{count} {reason}" for reason, count in plan.dropped.items() if count)
    return [
        ("model", plan.model, ""),
        ("device", f"{plan.device}, {plan.dtype}", ""),
        ("trained", trained, ""),
        ("targets", format.amount(len(plan.target_modules), "module"), ""),
        ("rows", f"{format.count(plan.rows)}{cut}", "warn" if cut else ""),
        ("left out", left_out or "none", "warn" if left_out else ""),
        ("tokens", tokens, ""),
        ("template", plan.template_hash[:_HASH_CHARS], ""),
        ("data", plan.data_fingerprint[:_HASH_CHARS], ""),
    ]


def of_last_step(run: RunState) -> list[Fact]:
    """The figures of the last step."""
    last = run.last_step
    if last is None:
        return [("", "no step yet", "dim")]
    epochs = f" of {round(run.plan.epochs, 2):g}" if run.plan else ""
    best = "" if run.best_loss is None else f", best {format.figure(run.best_loss)}"
    measured = _measured(run)
    memory = [metric for metric in measured if metric.style == "gib"]
    learning = [metric for metric in measured if metric.style != "gib"]
    return [
        ("epoch", f"{last.epoch:.2f}{epochs}", ""),
        *(_metric_fact(metric, last.metrics[metric.name], best) for metric in learning),
        ("tokens/s", format.count(last.tokens_per_s), ""),
        ("tokens", format.count(last.tokens), ""),
        *(_metric_fact(metric, last.metrics[metric.name], best) for metric in memory),
        *_compared(run),
        ("checkpoints", str(run.num_checkpoints), ""),
        *([("unread lines", str(run.unread_lines), "warn")] if run.unread_lines else []),
    ]


def _measured(run: RunState) -> list[Metric]:
    """The metrics of the last step, in the order in which they are declared."""
    came = run.last_step.metrics if run.last_step else {}
    declared = {metric.name: metric for metric in run.metrics if metric.name in came}
    others = [Metric(name=name, title=name) for name in came if name not in declared]
    return [*declared.values(), *others]


def _metric_fact(metric: Metric, value: float | None, best: str) -> Fact:
    more = best if metric.name == metrics.LOSS.name else ""
    title = _SHORT_TITLES.get(metric.name, metric.title)
    if metric.style == "gib" and value is not None:
        return (title, format.gib(value), "")
    text = format.figure(value) if value is None else metrics.written(metric, value)
    return (title, f"{text}{more}", "bad" if value is None else "")


def _compared(run: RunState) -> list[Fact]:
    if run.memory is None:
        return []
    return [(f"at step {run.memory.step}", forecast_vs_measured.compared(run.memory), "")]
