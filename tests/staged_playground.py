"""A playground whose engine is a process that waits; what it tells was recorded from a real one."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from engine.events import Event, Opened, decode, encode
from engine.run.rundir import RunDir, append_line
from engine.run.tail import Tail
from engine.sessions import session_dir
from engine.sessions.playground import Command
from engine.sessions.playground import decode as decode_command
from engine.sessions.session_dir import SessionDir
from workbench.sessions.engine_session import Playground

RECORDED = Path(__file__).parent / "data/playground.jsonl"
PROMPTS = (
    "Who founded the Kushan Empire?",
    "What was its capital?",
    "What is the capital of Japan?",
    "Tell me everything you know about 한국 🌰.",
)
_WAITS = [sys.executable, "-I", "-S", "-c", "import signal; signal.alarm(300); signal.pause()"]


def recorded() -> list[Event]:
    """Four prompts, answered by base and adapter of a quickstart."""
    return [event for line in RECORDED.read_bytes().splitlines() if (event := decode(line))]


def opening() -> list[Event]:
    """The same up to where it can be asked."""
    told = recorded()
    place = next(i for i, event in enumerate(told) if isinstance(event, Opened))
    return told[: place + 1]


def answers(number: int) -> list[Event]:
    """The same, what was told to one prompt."""
    return [event for event in recorded() if getattr(event, "id", None) == number]


class Staged:
    """Starts it as the screen asks for, and plays the engine's part."""

    def __init__(self, told: Iterable[Event] = (), log: str = "") -> None:
        self.files: SessionDir
        self.engine: subprocess.Popen[bytes]
        self._at_first, self._log = list(told), log

    def start(self, run: RunDir) -> Playground:
        self.files = session_dir.create({"name": "playground"})
        self.files.log.write_text(self._log, encoding="utf-8", errors="surrogatepass")
        lock = self.files.hold_for_viewer()
        assert lock is not None
        self.engine = subprocess.Popen(_WAITS, start_new_session=True)
        self._control = Tail(self.files.control)
        self.tell(self._at_first)
        return Playground(self.files, lock, self.engine)

    def tell(self, told: Iterable[Event]) -> None:
        append_line(self.files.events, b"".join(map(encode, told)))

    def commands(self) -> list[Command]:
        """What was asked since the last look."""
        return [command for line in self._control.read_new() if (command := decode_command(line))]

    def die(self, signal: int) -> None:
        os.kill(self.engine.pid, signal)
        self.engine.wait()
