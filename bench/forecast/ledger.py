"""How long the ledger takes: `python bench/forecast/ledger.py [SEED]`.

Draws steps at random over every variant, as the tests do, and prints the median and the longest of
three forecasts of each, by checkpointing. In one process on one thread; milliseconds.
"""

import statistics
import sys
import time
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from engine.budget import forecast  # noqa: E402
from engine.budget.ledger.step_peak import peak_of_step  # noqa: E402
from engine.budget.step_shape import StepShape  # noqa: E402
from engine.gemma import catalog  # noqa: E402
from engine.hardware import profiles  # noqa: E402
from tests.random_steps import random_step  # noqa: E402

STEPS, TIMES = 200, 3


def milliseconds(case: StepShape) -> float:
    """The median of a few forecasts."""
    card = profiles.profile("rtx-4090")
    times_ms = []
    for _ in range(TIMES):
        peak_of_step.cache_clear()
        began = time.perf_counter()
        forecast.forecast(catalog.variant_of(case.model), case, card)
        times_ms.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times_ms)


def main(seed: int) -> None:
    """Print the table."""
    random = Random(seed)
    drawn = [random_step(random) for _ in range(STEPS)]
    for checkpointing in (True, False):
        times = [milliseconds(c) for c in drawn if c.gradient_checkpointing is checkpointing]
        kind = "with" if checkpointing else "without"
        figures = f"median {statistics.median(times):.1f} ms, longest {max(times):.1f} ms"
        print(f"{len(times)} steps {kind} checkpointing: {figures}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
