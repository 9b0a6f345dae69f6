"""The image files that rows were prepared from, and whether they are still the same."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from engine.atomic import write_lines
from engine.data.images.image_tokenizer import SETTINGS, ImageTokenizer


def write(images: Iterable[str], path: Path, sight: ImageTokenizer | None) -> None:
    """Note size and time of each file, and which are missing; nothing where there are none.

    The settings of the image processor count among them: they say how many tokens an image takes.
    """
    stamps = {image: _stamp(image) for image in images}
    if stamps and sight:
        settings = (str(Path(sight.source, name)) for name in SETTINGS)
        stamps |= {file: _stamp(file) for file in settings}
    if stamps:
        write_lines(path, [json.dumps(stamps)])


def is_current(path: Path) -> bool:
    """Whether no file has changed, gone or come since; so it is where rows had no images."""
    if not path.exists():
        return True
    stamps = json.loads(path.read_text())
    return all(_stamp(image) == stamp for image, stamp in stamps.items())


def _stamp(image: str) -> list[int] | None:
    try:
        status = os.stat(image)
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]
