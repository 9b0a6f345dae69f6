"""Which files a source's path stands for, by the split it asks for, and which are left out."""

import glob
import os
from dataclasses import dataclass, field
from pathlib import Path

from engine import guarded
from engine.recipe import split_names

LINES = (".jsonl", ".ndjson")
ENDINGS = (*LINES, ".json", ".csv", ".tsv", ".parquet", ".arrow", ".xlsx")
COMPRESSED = (".gz", ".zst")
METADATA = "about the data, no rows"
HIDDEN = "hidden files"
NOT_SAVED = "no part of the saved dataset"
OTHER_KINDS = "of kinds that hold no rows"
NOT_FILES = "no files, but pipes, devices, sockets or links"
NO_SPLIT = "of no split, beside files that name one"
_ABOUT = {
    "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json",
    "croissant.json", "datapackage.json",
}  # fmt: skip
"""What datasets.save_to_disk, builders of the hub and LLaMA-Factory write beside rows."""


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """The files of one source; where `reason` says why they can't be taken, none are read."""

    read: tuple[Path, ...]
    left_out: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    """Files that are there and not read, by reason."""
    reason: str = ""
    fix: str = ""


def ending(path: Path) -> str:
    """The ending that tells how a file is read, without that of its compression."""
    return (path.with_suffix("") if path.suffix in COMPRESSED else path).suffix


def is_rows(path: Path) -> bool:
    """Whether a file's name says that rows can be read from it."""
    return ending(path) in ENDINGS


def damage(path: Path) -> str:
    """Why no rows can be read from a file that is there, by a look that takes no time; empty where
    they may.

    Text has no holes; of Parquet and Arrow, which may have some of zeros, neither end is one.
    """
    if not os.access(path, os.R_OK):
        return "permission denied"
    at = path.stat()
    if at.st_blocks * 512 >= at.st_size:
        return ""
    with guarded.opened(path) as file:
        hole = _first_hole(file.fileno())
        # Some file systems see holes where data isn't written yet.
        zeros = os.pread(file.fileno(), 4096, hole)
        if not zeros or zeros.strip(b"\0"):
            return ""
        if ending(path) in (".parquet", ".arrow") and hole and _has_data(file.fileno(), hole):
            return ""
    return f"it is sparse: from byte {hole:,} on there is a hole that was never written"


def _first_hole(fd: int) -> int:
    """Where it begins; at the head, where the file system doesn't tell."""
    try:
        return os.lseek(fd, 0, os.SEEK_HOLE)
    except OSError:
        return 0


def _has_data(fd: int, hole: int) -> bool:
    """Whether any comes behind a hole."""
    try:
        return os.lseek(fd, hole, os.SEEK_DATA) > hole
    except OSError:
        return False


def is_pattern(path: str) -> bool:
    """Whether a path has wildcards, and no file of that very name exists."""
    return glob.has_magic(path) and not Path(path).exists()


def source_files(path: str, split: str | None = None) -> SourceFiles:
    """The files of a path in order of their names; a file named in full is not looked for.

    Of a folder or pattern whose files name splits, only those of `split` are read: train where
    none is given, or what the pattern itself names.
    """
    if Path(path).is_dir():
        root = Path(path)
        return _of_folder(root, sorted(root.rglob("*")), split)
    if not is_pattern(path):
        return _of_file(Path(path), split)
    root = Path(path)
    while glob.has_magic(str(root)):
        root = root.parent
    own = split_names.split_of(Path(path).relative_to(root).parts)
    matches = sorted(Path(name) for name in glob.glob(path, recursive=True))
    return _of_folder(root, matches, split or own or None)


def _of_file(path: Path, split: str | None) -> SourceFiles:
    if split is None or split == split_names.ALL:
        return SourceFiles((path,))
    own = split_names.split_of((path.parent.name, path.name), (split,))
    if own in split_names.splits_of(split):
        return SourceFiles((path,))
    reason = f"its name is that of the split {own}" if own else "its name is that of no split"
    fix = "Leave out split, which chooses among the files of a folder"
    return SourceFiles((), {}, f"split is {split!r}, and the path is one file: {reason}", fix)


