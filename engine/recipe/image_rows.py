"""Images at the heads of a recipe's sources, counted before anything is made."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine import guarded
from engine.gemma import catalog
from engine.gemma.shapes import EMBEDDED
from engine.guarded import Json
from engine.problems import Problem, Refusal
from engine.recipe import data_files
from engine.recipe.schema import Data

_HEAD_BYTES, _HEAD_FILES = 1 << 16, 4
_GAP = re.compile("[\ufeff \t\r\n,[]*")
"""What stands between rows, in lines or in a list."""
_PLAIN = (".jsonl", ".json")
_IMAGE_PARTS = {"image", "image_url"}


def problems(document: dict[str, Any]) -> list[Problem]:
    """Sources of a recipe document whose first rows hold images that its model can't see."""
    model = document.get("model", {})
    path = model.get("path", EMBEDDED) if isinstance(model, dict) else None
    if not isinstance(path, str) or _has_vision(path):
        return []
    data = document.get("data")
    sources = data.get("sources") if isinstance(data, dict) else None
    mistakes = []
    for number, source in enumerate(sources if isinstance(sources, list | tuple) else ()):
        rows_path = source.get("path") if isinstance(source, dict) else None
        if not isinstance(rows_path, str):
            continue
        split = source.get("split")
        if where := next(_with_images(rows_path, split if isinstance(split, str) else None), None):
            reason = f"{where} has an image, and the model ({path}) has no vision tower"
            fix = "Choose a Gemma that sees, such as google/gemma-3-4b-it, or leave such rows out"
            mistakes.append(Problem(f"data.sources.{number}.path", rows_path, reason, fix))
    return mistakes


def most_images(data: Data) -> int:
    """Images of the row that has most, as far as the heads of plain files tell."""
    paths = [(source.path, source.split) for source in data.sources if source.path]
    return max((count for path, split in paths for _, count in _counted(path, split)), default=0)


def _has_vision(path: str) -> bool:
    """Whether a model sees; of one whose shape is unknown it is not said that it doesn't."""
    try:
        return catalog.variant_of(path).vision is not None
    except (Refusal, OSError):
        return True


def _with_images(path: str, split: str | None) -> Iterator[str]:
    """Places of rows with images at the heads of a source's files."""
    return (where for where, count in _counted(path, split) if count)


def _counted(path: str, split: str | None) -> Iterator[tuple[str, int]]:
    """Place and images of each row at the heads of a source's files."""
    for file in _plain_files(path, split):
        for line, record in _head(file):
            yield f"{file}:{line}", _images(record)


def _plain_files(path: str, split: str | None) -> list[Path]:
    try:
        first = data_files.source_files(path, split).read[:_HEAD_FILES]
        return [file for file in first if file.suffix in _PLAIN and file.is_file()]
    except OSError:
        # A path that can't be looked at is a problem of its own.
        return []


def _head(file: Path) -> Iterator[tuple[int, Any]]:
    """Line and value of the rows at the head of a file, whether in lines or in a list."""
    try:
        with guarded.opened(file) as stream:
            text = stream.read(_HEAD_BYTES).decode("utf-8", "replace")
    except (OSError, guarded.Unreadable):
        # A file that can't be read is a problem of its own.
        return
    decoder, end, line = json.JSONDecoder(), 0, 1
    while gap := _GAP.match(text, end):
        line += text.count("\n", end, gap.end())
        try:
            record, end = decoder.raw_decode(text, gap.end())
        except (ValueError, RecursionError):
            return
        yield line, record
        line += text.count("\n", gap.end(), end)


def _images(record: Json) -> int:
    if not isinstance(record, dict):
        return 0
    talk = record.get("messages") or record.get("conversations")
    if not isinstance(talk, list):
        return 0
    said = [message.get("content") for message in talk if isinstance(message, dict)]
    parts = [part for content in said if isinstance(content, list) for part in content]
    shown = sum(isinstance(part, dict) and part.get("type") in _IMAGE_PARTS for part in parts)
    listed = record.get("images") or record.get("image") or ()
    return max(shown, len(listed) if isinstance(listed, list) else bool(listed))
