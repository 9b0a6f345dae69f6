"""A CUDA card that is not there, and what a process needs to have it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
Environment = Callable[..., dict[str, str]]


def built(folder: Path) -> Environment:
    """Compile the card; gives a function from its settings to a process's environment."""
    if sys.platform != "linux" or not shutil.which("g++"):
        pytest.skip("needs g++ on Linux")
    if torch.backends.cuda.is_built():
        pytest.skip("needs a torch without CUDA of its own")
    within, library = Path(torch.__file__).parent, folder / "card.so"
    subprocess.run(
        ["g++", "-O1", "-std=c++20", "-shared", "-fPIC", "-w", f"-I{within / 'include'}",
         HERE / "card.cpp", f"-L{within / 'lib'}",
         f"-Wl,-rpath,{within / 'lib'}", "-lc10", "-ltorch_cpu", "-o", library],
        check=True,
    )  # fmt: skip

    def environment(**settings: object) -> dict[str, str]:
        """Settings are those of `pretended.py` without their prefix, as `capability="9.0"`."""
        named = {f"PRETENDED_{name.upper()}": str(value) for name, value in settings.items()}
        paths = os.pathsep.join((str(HERE), str(ROOT)))
        return {**os.environ, "PYTHONPATH": paths, "PRETENDED_CARD": str(library), **named}

    return environment
