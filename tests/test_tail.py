"""Following a file that grows: each line once, in order, a torn one not before it is whole."""

import subprocess
import sys
import time
from pathlib import Path

from engine.run.tail import Tail

ROOT = Path(__file__).parents[1]
WRITER = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for number in range(3000):
    line = b"%d:%s\\n" % (number, b"x" * (number % 200))
    cut = number % len(line)
    os.write(fd, line[:cut])
    if number % 50 == 0:
        time.sleep(0.001)
    os.write(fd, line[cut:])
"""


def test_a_file_that_is_not_there_yet_has_no_lines(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "events.jsonl")
    assert tail.read_new() == []
    (tmp_path / "events.jsonl").write_bytes(b"a\n")
    assert tail.read_new() == [b"a"]


def test_a_line_comes_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = Tail(path)
    seen = []
    for piece in (b"o", b"ne\ntw", b"", b"o", b"\n", b"three\nfour\nfi"):
        with path.open("ab") as file:
            file.write(piece)
        seen.append(tail.read_new())
    assert seen == [[], [b"one"], [], [], [b"two"], [b"three", b"four"]]
    assert tail.read_new() == []


def test_characters_may_be_torn(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = Tail(path)
    for byte in "한국 \u2028 é\n".encode():
        with path.open("ab") as file:
            file.write(bytes([byte]))
        lines = tail.read_new()
    assert lines == ["한국 \u2028 é".encode()]


def test_empty_lines_are_none(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n\na\n\n")
    tail = Tail(path)
    assert tail.read_new() == [b"a"]


def test_no_lines_means_the_end_even_behind_a_long_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    long = b"x" * (3 << 20)
    path.write_bytes(b"a\n" + long + b"\nb\n" + b"\n" * (2 << 20) + b"c\ntorn")
    tail = Tail(path)
    seen = []
    while lines := tail.read_new():
        seen += lines
    assert seen == [b"a", long, b"b", b"c"]


def test_a_large_file_comes_in_slices(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(b"%07d\n" % number for number in range(500_000)))
    tail = Tail(path)
    first = tail.read_new()
    assert 0 < len(first) < 200_000
    seen = len(first)
    while lines := tail.read_new():
        assert int(lines[0]) == seen
        seen += len(lines)
    assert seen == 500_000


def test_reading_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = Tail(path)
    seen: list[bytes] = []
    batches = 0
    deadline = time.monotonic() + 30
    with subprocess.Popen([sys.executable, "-I", "-c", WRITER, str(path)]) as writer:
        while len(seen) < 3000 and time.monotonic() < deadline:
            lines = tail.read_new()
            batches += bool(lines)
            seen += lines
    assert writer.returncode == 0
    assert seen == [b"%d:%s" % (number, b"x" * (number % 200)) for number in range(3000)]
    assert batches > 3
