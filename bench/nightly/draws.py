"""Properties on what nobody has drawn yet.

    python bench/nightly/draws.py [--seed N] [--times 20]

Runs the tests that draw their cases, by default from today's date, several times from seeds that
follow each other. Ends with exit code 1 after the first seed that breaks one, and names it.
"""

import argparse
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2] / "tests"
DRAWS = "from hypothesis import"


def main(first_seed: int, times: int) -> int:
    """Run them for each seed; pytest's exit code."""
    files = [path for path in sorted(TESTS.glob("test_*.py")) if DRAWS in path.read_text()]
    command = [sys.executable, "-m", "pytest", "--hypothesis-profile=drawn", *map(str, files)]
    for seed in range(first_seed, first_seed + times):
        only_draws = ["-m", "hypothesis", f"--hypothesis-seed={seed}"]
        code = subprocess.run([*command, *only_draws], cwd=TESTS.parent, check=False).returncode
        print(f"seed {seed}: {'held' if code == 0 else 'broken'}", flush=True)
        if code:
            return code
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=int(datetime.now(UTC).strftime("%Y%m%d00")))
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    sys.exit(main(options.seed, options.times))
