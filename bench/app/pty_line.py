"""A command on a PTY of 120x40 whose every byte is read, at the rate of a line where it is thin."""

import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

from bench.app.read_screen import ReadScreen

COLUMNS, ROWS = 120, 40
_PATIENCE_S = 60.0
_SLICE_S = 0.01
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class PtyLine:
    """Use it in a with statement; the command is ended with it."""

    def __init__(self, command: list[str], folder: Path, bytes_per_s: float | None = None) -> None:
        self.num_bytes = 0
        self.screen = ReadScreen(COLUMNS, ROWS)
        self.began = time.perf_counter()
        self._bytes_per_s = bytes_per_s
        self._allowed, self._allowed_at = 0.0, self.began
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvp(command[0], command)
        ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def __enter__(self) -> "PtyLine":
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self.pid, signal.SIGTERM)
        os.close(self._fd)
        os.waitpid(self.pid, 0)

    def read(self, seconds: float) -> bool:
        """Take what comes within some seconds, once; whether something came."""
        most = self._room() if self._bytes_per_s else 1 << 16
        if most < 1:
            time.sleep(min(seconds, _SLICE_S))
            return False
        if not select.select([self._fd], [], [], max(0.0, seconds))[0]:
            return False
        data = os.read(self._fd, most)
        self.num_bytes += len(data)
        self._allowed -= len(data)
        self.screen.feed(data)
        return True

    def _room(self) -> int:
        """Bytes that the line carries by now; an idle line saves none up."""
        now = time.perf_counter()
        more = (now - self._allowed_at) * (self._bytes_per_s or 0)
        most = _SLICE_S * (self._bytes_per_s or 0)
        self._allowed, self._allowed_at = min(most, self._allowed + more), now
        return int(self._allowed)

    def listen(self, seconds: float) -> None:
        """Read for so long."""
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            self.read(left)

    def until(self, is_there: Callable[[list[str]], bool]) -> float:
        """Seconds since the start at which the screen was first seen so."""
        deadline = time.perf_counter() + _PATIENCE_S
        while not is_there(self.screen.rows()):
            if time.perf_counter() > deadline:
                raise TimeoutError("\n".join(self.screen.rows()))
            self.read(0.5)
        return time.perf_counter() - self.began

    def press(self, key: bytes) -> None:
        """Send a key."""
        os.write(self._fd, key)

    @property
    def processor_s(self) -> float:
        """Seconds of processor time so far."""
        stat = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICKS_PER_S

    @property
    def resident_mib(self) -> float:
        """Memory that the process holds."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
