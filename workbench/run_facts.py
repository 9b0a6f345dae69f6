"""What a screen says of a run: the main facts of its plan, the figures of its last step."""

from engine.events import Plan
from workbench import foreseen, wording
from workbench.facts import Fact
from workbench.state import RunState

_HASH_CHARS = 12


def of_plan(plan: Plan) -> list[Fact]:
    """What the engine resolved before its first step."""
    share = plan.trainable_parameters / max(1, plan.parameters)
    trained = f"{wording.count(plan.trainable_parameters)} ({100 * share:.2f} %)"
    tokens = f"{wording.count(plan.tokens)}, {wording.count(plan.supervised_tokens)} with loss"
    cut = f", {wording.count(plan.truncated_rows)} cut" if plan.truncated_rows else ""
    left_out = ", ".join(f"{count} {reason}" for reason, count in plan.dropped.items() if count)
    return [
        ("model", plan.model, ""),
        ("device", f"{plan.device}, {plan.dtype}", ""),
        ("trained", trained, ""),
        ("targets", wording.amount(len(plan.target_modules), "module"), ""),
        ("rows", f"{wording.count(plan.rows)}{cut}", "warn" if cut else ""),
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
    best = "" if run.best_loss is None else f", best {wording.figure(run.best_loss)}"
    accelerator: list[Fact] = (
        []
        if last.allocated_gib is None
        else [
            ("allocated", wording.gib(last.allocated_gib), ""),
            ("reserved", wording.gib(last.reserved_gib), ""),
        ]
    )
    return [
        ("epoch", f"{last.epoch:.2f}{epochs}", ""),
        ("loss", f"{wording.figure(last.loss)}{best}", _ink(last.loss)),
        ("accuracy", wording.share(last.token_accuracy), ""),
        ("learning rate", f"{last.learning_rate:.2e}", ""),
        ("gradient norm", wording.figure(last.grad_norm), _ink(last.grad_norm)),
        ("tokens/s", wording.count(last.tokens_per_s), ""),
        ("tokens", wording.count(last.tokens), ""),
        *accelerator,
        ("memory", wording.gib(last.rss_gib), ""),
        *_compared(run),
        ("checkpoints", str(run.num_checkpoints), ""),
        *([("unread lines", str(run.unread_lines), "warn")] if run.unread_lines else []),
    ]


def _compared(run: RunState) -> list[Fact]:
    if run.memory is None:
        return []
    return [(f"at step {run.memory.step}", foreseen.compared(run.memory), "")]


def _ink(number: float | None) -> str:
    return "bad" if number is None or number != number else ""
