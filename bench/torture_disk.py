"""Full disks and lost directories at random moments of a run that saves often.

    python -m bench.torture_disk --full 100 --killed 20 --gone 20 [--seed 0]

The run of `bench.torture` lies on a file system of its own, for which it needs the right to mount,
and which is filled to its last byte at a random moment. Half of the recipes end the run by that,
half go on. What ended goes on once there is room; every run has to come to the adapter of one that
nothing happened to, and none may lose more than one save interval. Others are killed soon after the
disk is full, and tried again on it before there is room. Directories are removed, moved or
replaced; their engines have to end, and to leave alone what lies there then.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.reliability.setup import EVERY  # noqa: E402
from bench.reliability.sides import Ours  # noqa: E402
from bench.torture import WITHIN_S, life, lost  # noqa: E402
from engine.events import Failed  # noqa: E402
from engine.run.rundir import RunDir  # noqa: E402

SIZE_MIB = 96
PATIENCE_S = 300.0
WEIGHTS = "adapter/adapter_model.safetensors"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(path: Path) -> None:
    """Take all that is left."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass


def start(side: Ours, place: Path) -> int:
    """A life that nobody waits for yet; its process."""
    pid = os.fork()
    if pid == 0:
        os._exit(life(side, place, None) & 0xFF)
    return pid


def full_disk(side: Ours, disk: Path, draw: random.Random, whole_s: float, whole: bytes) -> str:
    """What became of one run; raises `AssertionError` where it lost what it should have kept."""
    place, filler = disk / "side", disk / "filler"
    side.more = {"training.on_failed_save": draw.choice(["stop", "go_on"])}
    side.begin(place)
    pid = start(side, place)
    time.sleep(draw.uniform(0, whole_s))
    fill(filler)
    _, status = os.waitpid(pid, 0)
    code, run = os.waitstatus_to_exitcode(status), RunDir(place / "run")
    outcome = "went to its end"
    if code:
        last = next(run.last_events(), None)
        assert isinstance(last, Failed), f"exit code {code} without a last word: {last}"
        assert "the disk is full" in last.error or "no room" in last.error, last.error
        assert lost(side, place) <= EVERY, lost(side, place)
        filler.unlink()
        assert life(side, place, None) == 0, (place / "log.txt").read_text()[-2000:]
        outcome = "told why, went on when there was room"
    filler.unlink(missing_ok=True)
    assert (run.path / WEIGHTS).read_bytes() == whole, "another adapter than without"
    shutil.rmtree(place)
    return outcome


def killed(side: Ours, disk: Path, draw: random.Random, whole_s: float, whole: bytes) -> str:
    """What became of one run that was killed on a full disk; raises as `full_disk` does.

    What it told before the disk was full is in a checkpoint, but for one save interval.
    """
    place, filler = disk / "side", disk / "filler"
    side.more = {"training.on_failed_save": draw.choice(["stop", "go_on"])}
    side.begin(place)
    last_step = 0

    def moment(_: Callable[[], bool]) -> float:
        nonlocal last_step
        time.sleep(draw.uniform(0, 0.8 * whole_s))
        fill(filler)
        last_step = max(side.curve(place), default=0)
        return time.monotonic() + draw.uniform(0, 0.2 * WITHIN_S)

    code = life(side, place, moment)
    outcome = {0: "had gone to its end", -signal.SIGKILL: "killed"}.get(code, "had ended by itself")
    if code:
        newest = side.saved(place)
        saved_step = max((int(path.name.rpartition("-")[2]) for path in newest), default=0)
        assert last_step - saved_step <= EVERY, (last_step, saved_step)
        again = life(side, place, None)
        outcome += ", then on the full disk to its end" if again == 0 else ", then refused on it"
        saved_later = max(
            (int(path.name.rpartition("-")[2]) for path in side.saved(place)), default=0
        )
        assert saved_later >= saved_step, "a try on the full disk cost a checkpoint"
        filler.unlink()
        if again:
            assert life(side, place, None) == 0, (place / "log.txt").read_text()[-2000:]
            outcome += ", went on when there was room"
    filler.unlink(missing_ok=True)
    assert (place / "run" / WEIGHTS).read_bytes() == whole, "another adapter than without"
    shutil.rmtree(place)
    return outcome


def gone(side: Ours, folder: Path, draw: random.Random, whole_s: float) -> str:
    """What became of one run whose directory went."""
    place, fate = folder / "gone", draw.choice(["removed", "moved", "replaced"])
    side.begin(place)
    pid, run = start(side, place), RunDir(place / "run")
    time.sleep(draw.uniform(0.1, 0.7) * whole_s)
    elsewhere = folder / "elsewhere"
    run.path.rename(elsewhere)
    if fate == "replaced":
        run.path.mkdir()
        run.request.write_text("{}")
    while fate != "moved" and elsewhere.exists():
        # What the engine still wrote into it by open files is removed by the next try.
        shutil.rmtree(elsewhere, ignore_errors=True)
    began = time.monotonic()
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        assert time.monotonic() - began < PATIENCE_S, "it trains on"
        time.sleep(0.05)
    there = sorted(path.name for path in run.path.iterdir()) if run.path.exists() else []
    assert there == (["request.json"] if fate == "replaced" else []), there
    shutil.rmtree(elsewhere, ignore_errors=True)
    shutil.rmtree(place)
    return f"{fate}, ended"


def main() -> None:
    """Torture it, and print what became of the runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", type=int, default=100)
    parser.add_argument("--killed", type=int, default=20)
    parser.add_argument("--gone", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, side, counted = random.Random(options.seed), Ours(), Counter[str]()
    with (
        tempfile.TemporaryDirectory(prefix="torture-") as folder,
        small_disk(Path(folder) / "disk") as disk,
    ):
        began, place = time.monotonic(), disk / "side"
        side.begin(place)
        assert life(side, place, None) == 0, (place / "log.txt").read_text()[-2000:]
        whole, whole_s = (place / "run" / WEIGHTS).read_bytes(), time.monotonic() - began
        shutil.rmtree(place)
        total = options.full + options.killed + options.gone
        for _ in range(options.full):
            counted[f"full disk: {full_disk(side, disk, draw, whole_s, whole)}"] += 1
            print(f"\r{counted.total()} of {total}", end="", file=sys.stderr)
        for _ in range(options.killed):
            counted[f"full disk, {killed(side, disk, draw, whole_s, whole)}"] += 1
            print(f"\r{counted.total()} of {total}", end="", file=sys.stderr)
        side.more = {}
        for _ in range(options.gone):
            counted[f"directory {gone(side, Path(folder), draw, whole_s)}"] += 1
            print(f"\r{counted.total()} of {total}", end="", file=sys.stderr)
        took_s = time.monotonic() - began
    print(file=sys.stderr)
    for outcome, count in sorted(counted.items()):
        print(f"{count:>5}  {outcome}")
    print(f"nothing lost beyond {EVERY} steps, which is one save interval; {took_s:.0f} s")


if __name__ == "__main__":
    main()
