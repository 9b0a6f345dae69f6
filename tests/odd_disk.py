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


def odd(monkeypatch: pytest.MonkeyPatch, preloaded: Path, below: Path) -> Odd:
    """Gives what makes the disk below a folder odd: `odd(LOCKS=errno.ENOLCK)`."""

    def make(*, only: Path = below, **errors: int) -> None:
        monkeypatch.setenv("LD_PRELOAD", str(preloaded))
        monkeypatch.setenv("ODD_BELOW", str(only))
        for name, error in errors.items():
            monkeypatch.setenv(f"ODD_{name}", str(error))

    return make