def _of_folder(root: Path, paths: list[Path], split: str | None) -> SourceFiles:
    rows, left_out = _sorted_out(root, paths)
    listed = (*_saved_splits(root), *(split_names.splits_of(split) if split else ()))
    by_split: dict[str, list[Path]] = {}
    for path in rows:
        name = split_names.split_of(path.relative_to(root).parts, listed)
        by_split.setdefault(name, []).append(path)
    named = [name for name in by_split if name]
    if split == split_names.ALL or (not named and split is None):
        return SourceFiles(tuple(rows), left_out)
    splits = split_names.splits_of(split or split_names.TRAIN)
    if split is None and split_names.TRAIN not in named and "" in by_split:
        # Beside a test.jsonl, a file that names no split is what is trained on.
        splits = ("",)
    read = [path for name in by_split if name in splits for path in by_split[name]]
    if not read:
        return SourceFiles((), left_out, *_no_such_split(named, split)) if rows else SourceFiles(())
    for name, files in by_split.items():
        if name not in splits:
            left_out[f"of the split {name}" if name else NO_SPLIT] = tuple(files)
    return SourceFiles(tuple(sorted(read)), left_out)


def _no_such_split(named: list[str], split: str | None) -> tuple[str, str]:
    name = split or split_names.TRAIN
    if not named:
        reason = f"no file in it is named by a split, and split is {name!r}"
        return reason, "Leave out split to train on all of its files"
    kind = "split" if len(named) == 1 else "splits"
    reason = f"it holds the {kind} {', '.join(sorted(named))}, and none that is called {name}"
    examples = " or ".join(f'split = "{name}"' for name in sorted(named)[:3])
    return reason, f'Add {examples} to the source, or split = "all" to train on every file'


def _sorted_out(root: Path, paths: list[Path]) -> tuple[list[Path], dict[str, tuple[Path, ...]]]:
    """Files of rows, and all other files by the reason why they are none."""
    rows: list[Path] = []
    others: dict[str, list[Path]] = {}
    saved: dict[Path, set[str] | None] = {}
    for path in paths:
        if not path.is_file():
            if guarded.special_kind(path) and is_rows(path):
                others.setdefault(NOT_FILES, []).append(path)
            continue
        if path.parent not in saved:
            saved[path.parent] = _saved_files(path.parent)
        reason = _why_no_rows(path, path.relative_to(root), saved[path.parent])
        if reason:
            others.setdefault(reason, []).append(path)
        else:
            rows.append(path)
    return rows, {reason: tuple(files) for reason, files in others.items()}


def _why_no_rows(path: Path, relative: Path, saved: set[str] | None) -> str:
    if any(part.startswith(".") for part in relative.parts):
        return HIDDEN
    if path.name in _ABOUT or path.name.upper().startswith("README"):
        return METADATA
    if not is_rows(path):
        return OTHER_KINDS
    if path.suffix != ".arrow":
        return ""
    is_cached = path.name.startswith(("cache-", "tmp"))
    return NOT_SAVED if (is_cached if saved is None else path.name not in saved) else ""


def _saved_files(folder: Path) -> set[str] | None:
    """Names of the files that datasets.save_to_disk wrote into a folder; None where it didn't."""
    files = _listed(folder / "state.json", "_data_files")
    names = {str(file.get("filename")) for file in files if isinstance(file, dict)}
    return names or None


def _saved_splits(folder: Path) -> list[str]:
    """Splits of a DatasetDict that was saved to disk, in lower case."""
    splits = _listed(folder / "dataset_dict.json", "splits")
    return [name.lower() for name in splits if isinstance(name, str)]


def _listed(path: Path, key: str) -> list[object]:
    try:
        document = guarded.json_document(path)
    except (OSError, ValueError):
        return []
    listed = document.get(key) if isinstance(document, dict) else None
    return listed if isinstance(listed, list) else []
