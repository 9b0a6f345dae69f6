"""What a screen says of a run, in rows: how it stands, its plan, last step, machine, memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.events import Done, Failed, Memory, Metric, Plan, Warned
from engine.problems import Refusal
from engine.run.rundir import RunDir, State
from workbench.run_view import metrics
from workbench.run_view.run_state import RunState
from workbench.text import format
from workbench.text.layouts import Fact
from workbench.text.styled import Row, Span, plain, wrap, wrapped

if TYPE_CHECKING:
    from engine.hardware.monitor import GpuUsage, HardwareUsage

_HASH_CHARS = 12
_MIN_BAR, _MAX_STATUS_ROWS = 8, 5
_LEFT_ROOM = len("1:00:00 left")
"""Room kept for what changes, so that the bar stands still."""
_HOT_C, _FULL_SHARE, _LITTLE_DISK_GIB = 85, 0.95, 5
_GAP: Span = ("    ", "")
_CODES_OF_LIVE_ADVICE = {"loss_spike"}
"""Warnings whose remedy is to stop the run, of no use once it has ended."""


def status_rows(
    run: RunState, state: State, place: str, width: int, *, is_ascii: bool
) -> list[Row]:
    """Phase and progress while it lives, then how it ended; `place` is the run's folder."""
    if run.done is not None:
        rows = done_rows(run.done, place, width)
    elif run.failed is not None:
        rows = _failed(run.failed, place, width)
    elif state.name in {"died", "damaged"}:
        after = f"after step {run.last_step.step}" if run.last_step else "before its first step"
        rows = [[(state.name, "bad"), (f"  {after}", "")]]
        rows += _labelled("cause", state.cause, width)[:2]
        rows += _labelled("log", "its last lines stand below", width)
    else:
        rows = [_phase(run), _progress(run, width, is_ascii=is_ascii)]
    return rows[:_MAX_STATUS_ROWS]


def _phase(run: RunState) -> Row:
    if run.hello is None:
        return [("starting", "accent"), ("  the engine has not spoken yet", "dim")]
    if run.phase is None:
        return [("starting", "accent"), ("  the engine loads its libraries", "dim")]
    return [(run.phase.name, "accent"), (f"  {run.phase.detail}", "dim")]


def _progress(run: RunState, width: int, *, is_ascii: bool) -> Row:
    ratio = run.progress_ratio
    if ratio is None or run.plan is None:
        return []
    total = run.plan.total_steps
    left = f"{format.duration(run.eta_s)} left" if run.eta_s is not None else ""
    done = f"{run.last_step.step if run.last_step else 0} of {total} steps"
    text = f"{ratio:<4.0%}   {done:<{2 * len(str(total)) + 10}}   {left:<{_LEFT_ROOM}}  "
    cells = max(_MIN_BAR, width - len(text))
    full, empty = ("#", "-") if is_ascii else ("━", "━")
    filled = round(ratio * cells)
    return [(text, ""), (full * filled, "accent"), (empty * (cells - filled), "band")]


def done_rows(done: Done, place: str, width: int) -> list[Row]:
    """Steps, loss and accuracy, exact facts where the recipe scores them, and the adapter."""
    mark = "stopped and saved" if done.stopped_by else "done"
    steps = f"{format.count(done.steps)} steps in {format.duration(done.elapsed_s)}"
    by = f", asked by {done.stopped_by}" if done.stopped_by else ""
    loss, accuracy = format.figure(done.loss), format.share(done.token_accuracy)
    rows: list[Row] = [
        [(mark, "good"), (f"  {steps}{by}", "")],
        _pairs([("loss", loss), ("token accuracy", accuracy)]),
    ]
    exact = _pairs(
        (name, format.share(share))
        for name, share in (
            ("trained facts", done.trained_exact),
            ("held-out wordings", done.heldout_exact),
            ("base model", done.base_exact),
        )
        if share is not None
    )
    rows += [exact] if exact else []
    if done.general_kept is not None:
        share = f"{format.share(done.general_kept)} of {done.general_known} answers of the base"
        rows.append(_pairs([("general answers kept", share)]))
    return [*rows, *_labelled("adapter", f"{place}/{done.adapter}", width)]


def _failed(failed: Failed, place: str, width: int) -> list[Row]:
    first, *rest = wrap(f"while {failed.phase}: {failed.error}", width - 8)
    rows: list[Row] = [[("failed", "bad"), (f"  {first}", "")]]
    rows += [[(" " * 8, ""), (line, "")] for line in rest[:1]]
    rows += _labelled("try", failed.hint, width)[:2] if failed.hint else []
    return [*rows, *_labelled("log", f"{place}/{failed.log}", width)]


