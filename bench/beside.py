"""What others cost beside ours, measured the same way and in the same minutes.

`python bench/beside.py --posting VENV --harlequin VENV --plotext VENV`: virtual environments that
hold posting, harlequin and textual-plotext; one that isn't given is left out.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.app.pty_line import PtyLine  # noqa: E402
from bench.terminal import APP, Figure, live  # noqa: E402

_STARTS = 5
_QUIET_S = 0.4
_LISTEN_S = 20.0
_CHART = """
import math
from textual.app import App
from textual_plotext import PlotextPlot

class Curve(App):
    step = 0
    def compose(self):
        yield PlotextPlot()
    def on_mount(self):
        self.set_interval(0.5, self.more)
    def more(self):
        self.step += 1
        plot = self.query_one(PlotextPlot)
        plot.plt.clear_data()
        steps = list(range(1, self.step + 1))
        plot.plt.plot(steps, [4 * math.exp(-step / 40) for step in steps], marker="braille")
        plot.refresh()

Curve().run()
"""


def painted(name: str, command: list[str]) -> list[Figure]:
    """Seconds until the first paint is over, and memory then."""
    painted_s, resident_mib = [], []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = os.environ["XDG_CONFIG_HOME"] = folder
        for _ in range(_STARTS):
            with PtyLine(command, Path(folder)) as line:
                painted_s.append(_until_quiet(line))
                resident_mib.append(line.resident_mib)
    return [
        (f"{name}: first paint", f"{statistics.median(painted_s):.2f} s", ""),
        (f"{name}: memory then", f"{statistics.median(resident_mib):.0f} MiB", ""),
    ]


def _until_quiet(line: PtyLine) -> float:
    """Seconds from the start to the last byte before a pause, once a screen's worth was written."""
    last_at = time.perf_counter()
    while line.num_bytes < 1000 or time.perf_counter() - last_at < _QUIET_S:
        if line.read(_QUIET_S):
            last_at = time.perf_counter()
    return last_at - line.began


def curve(python: str) -> list[Figure]:
    """One chart of textual-plotext, drawn twice a second."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "curve.py"
        script.write_text(_CHART)
        with PtyLine([python, str(script)], Path(folder)) as line:
            line.listen(3)
            before, processor_s = line.num_bytes, line.processor_s
            line.listen(_LISTEN_S)
            per_s = (line.num_bytes - before) / _LISTEN_S
            share = (line.processor_s - processor_s) / _LISTEN_S
    return [
        ("a textual-plotext chart, 2 draws/s: bytes", f"{per_s:.0f} B/s", ""),
        ("a textual-plotext chart, 2 draws/s: processor", f"{share:.1%} of a core", ""),
    ]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("posting", "harlequin", "plotext"):
        parser.add_argument(f"--{name}", metavar="VENV", type=Path)
    options = parser.parse_args()
    terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    os.environ.update(terminal, PYTHONPATH=str(ROOT))
    figures = painted("the setup screen", APP)
    for name, venv in (("posting", options.posting), ("harlequin", options.harlequin)):
        figures += painted(name, [str(venv / "bin" / name)]) if venv else []
    os.environ["PYTHONPATH"] = ""
    figures += curve(str(options.plotext / "bin/python")) if options.plotext else []
    os.environ["PYTHONPATH"] = str(ROOT)
    print("| | measured |\n|---|--:|")
    for what, reached, _ in [*figures, *live()]:
        print(f"| {what} | {reached} |")


if __name__ == "__main__":
    main()
