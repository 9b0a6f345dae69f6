"""Every place where a command takes a path, and everything that may lie there instead of a file."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.recipe import data_files
from tests.refused_commands import can_read, outcomes

SPARSE_BYTES = 64 << 30


def _socket(path: Path) -> None:
    here = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, SPARSE_BYTES)


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (os.mkfifo, "is a named pipe"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device"),
    "socket": (_socket, "is a socket"),
    "loop": (lambda path: path.symlink_to(path.name), "is a link that leads to itself"),
    "directory": (Path.mkdir, "is a directory"),
    "closed file": (lambda path: path.touch(mode=0), "permission denied"),
    "closed folder": (lambda path: path.mkdir(mode=0), "permission denied"),
    "sparse": (_sparse, "it is sparse: from byte 0 on"),
}
"""How each is made, and what a message calls it."""
ANY = ("pipe", "device", "socket", "loop")
FILE = (*ANY, "directory", "closed file", "sparse")
FOLDER = (*ANY, "closed folder", "sparse")
BIG = {"sparse": "it is longer than"}
NO_FOLDER = {"sparse": "is a file"}
ROWS = {"directory": "no file with rows is there"}
NO_RUN = {"sparse": "no such run; what lies there is a file"}
MODEL = {"sparse": "is a file", "directory": "no config.json in it"}
Place = tuple[str, list[str], tuple[str, ...], dict[str, str]]
PLACES: dict[str, Place] = {
    **{
        f"{command} RECIPE": ("x.toml", [command, "x.toml"], FILE, BIG)
        for command in ("run", "preview", "budget")
    },
    **{
        f"run x{ending}": (f"x{ending}", ["run", f"x{ending}"], FILE, ROWS)
        for ending in (*data_files.ENDINGS, ".jsonl.gz", ".csv.zst")
    },
    "preview ROWS": ("x.jsonl", ["preview", "x.jsonl"], FILE, ROWS),
    "budget ROWS": ("x.jsonl", ["budget", "x.jsonl"], ANY, {}),
    "--data FILE": ("x.jsonl", ["run", "quickstart", "--data", "x.jsonl"], FILE, ROWS),
    "--data FOLDER": ("x", ["run", "quickstart", "--data", "x"], ("closed folder",), {}),
    "--data, within a folder": (
        "x/x.jsonl", ["run", "quickstart", "--data", "x"], FILE, ROWS
    ),
    "--data, by a pattern": ("x.jsonl", ["run", "quickstart", "--data", "*.jsonl"], FILE, ROWS),
    "data.heldout": ("x.jsonl", ["run", "quickstart", "--set", "data.heldout=x.jsonl"], FILE, {}),
    "score.heldout": ("x.csv", ["run", "quickstart", "--set", "score.heldout=x.csv"], FILE, {}),
    "score.general": (
        "x.json", ["preview", "quickstart", "--set", "score.general=x.json"], FILE, {}
    ),
    "score.general on paper": (
        "x.json", ["budget", "quickstart", "--set", "score.general=x.json"], ANY, {}
    ),
    "model.path": (
        "x", ["run", "quickstart", "--set", "model.path=x"],
        (*FILE, "closed folder"), MODEL,
    ),
    "model.path on paper": ("x", ["budget", "quickstart", "--set", "model.path=x"], ANY, {}),
    "model.path, GGUF": (
        "x.gguf", ["run", "quickstart", "--set", "model.path=x.gguf"], FILE,
        {**MODEL, "sparse": "it is no gguf file"},
    ),
    "config.json of a model": (
        "x/config.json", ["preview", "quickstart", "--set", "model.path=x"],
        (*ANY, "directory", "closed file"), {},
    ),
    "config.json of a model on paper": (
        "x/config.json", ["budget", "quickstart", "--set", "model.path=x"], ANY, {}
    ),
    "--out": ("x", ["run", "quickstart", "--out", "x"], (*ANY, "sparse"), NO_FOLDER),
    "--out below": ("x", ["run", "quickstart", "--out", "x/y"], FOLDER, NO_FOLDER),
    "import FILE": ("x.yml", ["import", "x.yml"], FILE, BIG),
    "import SCRIPT": ("x.py", ["import", "x.py"], FILE, BIG),
    "import --data": ("x.jsonl", ["import", "ok.yml", "--data", "x.jsonl"], ANY, {}),
    "import --out": (
        "x.toml", ["import", "ok.yml", "--data", "rows.jsonl", "--out", "x.toml"], FILE,
        dict.fromkeys(FILE, "it is there already"),
    ),
    "import --out below": (
        "x", ["import", "ok.yml", "--data", "rows.jsonl", "--out", "x/y.toml"], FOLDER, NO_FOLDER
    ),
    **{
        f"{command} RUN": (
            "x", [command, "x"], (*ANY, "directory", "closed folder", "sparse"), NO_RUN
        )
        for command in ("attach", "resume", "stop", "talk")
    },
    "attach PATH": ("x", ["attach", "--json", "./x"], FOLDER, NO_RUN),
    "resume --branch": ("runs/x", ["resume", "--branch", "x"], FOLDER, NO_RUN),
    "runs --root": ("x", ["runs", "--root", "x"], FOLDER, NO_FOLDER),
    "stop --root": ("x", ["stop", "--all", "--root", "x"], FOLDER, NO_FOLDER),
}  # fmt: skip
"""Where it lies, what is typed, what may lie there, and what is said of some kinds only there."""
CONFIGURATION = "base_model: google/gemma-3-1b-it\nmicro_batch_size: 1\n"


def _folder(parent: Path, place: str, kind: str) -> Path:
    folder = parent / f"{place} {kind}".replace("/", "-")
    path = folder / PLACES[place][0]
    path.parent.mkdir(parents=True)
    (folder / "ok.yml").write_text(CONFIGURATION)
    KINDS[kind][0](path)
    return folder


def _makes_holes(folder: Path) -> bool:
    path = folder / "sparse"
    _sparse(path)
    with path.open("rb") as file:
        hole = os.lseek(file.fileno(), 0, os.SEEK_HOLE)
    has_blocks = path.stat().st_blocks
    path.unlink()
    return hole == 0 and not has_blocks


def _kinds_of(folder: Path) -> set[str]:
    """What can be made here: some file systems have no holes, and some users may read all."""
    closed = folder / "closed"
    closed.touch(mode=0)
    left_out = {"closed file", "closed folder"} if can_read(closed) else set()
    closed.unlink()
    return KINDS.keys() - left_out - (set() if _makes_holes(folder) else {"sparse"})


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_whatever_lies_where_a_path_leads_is_named_at_once_and_nothing_is_made(
    tmp_path: Path,
) -> None:
    here = _kinds_of(tmp_path)
    cells = [
        (place, kind)
        for place, (_, _, kinds, _) in PLACES.items()
        for kind in kinds
        if kind in here
    ]
    folders = [_folder(tmp_path, place, kind) for place, kind in cells]
    before = [_names(folder) for folder in folders]
    ended = outcomes(
        [(folder, PLACES[place][1]) for folder, (place, _) in zip(folders, cells, strict=True)]
    )
    wrong = {}
    for (place, kind), folder, names, (code, out, err) in zip(
        cells, folders, before, ended, strict=True
    ):
        words = PLACES[place][3].get(kind, KINDS[kind][1])
        is_told = (
            words in err.lower() and err.startswith("gemma-bench: ") and "Traceback" not in err
        )
        if (code, out) != (2, "") or not is_told or _names(folder) != names:
            wrong[place, kind] = (code, out[:80], err[-300:], _names(folder))
    assert wrong == {}


@pytest.mark.parametrize(
    ("name", "head", "tail", "is_damaged"),
    [
        ("rows.jsonl", b'{"text": "a"}\n', b"", True),
        ("rows.jsonl", b'{"text": "a"}\n', b'{"text": "b"}\n', True),
        ("rows.parquet", b"PAR1", b"", True),
        ("rows.parquet", b"", b"PAR1", True),
        ("rows.parquet", b"PAR1", b"PAR1", False),
        ("rows.jsonl", b'{"text": "a"}\n' * (1 << 16), b"", False),
    ],
    ids=["end", "middle", "end of Parquet", "head of Parquet", "middle of Parquet", "none"],
)
def test_holes_are_told_from_rows(
    tmp_path: Path, name: str, head: bytes, tail: bytes, is_damaged: bool
) -> None:
    if not _makes_holes(tmp_path):
        pytest.skip("the file system has no holes")
    path = tmp_path / name
    path.write_bytes(head)
    if len(head) < 1 << 16:
        os.truncate(path, 16 << 20)
    with path.open("ab") as file:
        file.write(tail)
    assert bool(data_files.damage(path)) == is_damaged
