"""What a screen says of a run: the main facts of its plan, the figures of its last step."""

from engine.events import Plan
from workbench.recipe_editor.recipe_facts import Fact
from workbench.run_view import forecast_vs_measured
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
    """The figures of the last step."""
    last = run.last_step
    if last is None:
        return [("", "no step yet", "dim")]
    epochs = f" of {round(run.plan.epochs, 2):g}" if run.plan else ""
    best = "" if run.best_loss is None else f", best {format.figure(run.best_loss)}"
    accelerator: list[Fact] = (
        []
        if last.allocated_gib is None
        else [
            ("allocated", format.gib(last.allocated_gib), ""),
            ("reserved", format.gib(last.reserved_gib), ""),
        ]
    )
    return [
        ("epoch", f"{last.epoch:.2f}{epochs}", ""),
        ("loss", f"{format.figure(last.loss)}{best}", _ink(last.loss)),
        ("accuracy", format.share(last.token_accuracy), ""),
        ("learning rate", f"{last.learning_rate:.2e}", ""),
        ("gradient norm", format.figure(last.grad_norm), _ink(last.grad_norm)),
        ("tokens/s", format.count(last.tokens_per_s), ""),
        ("tokens", format.count(last.tokens), ""),
        *accelerator,
        ("memory", format.gib(last.rss_gib), ""),
        *_compared(run),
        ("checkpoints", str(run.num_checkpoints), ""),
        *([("unread lines", str(run.unread_lines), "warn")] if run.unread_lines else []),
    ]


def _compared(run: RunState) -> list[Fact]:
    if run.memory is None:
        return []
    return [(f"at step {run.memory.step}", forecast_vs_measured.compared(run.memory), "")]


def _ink(number: float | None) -> str:
    return "bad" if number is None or number != number else ""
