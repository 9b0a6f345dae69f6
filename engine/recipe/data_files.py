"""Which files a source's path stands for: one file, a folder's, or those that a pattern matches."""

import glob
from pathlib import Path

ENDINGS = (".jsonl", ".json", ".csv", ".parquet")
COMPRESSED = (".gz", ".zst")


def ending(path: Path) -> str:
    """The ending that tells how a file is read, without that of its compression."""
    return (path.with_suffix("") if path.suffix in COMPRESSED else path).suffix


def is_rows(path: Path) -> bool:
    """Whether a file's name says that rows can be read from it."""
    return ending(path) in ENDINGS


def files(path: str) -> list[Path]:
    """The files of a path in order of their names; a file named in full is not looked for."""
    given = Path(path)
    if given.is_dir():
        return sorted(file for file in given.rglob("*") if file.is_file() and is_rows(file))
    if is_pattern(path):
        found = (Path(name) for name in glob.glob(path, recursive=True))
        return sorted(file for file in found if file.is_file() and is_rows(file))
    return [given]


def is_pattern(path: str) -> bool:
    """Whether a path has wildcards, and no file of that very name exists."""
    return glob.has_magic(path) and not Path(path).exists()
