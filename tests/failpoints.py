"""The names of all points at which the engine can be made to fail, read from its code."""

import re
from pathlib import Path

ENGINE = Path(__file__).parents[1] / "engine"
_EVERY = sorted(
    name
    for path in ENGINE.rglob("*.py")
    for name in re.findall(r'failpoint\.reached\("([a-z._]+)"\)', path.read_text())
)
OF_EXPORTS = [name for name in _EVERY if name.startswith("export.")]
POINTS = [name for name in _EVERY if name not in OF_EXPORTS]
"""Those of runs."""
