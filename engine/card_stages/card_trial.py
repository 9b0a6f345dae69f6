"""What a stage is given: a card, a folder, the time it has, and whether tiny models will do."""

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from engine.hardware.profiles import Profile

Part = dict[str, Any]
"""One thing that a stage found out, as plain data; `passed` is False where it is wrong."""
Case = tuple[str, Callable[[], Part]]
"""A name, and what measures it."""


@dataclass(frozen=True, slots=True)
class CardTrial:
    """What a stage is given."""

    profile: Profile
    folder: Path
    """For checkpoints and runs; removed by whoever started the stage."""
    deadline_s: float
    """When the stage has to be done, on the clock of `time.monotonic`."""
    is_tiny: bool
    """Whether tiny Gemmas stand for those of real shapes."""

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> "CardTrial":
        """Read plain data; `seconds` are those that the stage has from now on."""
        return cls(
            TypeAdapter(Profile).validate_python(document["hardware"]),
            Path(document["folder"]),
            time.monotonic() + float(document["seconds"]),
            bool(document["is_tiny"]),
        )

    @property
    def left_s(self) -> float:
        """Seconds until it has to be done."""
        return self.deadline_s - time.monotonic()

    def each(self, cases: list[Case], least_s: float = 0.0) -> Iterator[Part]:
        """Measure case after case: one that fails says so, and the others go on.

        A case is left out where less than `least_s` is left.
        """
        for name, measure in cases:
            if self.left_s < least_s:
                yield {"case": name, "skipped": f"less than {least_s:.0f} s were left"}
                continue
            began = time.monotonic()
            try:
                part = measure()
            except Exception as error:
                traceback.print_exc()
                part = {"passed": False, "error": f"{type(error).__name__}: {error}"[:500]}
            yield {"case": name, **part, "seconds": round(time.monotonic() - began, 2)}
