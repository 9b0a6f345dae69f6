"""The tests on the oldest versions that are allowed: `python bench/nightly/oldest.py [TEST...]`.

A push tests the newest ones, which pip takes. Torch stays as it is installed: its older builds for
a CPU alone are on an index of their own, so its oldest version is not tried here.
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
NARROW = (
    "transformers", "trl", "peft", "bitsandbytes", "datasets", "accelerate", "textual", "tomlkit",
)  # fmt: skip
"""Packages whose private parts are patched, or whose behaviour figures depend on."""


def oldest() -> list[str]:
    """A constraint for each of them: the least version that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    requirements = {one.name: one for one in map(Requirement, project["dependencies"])}
    return [f"{name}=={_least(requirements[name])}" for name in NARROW]


def _least(requirement: Requirement) -> str:
    """`>=5.22` begins at 5.22, and `==5.*` at 5.0."""
    (version,) = (
        one.version for one in requirement.specifier if one.operator in (">=", "==", "~=")
    )
    return version.replace("*", "0")


def main(tests: list[str]) -> int:
    """Install them into an environment of their own and run the tests; pytest's exit code."""
    with tempfile.TemporaryDirectory(prefix="gemma-bench-oldest-") as folder:
        python = str(Path(folder, "venv/bin/python"))
        subprocess.run([sys.executable, "-m", "venv", Path(folder, "venv")], check=True)
        constraints = Path(folder, "oldest.txt")
        constraints.write_text("".join(f"{line}\n" for line in [*oldest(), f"torch=={_torch()}"]))
        install = [python, "-m", "pip", "install", "--quiet", "-c", str(constraints), "-e"]
        subprocess.run([*install, f"{ROOT}[test]"], check=True)
        print("\n".join(oldest()), flush=True)
        command = [python, "-m", "pytest", "-n", "logical", "--dist", "loadfile", *tests]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


def _torch() -> str:
    from importlib.metadata import version

    return version("torch")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
