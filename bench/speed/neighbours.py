"""Two runs at once on the same cores, beside one alone.

    python bench/speed/neighbours.py [--repeats 3]

With the engine's environment and with OpenMP's own, whose threads keep their cores while they look
for work. A run that takes longer than --at-most-s is ended there, and told so.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from workbench.launch import OPENMP

STEPS = 20
_RUN = [str(Path(sys.executable).with_name("gemma-bench")), "--run", "quickstart", "--set"]
_OPENMP_S_OWN = {"GOMP_SPINCOUNT": "300000"}
"""As GNU's libgomp documents it for threads that have a core each."""


def together(count: int, variables: dict[str, str], at_most_s: float) -> float:
    """Seconds until the last of so many runs is done; all start at once."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        runs = [
            subprocess.Popen(
                [*_RUN, f"training.max_steps={STEPS}", "--out", str(number)], cwd=folder,
                env={**os.environ, **variables}, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for number in range(count)
        ]  # fmt: skip
        for run in runs:
            left_s = at_most_s - (time.perf_counter() - begun)
            try:
                run.wait(max(0.0, left_s))
            except subprocess.TimeoutExpired:
                _end(Path(folder))
                run.wait()
        return min(at_most_s, time.perf_counter() - begun)


def _end(folder: Path) -> None:
    """End the engines that work below a folder: they outlive who started them."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            is_ours = str(folder).encode() in command.read_bytes()
        except OSError:
            continue
        if is_ours:
            os.kill(int(command.parent.name), signal.SIGKILL)


def main() -> None:
    """Print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--at-most-s", type=float, default=300.0)
    options = parser.parse_args()
    print("| | alone | two at once | two over one |\n|---|--:|--:|--:|")
    for name, variables in (("engine's", dict(OPENMP)), ("OpenMP's own", _OPENMP_S_OWN)):
        alone_s, two_s = (
            statistics.median(
                together(count, variables, options.at_most_s) for _ in range(options.repeats)
            )
            for count in (1, 2)
        )
        most = "at least " if two_s >= options.at_most_s else ""
        print(f"| {name} | {alone_s:.1f} s | {most}{two_s:.1f} s | {most}{two_s / alone_s:.1f} |")


if __name__ == "__main__":
    main()
