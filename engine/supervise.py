"""Start an engine job, wait for it, and write down how it ended.

Run as a file by a bare interpreter (`python -I -S engine/supervise.py LOCK ENDING COMMAND...`), so
it stays at a few megabytes for hours. A viewer that attaches later is no parent of the engine and
could not learn its exit code or signal; the file ENDING tells it.
"""

import fcntl
import os
import signal
import sys
import time

LOCK_BYTE = 1
_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}


def main() -> int:
    """Hold the lock file, run the command, write its ending; the command's exit code."""
    lock_path, ending_path, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until there is someone to pass them on to
    lock = _hold_lock(lock_path)
    child = os.fork()
    if child == 0:
        os.close(lock)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.execv(command[0], command)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    _, status, usage = os.wait4(child, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code = os.waitstatus_to_exitcode(status)
    _write_ending(ending_path, code, usage.ru_maxrss)
    return max(code, 0)


def _hold_lock(path: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.lockf(fd, fcntl.LOCK_EX, 1, LOCK_BYTE)
    return fd


def _write_ending(path: str, code: int, max_rss: int) -> None:
    """Write the ending whole or not at all; `max_rss` in KiB, or in bytes on macOS."""
    max_rss_kib = max_rss // 1024 if sys.platform == "darwin" else max_rss
    exit_code = "null" if code < 0 else code
    by_signal = -code if code < 0 else "null"
    ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    partial = f"{path}.part"
    with open(partial, "w") as file:
        file.write(
            f'{{"exit": {exit_code}, "signal": {by_signal}, '
            f'"max_rss_kib": {max_rss_kib}, "ended": "{ended}"}}\n'
        )
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main())
