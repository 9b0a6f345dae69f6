"""Start an engine job, wait for it, and write down how it ended.

Run as a file by a bare interpreter (`python -I -S supervise.py LOCK ENDING COMMAND...`), so it
stays at a few megabytes for hours. A viewer that attaches later is no parent of the engine and
could not learn its exit code or signal; the file ENDING tells it.
"""

import contextlib
import errno
import fcntl
import os
import signal
import sys
import time

LOCK_BYTE = 1
_BUSY_ERRNOS = {errno.EAGAIN, errno.EACCES}
ALREADY_RUNNING = 3
SIGNATURE_AT, SIGNATURE_BYTES = 512, 16
"""Where in the lock file the one that holds it for a run says its process number."""
_ENDING_BYTES = 4096
_FULL_BYTES = 1 << 20
"""A disk with less room is full for all that a run writes."""
PATIENCE_S = 0.5
CAUSE_FD = "GEMMA_BENCH_CAUSE_FD"
"""Names the file descriptor that takes an engine's last word, in its environment."""
MAX_CAUSE_CHARS = 500
_PASSED_ON = {signal.SIGTERM, signal.SIGUSR1}
_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGCHLD, *_PASSED_ON}


def main() -> int:
    """Hold the lock file, run the command, write its ending; the command's exit code."""
    lock_path, ending_path, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # one that is ignored would never be waited for
    lock = _hold_lock(lock_path)
    if lock is None:
        return ALREADY_RUNNING
    os.pwrite(lock, str(os.getpid()).encode().ljust(SIGNATURE_BYTES), SIGNATURE_AT)
    ending = Ending(ending_path)
    kills_before = oom_kills()
    heard, said = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(lock)
        os.set_inheritable(said, True)
        os.environ[CAUSE_FD] = str(said)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.execv(command[0], command)
    status, max_rss = _wait(child)
    code = os.waitstatus_to_exitcode(status)
    kills = {name: count - kills_before.get(name, 0) for name, count in oom_kills().items()}
    ending.write(code, max_rss, kills, _said(heard))
    return max(code, 0)


def _said(heard: int) -> str:
    """Why the engine ended, in its own words; a pipe takes them where no disk does."""
    os.set_blocking(heard, False)
    try:
        return os.read(heard, 4 * MAX_CAUSE_CHARS).decode("utf-8", "replace")
    except BlockingIOError:
        return ""


def _wait(child: int) -> "tuple[int, int]":
    """Pass signals on until the child has ended; its wait status and `ru_maxrss`.

    The signals stay blocked and are fetched one by one: a handler's could arrive between Python's
    last look and the system call that waits, and would lie there until the child ended by itself.
    """
    while True:
        number = signal.sigwait(_SIGNALS)
        if number in _PASSED_ON:
            os.kill(child, number)
        elif number == signal.SIGCHLD:
            ended, status, usage = os.wait4(child, os.WNOHANG)
            if ended:
                return status, usage.ru_maxrss


def _hold_lock(path: str) -> "int | None":
    """None where another supervisor is at work; a reader's probe holds the byte for no time."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, LOCK_BYTE)
            return fd
        except OSError as error:
            if error.errno not in _BUSY_ERRNOS:
                raise
            if time.monotonic() > deadline:
                return None
            time.sleep(0.02)


def oom_kills(root: str = "") -> "dict[str, int]":
    """How often the kernel killed for want of memory: in this cgroup, and on this machine.

    What can't be read is left out. Linux's cgroup v2 and v1 documents name the files.
    """
    kills = {}
    files = {"machine": [f"{root}/proc/vmstat"], "cgroup": []}
    for line in _lines(f"{root}/proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        path = path.rstrip("/")
        if number == "0":
            files["cgroup"].append(f"{root}/sys/fs/cgroup{path}/memory.events")
        elif "memory" in controllers.split(","):
            files["cgroup"].append(f"{root}/sys/fs/cgroup/memory{path}/memory.oom_control")
    for name, paths in files.items():
        for line in (line for path in paths for line in _lines(path)):
            key, _, count = line.partition(" ")
            if key == "oom_kill":
                kills[name] = int(count)
    return kills


def _lines(path: str) -> "list[str]":
    try:
        with open(path) as file:
            return file.read().splitlines()
    except OSError:
        return []


class Ending:
    """The file that tells how the engine ended, with room on the disk from the beginning.

    It lies in the folder that was there at the start, whatever is at its path by the end.
    """

    def __init__(self, path: str) -> None:
        self._path, self._name = os.path.split(os.path.abspath(path))
        self._partial = f"{self._name}.part"
        self._folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._folder)  # of an engine before this one
        self._file = self._opened()

    def _opened(self) -> "int | None":
        """None where the disk is full already; there may be room by the end."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
        try:
            file = os.open(self._partial, flags, 0o600, dir_fd=self._folder)
            os.pwrite(file, b" " * _ENDING_BYTES, 0)
        except OSError:
            return None
        return file

    def write(self, code: int, max_rss: int, kills: "dict[str, int]", cause: str) -> None:
        """Write it whole or not at all; `max_rss` in KiB, or in bytes on macOS."""
        text = self._text(code, max_rss, kills, cause).encode()
        file = self._opened() if self._file is None else self._file
        if file is None:
            print(f"no room to write down how it ended: {text.decode()}", file=sys.stderr)
            return
        try:
            os.pwrite(file, text, 0)
            os.ftruncate(file, len(text))
            with contextlib.suppress(OSError):
                os.fsync(file)
            os.replace(self._partial, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError as error:
            print(f"it can't be told how it ended ({error}): {text.decode()}", file=sys.stderr)

    def _text(self, code: int, max_rss: int, kills: "dict[str, int]", cause: str) -> str:
        import json  # once the engine has ended, a megabyte more doesn't matter

        record = {
            "exit": None if code < 0 else code,
            "signal": -code if code < 0 else None,
            "max_rss_kib": max_rss // 1024 if sys.platform == "darwin" else max_rss,
            "oom_kills": kills,
            "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        cause = cause or (self._full_disk() if code else "")
        return json.dumps({**record, **({"cause": cause} if cause else {})}) + "\n"

    def _full_disk(self) -> str:
        """Say that the disk is full, where it is."""
        disk = os.fstatvfs(self._folder)
        free_bytes = disk.f_bavail * disk.f_frsize
        if free_bytes > _FULL_BYTES:
            return ""
        mount = self._path
        while not os.path.ismount(mount):
            mount = os.path.dirname(mount)
        return f"the disk is full, {free_bytes / (1 << 20):.1f} MiB free on {mount}"


if __name__ == "__main__":
    sys.exit(main())
