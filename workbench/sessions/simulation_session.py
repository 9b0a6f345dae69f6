"""A step that is simulated in an engine of its own, for one recipe on one profile."""

import contextlib
import json
from typing import Any

from engine import events
from engine.hardware.profiles import Profile
from engine.recipe.schema import Recipe
from workbench.sessions import engine_session
from workbench.sessions.engine_session import EngineSession


class Simulation(EngineSession):
    """One question to an engine. Nothing here waits; closing it ends the engine."""

    error = ""
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


def start(recipe: Recipe, profile: Profile, *, whole_depth: bool = False) -> Simulation:
    """Start an engine that simulates a recipe's step. Raises `Refusal`."""
    request = {
        "recipe": recipe.model_dump(mode="json"),
        "hardware": profile.as_dict(),
        "simulate": {"whole_depth": whole_depth},
    }
    return engine_session.start(Simulation, "simulate", request)