def _pairs(pairs: Iterable[tuple[str, str]]) -> Row:
    spans: list[Span] = []
    for name, value in pairs:
        spans += [(f"{name} ", "dim"), (value, "strong"), ("   ", "")]
    return spans


def _labelled(name: str, text: str, width: int) -> list[Row]:
    return wrapped(text, "", width, (f"{name:<8}", "dim"))


def warning_rows(warnings: Iterable[Warned], is_alive: bool, width: int) -> list[Row]:
    """What is the matter, then the remedy while there is one; the newest comes first."""
    texts = [
        f"{one.message}. {one.fix}"
        if one.fix and (is_alive or one.code not in _CODES_OF_LIVE_ADVICE)
        else one.message
        for one in warnings
    ]
    lead = ("warning  ", "warn")
    return [row for text in reversed(texts) for row in wrapped(text, "", width, lead)]


def usage_row(usage: HardwareUsage, width: int) -> Row:
    """Card, host memory, disk; words are left out where it is short of room."""
    row = _usage(usage, is_short=False)
    return row if len(plain(row)) <= width else _usage(usage, is_short=True)


def _usage(usage: HardwareUsage, *, is_short: bool) -> Row:
    disk = f"{usage.disk_free_gib:.0f}{'' if is_short else ' GiB'} free"
    return [
        *(_of_gpu(usage.gpu, is_short=is_short) if usage.gpu else []),
        ("RAM " if is_short else "host memory ", "dim"),
        _amount(usage.host_used_gib, usage.host_total_gib, is_short=is_short),
        _GAP,
        ("disk ", "dim"),
        (disk, "bad" if usage.disk_free_gib < _LITTLE_DISK_GIB else ""),
    ]


def _of_gpu(gpu: GpuUsage, *, is_short: bool) -> list[Span]:
    spans: list[Span] = [("GPU ", "dim")]
    if gpu.busy_share is not None:
        spans.append((f"{gpu.busy_share:4.0%}  ", "strong"))
    if gpu.used_gib is not None and gpu.total_gib is not None:
        spans += [_amount(gpu.used_gib, gpu.total_gib, is_short=is_short), ("  ", "")]
    if gpu.temperature_c is not None:
        ink = "warn" if gpu.temperature_c >= _HOT_C else ""
        spans.append((f"{gpu.temperature_c:.0f} °C  ", ink))
    if gpu.power_w is not None:
        spans.append((f"{gpu.power_w:.0f} W", ""))
    return [*spans, _GAP]


def _amount(used: float, total: float, *, is_short: bool) -> Span:
    text = f"{used:.1f}/{total:.0f}" if is_short else f"{used:.1f} of {total:.1f} GiB"
    return text, "warn" if used > _FULL_SHARE * total else ""


def of_plan(plan: Plan | None) -> list[Fact]:
    """What the engine resolved before its first step."""
    if plan is None:
        return [("", "no plan yet", "dim")]
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
    return [(f"at step {run.memory.step}", compared(run.memory), "")]


@dataclass(frozen=True, slots=True)
class MemoryForecast:
    """GiB; None is not known."""

    reserved_gib: float | None = None
    """Taken from an accelerator's driver."""
    host_gib: float | None = None
    """Of the engine's process in host memory."""


def forecast_of(run: RunDir) -> MemoryForecast:
    """The forecast that a run was started with; none where its request tells of none."""
    try:
        forecast: Any = run.read_request().forecast
        return MemoryForecast(
            _number(forecast["reserved_gib"]["expected"]), _number(forecast["host_gib"])
        )
    except (Refusal, KeyError, TypeError):
        return MemoryForecast()


def forecast_beside(forecast: MemoryForecast, event: Memory | None) -> MemoryForecast:
    """The forecast as the engine told it, as soon as it did."""
    if event is None:
        return forecast
    return MemoryForecast(event.forecast_reserved_gib, event.forecast_host_gib)


def compared(event: Memory) -> str:
    """The memory event in words: of the accelerator where there is one, else of the process."""
    pair = (event.forecast_reserved_gib, event.reserved_gib)
    forecast, measured = (event.forecast_host_gib, event.rss_gib) if pair[1] is None else pair
    if forecast is None:
        return f"measured {measured:.2f} GiB, no forecast"
    return f"forecast {forecast:.2f}, measured {measured:.2f} GiB"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
