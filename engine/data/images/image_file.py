"""Image files: read upright and in colour, measured by their heads, checked to the last byte."""

import os

from PIL import Image, ImageOps

from engine.data.conversation import UnusableRow

MISSING = "an image file that is not there"
BROKEN = "an image file that can't be read"


def read(path: str) -> Image.Image:
    """An image upright and in RGB."""
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def size(path: str) -> tuple[int, int]:
    """Width and height of an image as it is stored; a camera held upright swaps them."""
    with Image.open(path) as image:
        return image.size


def check(path: str) -> None:
    """Decode an image. Raises `UnusableRow` where it can't be."""
    if not os.path.isfile(path):  # A pipe would be waited for.
        raise UnusableRow(MISSING)
    try:
        with Image.open(path) as image:
            # A JPEG at an eighth of its size: all of the file is read, in a fraction of the time.
            image.draft("RGB", (1, 1))
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise UnusableRow(BROKEN) from None
