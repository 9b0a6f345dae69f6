"""Time and memory of the README's two commands on a fresh clone: `python bench/quickstart.py`."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def seconds(*command: str | Path, cwd: Path) -> float:
    """Wall time of a command that must succeed."""
    began = time.monotonic()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def written(file: Path) -> str:
    """What stands in a file that is written when the engine's process is gone, a moment later."""
    while not file.exists():
        time.sleep(0.05)
    return file.read_text()


def main() -> None:
    """Clone, install, run, and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        seconds("git", "clone", "--quiet", ROOT, clone, cwd=ROOT)
        venv = seconds(sys.executable, "-m", "venv", ".venv", cwd=clone)
        pip = clone / ".venv/bin/pip"
        install = seconds(pip, "install", "--quiet", "-e", ".", cwd=clone)
        command = clone / ".venv/bin/gemma-bench"
        run = seconds(command, "--run", "quickstart", "--out", "run", cwd=clone)
        ending = json.loads(written(clone / "run/exit.json"))
        done = json.loads((clone / "run/events.jsonl").read_text().splitlines()[-1])
    print(f"set-up      {venv + install:6.1f} s")
    print(f"quickstart  {run:6.1f} s, engine's peak {ending['max_rss_kib'] / 2**20:.2f} GiB")
    for name in ("trained_exact", "heldout_exact", "base_exact", "general_kept"):
        print(f"{name:<14} {done[name]:.1%}")


if __name__ == "__main__":
    main()
