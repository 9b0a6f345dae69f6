"""Where PRETENDED_CARD names the library of card.cpp, the torch of a process has a CUDA card.

Python imports this by its name wherever this folder is on PYTHONPATH.
"""

import ctypes
import importlib.machinery
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


class _WithCard:
    """Imports torch, and then pretends."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: Any) -> None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # PyTorch asks once what devices there are, so they have to be there before.
        libraries = Path(module.__spec__.origin).parent / "lib"
        ctypes.CDLL(str(libraries / "libtorch_global_deps.so"), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(os.environ["PRETENDED_CARD"])
        self._loader.exec_module(module)
        import pretended

        pretended.install()


class _Finder:
    """Finds torch as Python does: transformers only looks for it before it is imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "torch":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None:
            spec.loader = _WithCard(spec.loader)  # type: ignore[assignment]
        return spec


if "PRETENDED_CARD" in os.environ:
    sys.meta_path.insert(0, _Finder())  # type: ignore[arg-type]
