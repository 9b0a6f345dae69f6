"""Signals to an engine: one asks, a second ends it at once, and a hang-up is not heard."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.run.signals import APART_S

ROOT = Path(__file__).parents[1]
LISTEN = """
import hashlib, os, signal, sys, time
from engine.run.signals import Signals
signals = Signals()
signal.alarm(60)
if sys.argv[1] == "fork" and os.fork() == 0:
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1.2)
    os._exit(0)
print("up", flush=True)
if sys.argv[1] == "busy":
    hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)
while not signals.first:
    time.sleep(0.01)
print(signal.Signals(signals.first).name, flush=True)
time.sleep(60)
"""


def started(how: str = "idle") -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-c", LISTEN, how], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    return process


def said(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stdout
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_second_one_ends_it_at_once(number: signal.Signals) -> None:
    process = started()
    process.send_signal(number)
    assert said(process) == f"{number.name}\n".encode()
    time.sleep(APART_S + 0.1)
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(timeout=5) == 128 + number


def test_two_at_the_same_moment_are_one() -> None:
    """As where Slurm sends to each process, and the supervisor passes its own on."""
    process = started()
    process.send_signal(signal.SIGTERM)
    assert said(process) == b"SIGTERM\n"
    process.send_signal(signal.SIGUSR1)
    process.send_signal(signal.SIGTERM)
    time.sleep(APART_S + 0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 128 + signal.SIGTERM


def test_a_long_instruction_is_no_shelter() -> None:
    """One call, within which no handler of Python's runs."""
    process = started("busy")
    process.send_signal(signal.SIGTERM)
    time.sleep(APART_S + 0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 128 + signal.SIGTERM


def test_a_hang_up_is_not_heard() -> None:
    process = started()
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert said(process) == b"SIGINT\n"
    process.kill()
    process.wait()


def test_what_a_forked_worker_hears_is_its_own() -> None:
    process = started("fork")
    time.sleep(2 * APART_S + 1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert said(process) == b"SIGTERM\n"
    process.kill()
    process.wait()
