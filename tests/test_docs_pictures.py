"""The pictures of docs/ show the app as it is; those that no machine has a say in."""

import os
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_they_are_of_this_app(tmp_path: Path) -> None:
    command = [
        sys.executable,
        DOCS / "screenshots.py",
        "--check",
        "preview",
        "compare",
        "playground",
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TEXTUAL")}
    done = subprocess.run(
        command, cwd=tmp_path, env=kept, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
