"""Kills at random moments of a run that saves often, and a resumption after each.

    python -m bench.torture --kills 200 [--sides gemma-bench TRL] [--seed 0]

Both train the embedded Gemma on the same rows, 40 steps with a checkpoint after every second one
and two of them kept; TRL's SFTTrainer saves and resumes as it comes. Four of five kills come within
a second after a step, the others while it starts. A run that went to its end is compared with one
that nothing happened to, and the next one begins. Each life is a process of its own, forked from
one that has loaded the libraries, so that a kill costs seconds; the job that it does is the
engine's own. What can't be gone on from is counted, and its newest checkpoint removed by hand, as a
user would have to.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.reliability.setup import Side  # noqa: E402

AT_STEPS_SHARE, WITHIN_S = 0.8, 1.0


@dataclass
class Tally:
    """What became of one side."""

    kills: int = 0
    unloadable: int = 0
    most_lost: int = 0
    runs: int = 0
    equal: int = 0
    took_s: float = 0.0
    reasons: list[str] = field(default_factory=list)


Moment = Callable[[Callable[[], bool]], float]
"""Waits until it can tell when to kill, given who tells whether there was a step."""


def life(side: Side, folder: Path, kill_after: Moment | None) -> int:
    """One life: its exit code, or -9."""
    before = len(side.curve(folder))
    pid = os.fork()
    if pid == 0:
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = 1
        try:
            side.live(folder)
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        finally:
            os._exit(code)
    if kill_after is not None:
        deadline = kill_after(lambda: _is_over(pid) or len(side.curve(folder)) > before)
        while time.monotonic() < deadline and not _is_over(pid):
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _is_over(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def moment(draw: random.Random, starts_s: float) -> Moment:
    """When to kill: soon after a step, or while it starts."""

    def wait(has_moved: Callable[[], bool]) -> float:
        if draw.random() > AT_STEPS_SHARE:
            return time.monotonic() + draw.uniform(0, starts_s)
        while not has_moved():
            time.sleep(0.01)
        return time.monotonic() + draw.uniform(0, WITHIN_S)

    return wait


def torture(side: Side, kills: int, seed: int, folder: Path) -> Tally:
    """Run after run, until as many kills as wanted were survived or not."""
    draw, tally, began = random.Random(seed), Tally(), time.monotonic()
    whole = folder / "whole"
    side.begin(whole)
    assert life(side, whole, None) == 0, (whole / "log.txt").read_text()[-2000:]
    expected, starts_s = side.curve(whole), 0.5 * (time.monotonic() - began)
    while tally.kills < kills:
        tally.runs += 1
        place = folder / f"run-{tally.runs}"
        side.begin(place)
        code = -9
        while code:
            is_wanted = tally.kills < kills
            code = life(side, place, moment(draw, starts_s) if is_wanted else None)
            if code == -9:
                tally.kills += 1
                tally.most_lost = max(tally.most_lost, lost(side, place))
            elif code:
                tally.unloadable += 1
                tally.reasons.append((place / "log.txt").read_text().strip().split("\n")[-1])
                newest = side.saved(place)
                assert newest, (place / "log.txt").read_text()[-2000:]
                shutil.rmtree(newest[0])
        tally.equal += side.curve(place) == expected
        shutil.rmtree(place)
        shown = (
            f"\r{side.name}: {tally.kills} of {kills} kills, {tally.unloadable} without a way on"
        )
        print(shown, end="", file=sys.stderr, flush=True)
    tally.took_s = time.monotonic() - began
    return tally


def lost(side: Side, place: Path) -> int:
    """Steps that were told and are in no checkpoint."""
    saved_steps = (int(path.name.rpartition("-")[2]) for path in side.saved(place))
    return max(0, max(side.curve(place), default=0) - max(saved_steps, default=0))


def main() -> None:
    """Torture the sides, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--sides", nargs="+", default=["gemma-bench", "TRL"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    from bench.reliability.sides import Ours, Stock

    print("| | kills | no way on | most steps lost | runs | as if nothing had happened | s |")
    print("|---|---|---|---|---|---|---|")
    for side in (Ours(), Stock()):
        if side.name not in options.sides:
            continue
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            tally = torture(side, options.kills, options.seed, Path(folder))
        print(file=sys.stderr)
        cells = (side.name, tally.kills, tally.unloadable, tally.most_lost, tally.runs)
        print(f"| {' | '.join(map(str, cells))} | {tally.equal} | {tally.took_s:.0f} |", flush=True)
        print(json.dumps(sorted(set(tally.reasons))[:10]), file=sys.stderr)


if __name__ == "__main__":
    main()
