"""Disks that lack something below a folder, for commands and the engines that they start."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

NEEDS_GCC = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("gcc"), reason="needs gcc on Linux"
)


def library(folder: Path, name: str) -> Path:
    """Build a library to preload from a C source of the tests."""
    made = folder / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", source, "-o", made, "-ldl"], check=True)
    return made


Odd = Callable[..., None]


def odd(monkeypatch: pytest.MonkeyPatch, preloaded: Path, folder: Path) -> Odd:
    """Gives what makes a disk odd: `odd(LOCKS=errno.ENOLCK)`, `odd(LOCKS=(errno.ENOLCK, path))`."""

    def make(**errors: int | tuple[int, Path]) -> None:
        monkeypatch.setenv("LD_PRELOAD", str(preloaded))
        for name, told in errors.items():
            error, path = told if isinstance(told, tuple) else (told, folder)
            monkeypatch.setenv(f"ODD_{name}", f"{error}:{path}")

    return make
