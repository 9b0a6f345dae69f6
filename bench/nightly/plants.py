"""Every planted bug through the whole doctor: `python bench/nightly/plants.py`.

A push plants one of each kind.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run the tests with every bug; pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "-v", "tests/test_planted_bugs.py"]
    environment = {**os.environ, "GEMMA_BENCH_EVERY_PLANT": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
