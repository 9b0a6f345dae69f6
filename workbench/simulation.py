"""A step that is simulated in an engine of its own, for one recipe on one profile."""

import contextlib
import json
import os
import signal
import subprocess
from typing import Any

from engine import events, previewdir
from engine.hardware import Profile
from engine.previewdir import PreviewDir
from engine.recipe import Recipe
from engine.rundir import write_whole
from engine.tail import Tail
from workbench import launch


class Simulation:
    """One question to an engine. Nothing here waits; closing it ends the engine."""

    def __init__(self, files: PreviewDir, lock: int, engine: "subprocess.Popen[bytes]") -> None:
        self._files, self._lock, self._engine = files, lock, engine
        self._events = Tail(files.events)
        self.error = ""
        """Why there is no answer, once the engine has ended without one."""

    def poll(self) -> dict[str, Any] | None:
        """The answer, or None while there is none."""
        has_ended = self._engine.poll() is not None
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads(self._files.simulated.read_bytes())
            return found
        for event in map(events.decode, self._events.read_new()):
            if isinstance(event, events.Failed):
                self.error = event.error
        if has_ended and not self.error:
            self.error = f"the engine ended with exit code {self._engine.returncode}"
        return None

    def close(self) -> None:
        """End the engine and take its files away."""
        if self._engine.poll() is None:
            os.killpg(self._engine.pid, signal.SIGKILL)
            self._engine.wait()
        os.close(self._lock)
        self._files.remove()


def start(recipe: Recipe, profile: Profile, *, whole_depth: bool = False) -> Simulation:
    """Start an engine that simulates a recipe's step. Raises `Refusal`."""
    files = previewdir.create()
    request = {
        "recipe": recipe.model_dump(mode="json"),
        "hardware": profile.as_dict(),
        "simulate": {"whole_depth": whole_depth},
    }
    write_whole(files.request, request)
    lock = files.hold_for_viewer()
    assert lock is not None
    return Simulation(files, lock, launch.start_beside(files, "simulate"))
