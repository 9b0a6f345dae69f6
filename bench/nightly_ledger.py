"""The ledger against simulated steps that nobody can have fitted: `python bench/nightly_ledger.py`.

Draws steps from today's date, or from the seed that is given, over every variant and every choice,
simulates each in about ten seconds, and ends with exit code 1 where the ledger is off by more than
the bars of `tests/test_ledger.py`.
"""

import argparse
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from engine.budget.forecast import forecast  # noqa: E402
from engine.gemma import catalog  # noqa: E402
from engine.hardware.profiles import profile  # noqa: E402
from tests.random_steps import random_step  # noqa: E402
from tests.simulate_steps import simulated  # noqa: E402


def main(seed: int, count: int) -> int:
    """Print every step that is off by over 0.5 %, and the median; 1 where a bar is broken."""
    random = Random(seed)
    steps = [random_step(random) for _ in range(count)]
    errors, checkpointed = [], []
    for step, answer in zip(steps, simulated(steps), strict=True):
        gemma = catalog.variant_of(step.model)
        counted = forecast(gemma, step, profile("l40s")).allocated.expected
        error = counted / answer["allocated_gib"] - 1
        errors.append(abs(error))
        if step.gradient_checkpointing:
            checkpointed.append(error)
        if abs(error) > 0.005:
            print(f"{100 * error:+.2f} % {answer['peak_moment']} {step}")
    median, lowest = statistics.median(errors), min(checkpointed, default=0.0)
    print(f"seed {seed}: median {100 * median:.4f} %, worst {100 * max(errors):.2f} %")
    return int(median > 0.005 or max(errors) > 0.04 or lowest < -0.015)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=int(datetime.now(UTC).strftime("%Y%m%d")))
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    sys.exit(main(options.seed, options.steps))
