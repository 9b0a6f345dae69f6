"""The packages are imported without what is done twice or for other models than Gemmas.

transformers reads the source of all its models to learn what they hold, and once more as the first
of them is imported; and it imports scipy's optimizers for losses of object detection. That is a
ninth of the time that the engine takes to import all, and looking for garbage meanwhile a sixth.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transformers
from transformers import utils
from transformers.utils import import_utils

from engine.model.patches.replaced import replaced
from engine.written_for import WrittenFor

WRITTEN_FOR = WrittenFor(
    "transformers",
    ">=5.22,<5.24",
    ("transformers.utils.import_utils:define_import_structure",
     "transformers.utils:is_scipy_available"),
)  # fmt: skip
_MODELS = Path(transformers.__file__).with_name("models")
Structure = dict[Any, dict[str, Any]]
"""What modules hold, by what they require."""


@contextmanager
def lean_imports() -> Iterator[None]:
    """For as long as packages are imported; what they made is no garbage from then on."""
    gc.disable()
    try:
        with (
            replaced(import_utils, "define_import_structure", _read_once),
            replaced(utils, "is_scipy_available", lambda right: lambda: False),
        ):
            yield
    finally:
        gc.freeze()
        gc.enable()


def _read_once(right: Callable[..., Structure]) -> Callable[..., Structure]:
    """What the package read of its models as it was imported serves as their own table too."""

    def structure(path: str | Path, prefix: str | None = None) -> Structure:
        if prefix is not None or Path(path) != _MODELS / "__init__.py":
            return right(path, prefix)
        whole = right(_MODELS, prefix=_MODELS.name)
        beginning = f"{_MODELS.name}."
        return {
            needs: {
                name.removeprefix(beginning): objects
                for name, objects in modules.items()
                if name.startswith(beginning)
            }
            for needs, modules in whole.items()
        }

    return structure
