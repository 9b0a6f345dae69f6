"""What PyTorch's allocator reserves beyond what is allocated.

    python bench/forecast/reserved.py [STEPS]

Draws steps at random over every variant, simulates each, replays it through the model of CUDA's
caching allocator, and prints the gaps as a share of what comes and goes within a step: of all but
weights, adapter and optimizer. `engine/budget/forecast.py` has its two shares from here. A step
takes ten seconds.
"""

import sys
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from engine.budget.step_shape import StepShape  # noqa: E402
from tests.random_steps import random_step  # noqa: E402
from tests.simulate_steps import STAYING  # noqa: E402
from tools.simulator.configuration import configuration, source  # noqa: E402
from tools.simulator.report import answer  # noqa: E402


def shares(case: StepShape) -> tuple[float, float]:
    """Gaps over what comes and goes, with expandable segments and without."""
    simulated = answer(configuration(source(case.model)), case)
    assert simulated.reserved_gib is not None
    assert simulated.reserved_native_gib is not None
    passing = sum(row["gib"] for row in simulated.rows if row["part"] not in STAYING)
    return (
        (simulated.reserved_gib - simulated.allocated_gib) / passing,
        (simulated.reserved_native_gib - simulated.allocated_gib) / passing,
    )


def main(steps: int) -> None:
    """Print tenths of both distributions."""
    random = Random(1)
    pairs = [shares(random_step(random)) for _ in range(steps)]
    for place, kind in enumerate(("expandable segments", "without them")):
        ordered = sorted(pair[place] for pair in pairs)
        tenths = [ordered[min(len(ordered) - 1, len(ordered) * n // 10)] for n in (1, 5, 9)]
        shown = ", ".join(f"{100 * value:.0f} %" for value in tenths)
        print(f"{steps} steps, {kind}: first tenth, median, ninth tenth {shown}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
