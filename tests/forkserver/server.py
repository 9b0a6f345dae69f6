"""Imports what the engine's heavy half imports of others, once, and forks an engine when asked to.

`python -P server.py SOCKET OWNER` says "ready", and ends with the process OWNER. Nothing of the
engine's own is imported here: a fork runs `engine` as `python -m` does, in a process of its own.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy
from forked_engine import MOST_DESCRIPTORS, PASSED_ON

ROOT = str(Path(__file__).parents[2])
HEAVY = (
    "torch", "transformers.integrations.bitsandbytes", "transformers.models.gemma3.modeling_gemma3",
    "transformers.models.gemma4.modeling_gemma4",
    "transformers.models.gemma4_unified.modeling_gemma4_unified", "transformers.trainer_callback",
    "transformers.optimization", "transformers.integrations.integration_utils", "peft",
    "peft.optimizers", "trl.chat_template_utils", "trl.data_utils",
    "trl.kernels.chunked_logprob", "trl.trainer.utils", "datasets", "accelerate", "bitsandbytes",
    "pydantic.main", "pydantic.type_adapter", "msgspec", "psutil",
)  # fmt: skip


def main(address: str, owner: int) -> None:
    """Fork an engine for each connection until the owner is gone."""
    while os.open(os.devnull, os.O_RDONLY) < MOST_DESCRIPTORS:
        pass  # numbers that no package takes, so that an engine's files can have their own
    for name in HEAVY:
        importlib.import_module(name)
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen()
    os.write(1, b"ready\n")
    gone = os.pidfd_open(owner)
    while gone not in select.select([listener, gone], [], [])[0]:
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _fork_engine(client)
            if bug := os.environ.get("GEMMA_BENCH_PLANTED_BUG"):
                _plant(bug)
            runpy.run_module("engine", run_name="__main__", alter_sys=True)
            return
        client.close()
        _reap()


def _fork_engine(client: socket.socket) -> None:
    """Returns in the engine; its parent here passes signals on and tells how it ended."""
    message, descriptors, _, _ = socket.recv_fds(client, 1 << 20, MOST_DESCRIPTORS)
    engine = os.fork()
    if engine == 0:
        client.close()
        _become(json.loads(message), descriptors)
        return
    for descriptor in descriptors:
        os.close(descriptor)
    ended = os.pidfd_open(engine)
    while ended not in select.select([client, ended], [], [])[0]:
        for number in client.recv(64) or [signal.SIGKILL]:
            os.kill(engine, number)
    status = os.waitpid(engine, 0)[1]
    try:
        client.send(str(os.waitstatus_to_exitcode(status)).encode())
    finally:
        os._exit(0)


def _plant(bug: str) -> None:
    """Plant a bug of `tests/planted_bugs` ahead of the doctor."""
    right = importlib.import_module

    def planting(name: str, package: str | None = None) -> Any:
        if name == "engine.jobs.doctor_job":
            sys.path.append(ROOT)
            right("tests.planted_bugs").plant(bug)
        return right(name, package)

    importlib.import_module = planting


def _reap() -> None:
    """Let those go whose engines have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Take on what a process has from the one that starts it."""
    os.setsid()
    for number in PASSED_ON:
        is_ignored = number in request["ignored"]
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if is_ignored else usual)
    os.closerange(3, MOST_DESCRIPTORS)
    for number, descriptor in zip(request["descriptors"], descriptors, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.umask(request["umask"])
    for limit, values in request["limits"]:
        resource.setrlimit(limit, tuple(values))
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["engine", *request["argv"]]
    tempfile.tempdir = None
    numpy.random.seed()  # two engines have nothing in common that they aren't seeded with


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
