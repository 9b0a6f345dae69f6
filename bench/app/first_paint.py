"""Seconds to the app's first paint in a 120x40 terminal, and its memory, over several starts.

    python bench/app/first_paint.py [STARTS] [COMMAND...]

The command is `gemma-bench`'s own by default.
"""

import os
import pty
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from fcntl import ioctl
from pathlib import Path

_SIZE = struct.pack("HHHH", 40, 120, 0, 0)
_MARK = b"Quit"
"""The footer's last word: with it, the first screen is painted whole."""
_DEADLINE_S = 10.0
_SETTLE_S = 1.5


def start(command: list[str], folder: str) -> tuple[float, float, float, float]:
    """Seconds and processor seconds to the first paint, MiB then, and MiB once settled."""
    began = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvp(command[0], command)
    ioctl(terminal, termios.TIOCSWINSZ, _SIZE)
    try:
        _read_until(terminal, _MARK)
        painted_s = time.perf_counter() - began
        processor_s = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
        first_mib = _resident_mib(pid)
        _drain(terminal, _SETTLE_S)
        return painted_s, processor_s, first_mib, _resident_mib(pid)
    finally:
        os.kill(pid, signal.SIGTERM)  # and its preview's engine, which would slow the next start
        os.waitpid(pid, 0)
        os.close(terminal)


def _read_until(terminal: int, mark: bytes) -> None:
    output, deadline = b"", time.perf_counter() + _DEADLINE_S
    while mark not in output:
        if not select.select([terminal], [], [], max(0.0, deadline - time.perf_counter()))[0]:
            raise TimeoutError(f"{mark!r} was not painted in {_DEADLINE_S} s: {output[-400:]!r}")
        output += os.read(terminal, 1 << 16)


def _drain(terminal: int, seconds: float) -> None:
    deadline = time.perf_counter() + seconds
    while (left := deadline - time.perf_counter()) > 0:
        if select.select([terminal], [], [], left)[0]:
            os.read(terminal, 1 << 16)


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Print medians and extremes."""
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    command = sys.argv[2:] or [sys.executable, "-m", "workbench.cli"]
    root = str(Path(__file__).resolve().parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.getenv("PYTHONPATH")])])
    os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
    with tempfile.TemporaryDirectory() as folder:
        figures = [start(command, folder) for _ in range(starts)]
    for name, values in zip(
        ("first paint, s", "processor, s", "memory then, MiB", "memory settled, MiB"),
        zip(*figures, strict=True),
        strict=True,
    ):
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:<20} median {middle:7.3f}   {low:7.3f} to {high:7.3f}")


if __name__ == "__main__":
    main()
