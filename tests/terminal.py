"""Real terminals: tmux to see what a user sees, a bare PTY to see every byte."""

import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from types import TracebackType

APP = [sys.executable, "-m", "workbench.cli"]
PATIENCE_S = 60.0
PAUSE_S = 0.15
"""Longer than the app waits for what may follow an escape."""
_TMUX = shutil.which("tmux")


def surroundings(**more: str) -> dict[str, str]:
    """An environment that says nothing of the developer's terminal."""
    told = {"NO_COLOR", "COLUMNS", "LINES"}
    kept = {k: v for k, v in os.environ.items() if not (k in told or k.startswith("TEXTUAL"))}
    fixed = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
    return {**kept, **fixed, **more}


class Tmux:
    """A tmux of our own with one window."""

    def __init__(
        self, folder: Path, command: list[str], columns: int, rows: int, name: str = "tmux"
    ) -> None:
        assert _TMUX, "these tests need tmux: apt-get install tmux"
        self._base = [_TMUX, "-S", str(folder / f"{name}.socket"), "-f", "/dev/null"]
        shell = f"{subprocess.list2cmdline(command)}; echo left with $?; exec cat"
        size = ["-x", str(columns), "-y", str(rows)]
        subprocess.run(
            [*self._base, "new-session", "-d", *size, shell],
            cwd=folder, env=surroundings(), check=True,
        )  # fmt: skip

    def __enter__(self) -> "Tmux":
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([*self._base, "kill-server"], check=False)

    def screen(self) -> str:
        """The text on the screen."""
        return subprocess.run(
            [*self._base, "capture-pane", "-p"], check=True, capture_output=True, text=True
        ).stdout

    def press(self, *keys: str) -> None:
        """Send keys by tmux's names."""
        subprocess.run([*self._base, "send-keys", *keys], check=True)

    def resize(self, columns: int, rows: int) -> None:
        """Change the window's size."""
        size = ["-x", str(columns), "-y", str(rows)]
        subprocess.run([*self._base, "resize-window", *size], check=True)

    def until(self, text: str, patience_s: float = PATIENCE_S) -> str:
        """The screen once the text stands on it."""
        deadline = time.monotonic() + patience_s
        while text not in (screen := self.screen()):
            assert time.monotonic() < deadline, f"{text!r} never came:\n{screen}"
            time.sleep(0.05)
        return screen


class Pty:
    """A process on a PTY whose every byte is kept."""

    def __init__(self, folder: Path, command: list[str], **more: str) -> None:
        self.written = b""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe(command[0], command, surroundings(**more))
        self.resize(120, 40)
        self._code: int | None = None

    def __enter__(self) -> "Pty":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.hang_up()

    def hang_up(self) -> None:
        """Close the terminal under the process, as a dropped line does."""
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1

    def resize(self, columns: int, rows: int) -> None:
        """Change the terminal's size."""
        ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        """Send bytes, all of them."""
        while keys:
            keys = keys[os.write(self._terminal, keys) :]

    def read(self, seconds: float) -> None:
        """Keep what is written within a time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and self._take(left):
            pass

    def settle(self, most_s: float) -> None:
        """Keep what is written until nothing follows for a moment, or until the time is over."""
        deadline, pause_s = time.monotonic() + most_s, most_s
        while (left := deadline - time.monotonic()) > 0 and self._take(min(left, pause_s)):
            pause_s = PAUSE_S

    def _take(self, patience_s: float) -> bool:
        """Keep what is written next; whether there was anything in time."""
        if not select.select([self._terminal], [], [], patience_s)[0]:
            return False
        try:
            self.written += os.read(self._terminal, 1 << 16)
        except OSError:
            return False
        return True

    def until(self, is_so: Callable[[bytes], object]) -> None:
        """Read until what was written is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so(self.written):
            assert time.monotonic() < deadline, self.written[-2000:]
            self.read(0.1)

    def end(self) -> int:
        """Exit code, once the process has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
                return self._code
            assert time.monotonic() < deadline, "it does not end"
            if self._terminal >= 0:
                self.read(0.05)
            else:
                time.sleep(0.05)
