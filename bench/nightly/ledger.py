"""The ledger against simulated steps that nobody can have fitted: `python bench/nightly/ledger.py`.

Draws steps from today's date, or from the seed that is given, over every variant and every choice,
simulates each in about ten seconds, and ends with exit code 1 where the ledger is off by more than
the bars of `tests/test_ledger.py`. Simulates some of the recorded steps again, and a whole deep
model, which two shallow ones have to foretell.
"""

import argparse
import json
import math
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from engine.budget.forecast import forecast  # noqa: E402
from engine.budget.step_shape import StepShape  # noqa: E402
from engine.gemma import catalog  # noqa: E402
from engine.hardware.profiles import profile  # noqa: E402
from tests.random_steps import random_step  # noqa: E402
from tests.simulate_steps import RECORDED, from_record, simulated  # noqa: E402
from tools.simulator.configuration import configuration, source  # noqa: E402
from tools.simulator.report import answer  # noqa: E402

DEEP = ("gemma-3-12b", "gemma-3-27b", "gemma-4-12b", "gemma-4-31b")
RECORDED_COUNT = 3


def main(seed: int, count: int) -> int:
    """Print what is off; 1 where a bar is broken."""
    random = Random(seed)
    is_off = [is_off_the_ledger(random, seed, count), is_stale(random), is_off_the_whole(random)]
    return int(any(is_off))


def is_off_the_ledger(random: Random, seed: int, count: int) -> bool:
    """Print every drawn step that is off by over 0.5 %, and the median."""
    steps = [random_step(random) for _ in range(count)]
    errors, checkpointed = [], []
    for step, record in zip(steps, simulated(steps), strict=True):
        gemma = catalog.variant_of(step.model)
        counted = forecast(gemma, step, profile("l40s")).allocated.expected
        error = counted / record["allocated_gib"] - 1
        errors.append(abs(error))
        if step.gradient_checkpointing:
            checkpointed.append(error)
        if abs(error) > 0.005:
            print(f"{100 * error:+.2f} % {record['peak_moment']} {step}")
    median, lowest = statistics.median(errors), min(checkpointed, default=0.0)
    print(f"seed {seed}: median {100 * median:.4f} %, worst {100 * max(errors):.2f} %")
    return median > 0.005 or max(errors) > 0.04 or lowest < -0.015


def is_stale(random: Random) -> bool:
    """Whether a recorded step is no longer simulated so."""
    records = random.sample(json.loads(RECORDED.read_text()), RECORDED_COUNT)
    anew = simulated([from_record(each["step"]) for each in records])
    pairs = [
        (one["allocated_gib"], two["allocated_gib"]) for one, two in zip(records, anew, strict=True)
    ]
    print(f"recorded and simulated again, GiB: {pairs}")
    return not all(math.isclose(one, two, rel_tol=1e-4) for one, two in pairs)


def is_off_the_whole(random: Random) -> bool:
    """Whether two shallow models tell another peak than the whole one has."""
    name = random.choice(DEEP)
    config = configuration(source(name)).get_text_config()
    case = StepShape(model=name, quantization="nf4", length=1024)
    quick, whole = (answer(config, case, whole_depth=is_whole) for is_whole in (False, True))
    print(f"{name}: {quick.allocated_gib:.3f} GiB of two depths, {whole.allocated_gib:.3f} whole")
    is_near = math.isclose(quick.allocated_gib, whole.allocated_gib, rel_tol=1e-4)
    return not is_near or quick.peak_moment != whole.peak_moment


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=int(datetime.now(UTC).strftime("%Y%m%d")))
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    sys.exit(main(options.seed, options.steps))
