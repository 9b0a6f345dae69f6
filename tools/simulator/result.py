"""What whoever asked is told of a simulated step, as plain data; imports nothing heavy."""

from dataclasses import asdict, dataclass, field
from typing import Any

from tools.simulator.versions import versions


@dataclass(frozen=True, slots=True)
class Answer:
    """Memory of a step. Figures are None where the step could not be simulated."""

    source: str
    """simulated, or unavailable."""
    depth: str
    """whole, or extrapolated from two shallow models."""
    allocated_gib: float | None
    reserved_gib: float | None
    """With expandable segments."""
    reserved_native_gib: float | None
    """Without them."""
    host_gib: float | None
    """Held in host memory for the model: tables, paged optimizer state."""
    peak_moment: str
    rows: list[dict[str, Any]]
    seconds: float
    versions: dict[str, str]
    missing: list[str] = field(default_factory=list)
    """Private functions of the packages that were to be replaced and are not there."""
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def unavailable(error: Exception, lacking: list[str]) -> Answer:
    """What is told where the installed packages can't be simulated, with what they lack."""
    told = f"{type(error).__name__}: {error}"
    return Answer("unavailable", "", None, None, None, None, "", [], 0.0, versions(), lacking, told)
