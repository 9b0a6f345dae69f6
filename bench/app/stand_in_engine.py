"""An engine that trains nothing: it holds a run's lock and tells of steps at a rate.

`python bench/app/stand_in_engine.py RUN STEPS_PER_S [STEPS]`; it stays until its input is closed.
"""

import math
import random
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from engine.events import Event, Step, encode  # noqa: E402
from engine.run import lock  # noqa: E402
from engine.run.rundir import RunDir  # noqa: E402
from tests.asked import request  # noqa: E402
from tests.recording import TRAINED, opening, samples  # noqa: E402

SECONDS_PER_STEP = 0.5
_STEPS_PER_SAMPLE = 1_000
_PIECES_PER_S = 100


def begin(folder: Path, total_steps: int) -> RunDir:
    """A run of that length before its first step."""
    run = RunDir(folder / "runs/bench")
    run.path.mkdir(parents=True)
    run.write_request(request("bench"))
    run.events.write_bytes(b"".join(map(encode, opening(total_steps))))
    run.log.write_text("".join(f"line {number:03}\n" for number in range(300)))
    return run


def training(first: int, last: int, total: int) -> Iterator[Event]:
    """Steps as the engine stamps them, and answers now and then."""
    noise = random.Random(first)
    for number in range(first, last + 1):
        loss = 0.08 + 4.2 * math.exp(-6 * number / total) + 0.2 * noise.random()
        yield Step(
            t=round(number * SECONDS_PER_STEP, 3), time="2026-11-21T09:32:00.123Z", step=number,
            epoch=round(16 * number / total, 4),
            tokens=number * 615, supervised_tokens=number * 257,
            tokens_per_s=round(5_000 + 200 * noise.random(), 1),
            elapsed_s=round(number * SECONDS_PER_STEP, 3),
            metrics={
                "loss": loss, "token_accuracy": 1 - min(0.95, loss / 5),
                "grad_norm": 0.4 + loss / 3,
                "learning_rate": 3e-3 * (1 - number / total),
                "rss_gib": round(0.72 + 0.02 * noise.random(), 3),
            },
        )  # fmt: skip
        if number % _STEPS_PER_SAMPLE == 0:
            for sample in samples(number, TRAINED):
                yield msgspec.structs.replace(sample, t=number * SECONDS_PER_STEP)


def tell(run: RunDir, first: int, last: int, total: int) -> None:
    """Append steps."""
    with run.events.open("ab") as file:
        file.writelines(map(encode, training(first, last, total)))


def _work(run: RunDir, steps_per_s: float, last: int) -> None:
    began, last_told = time.monotonic(), 0
    while not select.select([sys.stdin], [], [], 1 / max(1, min(_PIECES_PER_S, steps_per_s)))[0]:
        due = min(last, int((time.monotonic() - began) * steps_per_s))
        if due > last_told:
            tell(run, last_told + 1, due, last)
            last_told = due


if __name__ == "__main__":
    work = RunDir(Path(sys.argv[1]))
    engine_lock = lock.hold(work.lock, lock.ENGINE)
    print("held", flush=True)
    _work(work, float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 10_000)
