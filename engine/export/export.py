"""One export: an adapter of a run, its base, and where what is made of them will lie."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import events, installed
from engine.export.base_files import Base
from engine.recipe.schema import Recipe
from engine.run.adapters import Adapter
from engine.run.event_log import EventLog
from engine.run.request import Request
from engine.run.rundir import RunDir
from engine.sessions.export_order import Form


@dataclass(frozen=True, slots=True)
class Export:
    """What a form is written from."""

    run: RunDir
    request: Request
    adapter: Adapter
    base: Base
    form: Form
    folder: Path
    number_format: str
    """Of a GGUF file."""
    log: EventLog
    look_up: Callable[[], None]
    """Raises where nobody waits any more; to be called now and again."""

    @property
    def recipe(self) -> Recipe:
        """The run's."""
        return self.request.recipe

    def tell(self, phase: str, detail: str) -> None:
        """Say what is being done, and see whether anybody waits for it."""
        self.look_up()
        self.log.append(events.Phase(name=phase, detail=detail))

    def facts(self) -> dict[str, Any]:
        """What every manifest begins with; no path of this machine is among it."""
        return {
            "form": self.form.value,
            "made_by": f"{installed.PROJECT} {installed.version(installed.PROJECT)}",
            "run": self.run.path.name,
            "adapter": self.adapter.name,
            "step": self.adapter.step,
            "base": {"id": self.base.name or None, "revision": self.base.revision},
            "trained_in": self.recipe.model.quantization,
        }
