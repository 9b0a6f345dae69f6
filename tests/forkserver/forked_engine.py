"""The process that an engine's parent started, while a fork of the server is the engine.

It has imported nothing. It passes signals on to the fork, and ends as the fork ends.
"""

import contextlib
import fcntl
import json
import os
import resource
import select
import signal
import socket
import sys
from pathlib import Path

PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
READ_ONCE = (
    "ACCELERATE_", "ATEN_", "BNB_", "CUDA_DEVICE_ORDER", "DATASETS_", "DNNL_", "GLIBC_", "GOMP_",
    "HF_", "HOME", "KMP_", "LC_", "LD_", "MALLOC_", "MKL_", "OMP_", "OPENBLAS_", "PYTHON",
    "PYTORCH_", "TOKENIZERS_", "TORCH", "TRANSFORMERS_", "TRL_", "XDG_CACHE_HOME",
)  # fmt: skip
"""How variables begin that a process reads as it starts, or packages as they are imported."""
WRITTEN_BY_PACKAGES = {"TORCHINDUCTOR_CACHE_DIR"}
"""What a test's own process has once it has imported bitsandbytes; nothing here is compiled."""
MOST_DESCRIPTORS = 64
_LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]


def fork_in_place_of_this(folder: str) -> None:
    """Let the server fork the engine, and end as that ends.

    Returns where the environment differs from the server's in what is read once: the engine then
    starts as it does for users.
    """
    inherited = _inherited()
    settings = json.loads(Path(folder, "settings.json").read_text())
    if _read_once(dict(os.environ)) != _read_once(settings["environment"]):
        return
    ignored = [number for number in PASSED_ON if signal.getsignal(number) is signal.SIG_IGN]
    heard, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    for number in {*PASSED_ON} - {*ignored}:
        signal.signal(number, lambda *_: None)
    server = _connected(Path(folder), settings)
    request = {
        "argv": sys.orig_argv[4:],
        "cwd": os.getcwd(),
        "environment": dict(os.environ),
        "umask": _umask(),
        "limits": [(limit, resource.getrlimit(limit)) for limit in _LIMITS],
        "ignored": ignored,
        "descriptors": inherited,
    }
    socket.send_fds(server, [json.dumps(request).encode()], inherited)
    while server not in select.select([server, heard], [], [])[0]:
        server.send(heard.recv(64))
    _end_as(int(server.recv(64)))


def _read_once(environment: dict[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environment.items()
        if name.startswith(READ_ONCE) and name not in WRITTEN_BY_PACKAGES
    }  # fmt: skip


def _inherited() -> list[int]:
    """Files that were opened for the engine: its streams, and the pipe of its supervisor."""
    numbers = []
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            numbers += [number] if os.get_inheritable(number) else []
    assert max(numbers) < MOST_DESCRIPTORS
    return numbers


def _connected(folder: Path, settings: "dict[str, object]") -> socket.socket:
    """A connection to the server, which the first engine starts."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    address = folder / "socket"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not address.exists():
            _start(address, settings)
        server.connect(str(address))
    return server


def _start(address: Path, settings: "dict[str, object]") -> None:
    import subprocess

    source = str(Path(__file__).with_name("server.py"))
    with address.with_name("server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", source, str(address), str(settings["owner"])],
            env=settings["environment"], cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=log, start_new_session=True,
        )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n", f"see {log.name}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _end_as(code: int) -> None:
    """Exit with a code, or by a signal where it is negative."""
    if code >= 0:
        os._exit(code)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
