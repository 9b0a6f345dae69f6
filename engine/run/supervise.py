"""Start an engine job, wait for it, and write down how it ended.

Run as a file by a bare interpreter (`python -I -S supervise.py LOCK ENDING COMMAND...`), so it
stays at a few megabytes for hours. A viewer that attaches later is no parent of the engine and
could not learn its exit code or signal; the file ENDING tells it.
"""

import contextlib
import fcntl
import os
import signal
import sys
import time

LOCK_BYTE = 1
ALREADY_RUNNING = 3
SIGNATURE_AT, SIGNATURE_BYTES = 512, 16
"""Where in the lock file the one that holds it for a run says its process number."""
PATIENCE_S = 0.5
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
    with contextlib.suppress(FileNotFoundError):
        os.unlink(ending_path)  # of an engine before this one
    kills_before = oom_kills()
    child = os.fork()
    if child == 0:
        os.close(lock)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.execv(command[0], command)
    status, max_rss = _wait(child)
    code = os.waitstatus_to_exitcode(status)
    kills = {name: count - kills_before.get(name, 0) for name, count in oom_kills().items()}
    _write_ending(ending_path, code, max_rss, kills)
    return max(code, 0)


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
        except OSError:
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


def _write_ending(path: str, code: int, max_rss: int, kills: "dict[str, int]") -> None:
    """Write the ending whole or not at all; `max_rss` in KiB, or in bytes on macOS."""
    max_rss_kib = max_rss // 1024 if sys.platform == "darwin" else max_rss
    exit_code = "null" if code < 0 else code
    by_signal = -code if code < 0 else "null"
    ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    partial = f"{path}.part"
    counts = ", ".join(f'"{name}": {count}' for name, count in kills.items())
    with open(partial, "w") as file:
        file.write(
            f'{{"exit": {exit_code}, "signal": {by_signal}, "max_rss_kib": {max_rss_kib}, '
            f'"oom_kills": {{{counts}}}, "ended": "{ended}"}}\n'
        )
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main())
