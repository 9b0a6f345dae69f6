"""What the app costs over a thin line, in a terminal of 120x40: `bench/terminal.py [NAME...]`.

Figures are of the real app in a PTY that is read here, on runs whose engine only tells of steps.
Prints the figure reached beside the one to reach; medians where not said otherwise.
"""

import math
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.app import stand_in_engine  # noqa: E402
from bench.app.first_paint import start  # noqa: E402
from bench.app.pty_line import PtyLine  # noqa: E402
from engine.run.rundir import RunDir  # noqa: E402

_STEP = re.compile(r"(\d+) of \d+ steps")
APP = [sys.executable, "-m", "workbench.cli"]
Figure = tuple[str, str, str]
"""What was measured, the figure reached, the figure to reach."""
_STARTS = 5
_SETTLE_S, _LISTEN_S = 3.0, 20.0
_KEYS = 60
_LONG_RUN_STEPS, _DAY_STEPS = 200_000, 24 * 7200
_THIN_BYTES_PER_S = 50_000


@contextmanager
def at_work(run: RunDir, steps_per_s: float, steps: int) -> Iterator[None]:
    """A process that holds the run's lock and tells of steps."""
    command = [sys.executable, str(ROOT / "bench/app/stand_in_engine.py"), str(run.path)]
    command += [str(steps_per_s), str(steps)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as engine:
        assert engine.stdout is not None
        engine.stdout.readline()
        try:
            yield
        finally:
            engine.kill()


@contextmanager
def attached(
    steps_per_s: float, steps: int, steps_before: int = 0, bytes_per_s: float | None = None
) -> Iterator[PtyLine]:
    """The app on a run at work."""
    with tempfile.TemporaryDirectory() as folder:
        run = stand_in_engine.begin(Path(folder), steps)
        if steps_before:
            stand_in_engine.tell(run, 1, steps_before, steps)
        with (
            at_work(run, steps_per_s, steps),
            PtyLine([*APP, "attach", "bench"], Path(folder), bytes_per_s) as line,
        ):
            yield line


def first_paint() -> list[Figure]:
    """Seconds and memory of the setup screen."""
    with tempfile.TemporaryDirectory() as folder:
        figures = [start(APP, folder) for _ in range(_STARTS)]
    painted_s, _, _, settled_mib = map(statistics.median, zip(*figures, strict=True))
    return [
        ("first paint", f"{painted_s:.2f} s", "0.4 s"),
        ("memory once settled", f"{settled_mib:.0f} MiB", "60 MB"),
    ]


def _spent(line: PtyLine) -> tuple[float, float]:
    """Bytes a second and share of a core, over a while."""
    before, processor_s, began = line.num_bytes, line.processor_s, time.perf_counter()
    line.listen(_LISTEN_S)
    took_s = time.perf_counter() - began
    return (line.num_bytes - before) / took_s, (line.processor_s - processor_s) / took_s


def idle() -> list[Figure]:
    """A run of which nothing new is told."""
    with attached(0, 2_000, steps_before=500) as line:
        line.until(_tells(500))
        line.listen(_SETTLE_S)
        per_s, share = _spent(line)
    return [
        ("idle: bytes", f"{per_s:.0f} B/s", "50 B/s"),
        ("idle: processor", f"{share:.1%} of a core", "1 %"),
    ]


def live() -> list[Figure]:
    """Two steps a second."""
    with attached(2, 2_000) as line:
        line.until(_tells(4))
        line.listen(_SETTLE_S)
        per_s, share = _spent(line)
    return [
        ("live, 2 steps/s: bytes", f"{per_s:.0f} B/s", "2 KB/s"),
        ("live, 2 steps/s: processor", f"{share:.1%} of a core", "3 %"),
    ]


def _key_ms(bytes_per_s: float | None) -> float:
    """Milliseconds from a key to its effect on the log, at 1,000 steps/s: the 95th percentile."""
    with attached(1_000, 200_000, bytes_per_s=bytes_per_s) as line:
        line.until(lambda rows: any("line 299" in row for row in rows))
        line.listen(_SETTLE_S)
        line.press(b"4")
        line.listen(1)
        dice, delays_ms = random.Random(1), []
        for number in range(_KEYS):
            line.listen(dice.uniform(0.1, 0.4))
            before, pressed_at = _log(line.screen.rows()), time.perf_counter()
            line.press(b"\x1b[A" if number % 2 == 0 else b"\x1b[B")
            line.until(lambda rows, before=before: _log(rows) != before)  # type: ignore[misc]
            delays_ms.append(1e3 * (time.perf_counter() - pressed_at))
    return statistics.quantiles(delays_ms, n=20)[-1]


def _log(rows: list[str]) -> list[str]:
    return [row for row in rows if "line " in row]


def key() -> list[Figure]:
    """A key's effect while a thousand steps a second come in."""
    return [("key to paint at 1,000 steps/s, p95", f"{_key_ms(None):.0f} ms", "50 ms")]


def thin() -> list[Figure]:
    """The same on a thin line."""
    name = "the same on a line of 50 KB/s"
    return [(name, f"{_key_ms(_THIN_BYTES_PER_S):.0f} ms", "150 ms")]


def attach() -> list[Figure]:
    """A long run: until the screen shows what it goes on to show."""
    opened_s, processor_s = [], []
    for _ in range(3):
        with attached(0, _LONG_RUN_STEPS, steps_before=_LONG_RUN_STEPS - 1) as line:
            opened_s.append(_until_final(line, _tells(_LONG_RUN_STEPS - 1)))
            processor_s.append(line.processor_s)
    name = "attach to 200,000 events, to the right chart"
    return [
        (name, f"{statistics.median(opened_s):.1f} s", "2 s"),
        ("attach: processor, a second after", f"{statistics.median(processor_s):.1f} s", ""),
    ]


def _until_final(line: PtyLine, is_last: Callable[[list[str]], bool]) -> float:
    """Seconds until the screen stands as it still does a second after its last words came."""
    screens: dict[float, list[str]] = {}

    def is_there(rows: list[str]) -> bool:
        screens[time.perf_counter() - line.began] = rows
        return is_last(rows)

    line.until(is_there)
    line.listen(1)
    final = line.screen.rows()
    return next((at for at, rows in screens.items() if rows == final), math.inf)


def day() -> list[Figure]:
    """A day of two steps a second, told in half a minute."""
    with attached(_DAY_STEPS / 30, _DAY_STEPS) as line:
        line.until(_tells(_DAY_STEPS // 8))
        early = line.resident_mib
        line.until(_tells(_DAY_STEPS))
        line.listen(_SETTLE_S)
        grown = line.resident_mib - early
    return [("memory grown from hour 3 to 24 of a run", f"{grown:+.1f} MiB", "flat")]


def _tells(step: int) -> Callable[[list[str]], bool]:
    """Whether the screen tells of a step or a later one."""
    return lambda rows: any(int(match[1]) >= step for row in rows if (match := _STEP.search(row)))


MODES = {mode.__name__: mode for mode in (first_paint, idle, live, key, thin, attach, day)}


def main(names: list[str]) -> None:
    """Print a table."""
    terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    os.environ.update(terminal, PYTHONPATH=str(ROOT))
    print("| | reached | to reach |\n|---|--:|--:|")
    for name in names or MODES:
        for figure in MODES[name]():
            print("| {} | {} | {} |".format(*figure), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
