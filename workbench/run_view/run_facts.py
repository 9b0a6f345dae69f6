"""What a screen says of a run: the main facts of its plan, the figures of its last step."""

from engine.events import Metric, Plan
from workbench.recipe_editor.recipe_facts import Fact
from workbench.run_view import forecast_vs_measured, metrics
from workbench.run_view.run_state import RunState
from workbench.text import format

_HASH_CHARS = 12


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
    """The figures of the last step, and the latest of what only some steps measure."""
    last = run.last_step
    if last is None:
        return [("", "no step yet", "dim")]
    epochs = f" of {round(run.plan.epochs, 2):g}" if run.plan else ""
    return [
        ("epoch", f"{last.epoch:.2f}{epochs}", ""),
        *(_metric_fact(run, metric) for metric in metrics.of_learning(run)),
        ("tokens/s", format.count(last.tokens_per_s), ""),
        ("tokens", format.count(last.tokens), ""),
        *(_metric_fact(run, metric) for metric in metrics.of_memory(run)),
        *_compared(run),
        ("checkpoints", str(run.num_checkpoints), ""),
        *([("unread lines", str(run.unread_lines), "warn")] if run.unread_lines else []),
    ]


def _metric_fact(run: RunState, metric: Metric) -> Fact:
    """Its latest figure, though a step before the last may have measured it."""
    value, lowest = run.steps.last(metric.name), run.steps.least(metric.name)
    more = ""
    if metric.has_lowest and lowest is not None:
        more = f", best {metrics.figure(metric, lowest)}"
    ink = "bad" if value is not None and value != value else ""
    return (metrics.label(metric), f"{metrics.figure(metric, value)}{more}", ink)


def _compared(run: RunState) -> list[Fact]:
    if run.memory is None:
        return []
    return [(f"at step {run.memory.step}", forecast_vs_measured.compared(run.memory), "")]
