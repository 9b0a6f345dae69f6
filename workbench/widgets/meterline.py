"""One row of how busy the machine is."""

from engine.hardware.monitor import GpuMeter, Meters
from workbench.widgets.canvas import Canvas, Row, Span

_HOT_C, _FULL_SHARE, _LITTLE_DISK_GIB = 85, 0.95, 5
_GAP: Span = ("    ", "")


class MeterLine(Canvas):
    """Card, host memory, disk; takes no room while nothing is known."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._meters: Meters | None = None

    def show(self, meters: Meters | None) -> None:
        """Show these instead."""
        self._meters = meters
        self.set_class(meters is not None, "-some")
        self.redraw()

    def drawn(self, width: int, height: int) -> list[Row]:
        """One row; words are left out where it is short of room."""
        if self._meters is None:
            return []
        long = _spans(self._meters, is_short=False)
        is_short = sum(len(text) for text, _ in long) > width
        return [_spans(self._meters, is_short=True) if is_short else long]


def _spans(meters: Meters, *, is_short: bool) -> list[Span]:
    host, total = meters.host_used_gib, meters.host_total_gib
    spans = _of_gpu(meters.gpu, is_short=is_short) if meters.gpu else []
    spans += [
        ("RAM " if is_short else "host memory ", "dim"),
        _amount(host, total, is_short=is_short),
        _GAP,
        ("disk ", "dim"),
        (
            f"{meters.disk_free_gib:.0f}{'' if is_short else ' GiB'} free",
            "bad" if meters.disk_free_gib < _LITTLE_DISK_GIB else "",
        ),
    ]
    return spans


def _of_gpu(gpu: GpuMeter, *, is_short: bool) -> list[Span]:
    spans: list[Span] = [("GPU ", "dim")]
    if gpu.busy_share is not None:
        spans.append((f"{gpu.busy_share:4.0%}  ", "strong"))
    if gpu.used_gib is not None and gpu.total_gib is not None:
        spans += [_amount(gpu.used_gib, gpu.total_gib, is_short=is_short), ("  ", "")]
    if gpu.temperature_c is not None:
        spans.append(
            (f"{gpu.temperature_c:.0f} °C  ", "warn" if gpu.temperature_c >= _HOT_C else "")
        )
    if gpu.power_w is not None:
        spans.append((f"{gpu.power_w:.0f} W", ""))
    return [*spans, _GAP]


def _amount(used: float, total: float, *, is_short: bool) -> Span:
    text = f"{used:.1f}/{total:.0f}" if is_short else f"{used:.1f} of {total:.1f} GiB"
    return text, "warn" if used > _FULL_SHARE * total else ""
